// Package ble hears and reads Bluetooth Low Energy devices through BlueZ, over D-Bus.
//
// Advertisements are heard passively where bluetoothd and the kernel can (an AdvertisementMonitor), else by discovery;
// only what a signal says to have changed is taken for an advertisement, never what BlueZ remembers. Characteristics are
// read, written and subscribed to over connections that are made one at a time.
//
// It promises that nothing it keeps grows with the number of strangers on the air; that a message which a device sends
// twice is told once; that odd objects, wrong types and lost signals are counted and never end the daemon; that a radio
// which falls silent is woken by steps (scan, adapter, bluetoothd, each only when the one before did not help); that
// every trouble ends Listen with an error in the installer's words, so that the next Listen begins from nothing; that an
// advertisement of a device with a key yields values only if it was encrypted with it; and that an encrypted message with
// a lower number than the last one is refused, after a restart too where somebody keeps the numbers (Remember).
//
// A caller may not assume that a device which changes nothing is heard by passive scanning (BlueZ tells of changes
// alone), that two Drivers may share an adapter, or that the numbers outlive a crash: gatewayd writes them every ten
// minutes at most (package replay), and what was recorded in the last ten before a crash is believed once more, until
// the device itself is heard again.
package ble
