// Package appliance is the whole machine: a Debian image that it builds itself, booted in QEMU with systemd as PID 1,
// with gatewayd's own .deb installed in it, and driven from outside.
//
//	field simulators, broker ── loopback, serial ports ── QEMU ( systemd ── gatewayd ) ── NBD: a disk with a cache ── power cut
//
// It promises that images are built once and kept (in Folder), that every machine runs on a copy, and that no process
// and no port outlives Close. A caller may not assume speed: without KVM everything takes ten times as long as on the
// host, and limits must be generous.
package appliance
