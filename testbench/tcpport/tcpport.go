// Package tcpport keeps a TCP port of this machine while nobody listens on it.
//
// A broker that goes down and comes back must come back under the same address, and while it is down a connection must
// be refused, as a dead process's is. A listener that is merely closed gives its port away: the kernel may hand it to
// the next who asks for any port. So a socket that is bound but never listens holds it. That needs Linux, where
// sockets may share a port as long as only one of them listens.
package tcpport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Port is a held port on 127.0.0.1.
type Port struct {
	holder  int
	address string
}

// Hold takes the address, such as "127.0.0.1:1883", or any free port of 127.0.0.1 when it is "". IPv4 only.
func Hold(address string) (*Port, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !ap.Addr().Is4() {
		return nil, fmt.Errorf("%q is no IPv4 address with a port", address)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &Port{holder: fd}
	if err := p.bind(ap); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return p, nil
}

func (p *Port) bind(ap netip.AddrPort) error {
	if err := unix.SetsockoptInt(p.holder, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(p.holder, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(p.holder)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	in4 := bound.(*unix.SockaddrInet4)
	p.address = netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port)).String()
	return nil
}

// Address is the host and the port, as a client dials them.
func (p *Port) Address() string { return p.address }

// Listen listens on the port; once at a time, and again after that listener was closed.
func (p *Port) Listen() (net.Listener, error) {
	var c net.ListenConfig // sets SO_REUSEADDR by itself
	return c.Listen(context.Background(), "tcp4", p.address)
}

// Close gives the port away. A listener lives on.
func (p *Port) Close() error { return unix.Close(p.holder) }
