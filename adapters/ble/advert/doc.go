// Package advert decodes what Bluetooth Low Energy sensors say unasked, in their advertisements: BTHome v2 (plain and
// encrypted), RuuviTag data format 5, Eddystone TLM, iBeacon, MiBeacon (plain and encrypted v4 and v5), the ATC and
// PVVX formats of thermometers with free firmware, and, for all others, values at given places (Layout).
//
// It does no I/O. It promises that bytes which are cut short, are of an unknown kind, are encrypted with another key, or
// were heard before yield an error and no value, whatever they are, and that a measurement which a device sends several
// times is told apart from a new one where the format counts its messages. A caller may not assume that a frame speaks
// of everything that the device measures: many devices tell one thing at a time; nor that a frame which is not Sealed came
// from the device, whether there is a key or not.
package advert
