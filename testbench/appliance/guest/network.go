package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What QEMU's user network gives a guest.
const (
	device  = "eth0"
	address = "10.0.2.15"
	mask    = "255.255.255.0"
	gateway = "10.0.2.2"
)

// sockaddr is a struct sockaddr_in as the kernel's old ioctls take it.
func sockaddr(ip string) (b [16]byte) {
	binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
	a := netip.MustParseAddr(ip).As4()
	copy(b[4:], a[:])
	return b
}

// network raises the loopback and the one card, with the address that QEMU expects.
func network() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	type request struct { // struct ifreq: a name, and a union of 24 bytes
		name [unix.IFNAMSIZ]byte
		data [24]byte
	}
	ask := func(name string, what uint, data []byte) error {
		var r request
		copy(r.name[:], name)
		copy(r.data[:], data)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s), uintptr(what), uintptr(unsafe.Pointer(&r))); e != 0 {
			return fmt.Errorf("%s: request %#x: %w", name, what, e)
		}
		return nil
	}
	up := binary.NativeEndian.AppendUint16(nil, unix.IFF_UP|unix.IFF_RUNNING)
	if err := ask("lo", unix.SIOCSIFFLAGS, up); err != nil {
		return err
	}
	own, net := sockaddr(address), sockaddr(mask)
	if err := ask(device, unix.SIOCSIFADDR, own[:]); err != nil {
		return err
	}
	if err := ask(device, unix.SIOCSIFNETMASK, net[:]); err != nil {
		return err
	}
	if err := ask(device, unix.SIOCSIFFLAGS, up); err != nil {
		return err
	}
	var route struct { // struct rtentry
		_                 uintptr
		dst, via, genmask [16]byte
		flags             uint16
		_                 [64]byte
	}
	route.dst, route.via, route.genmask = sockaddr("0.0.0.0"), sockaddr(gateway), sockaddr("0.0.0.0")
	route.flags = unix.RTF_UP | unix.RTF_GATEWAY
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCADDRT, uintptr(unsafe.Pointer(&route))); e != 0 {
		return fmt.Errorf("default route: %w", e)
	}
	return nil
}
