package link

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 3 * time.Second
	userTimeout = 20 * time.Second // that what was sent may stay unacknowledged before the kernel gives the connection up
	tcpMisses   = 3
	tcpBackoff  = 5 * time.Second
)

// TCPLine is a Line over one TCP connection: of Modbus TCP as a Stream, of frames behind a serial device server without.
// It connects at the first Exchange. It hangs up after three timeouts in a row, when the framer is out of step, and,
// when it is no Stream, after garbage; it is connected anew by the next Exchange. Attempts that fail are a second
// apart at least, and 5 s at most.
type TCPLine struct{ line }

// TCP makes a line to host, "192.0.2.20:502". It does no I/O.
func TCP(host string, o Options) *TCPLine {
	l := &TCPLine{}
	l.init(host, o)
	l.gone = "the connection is lost"
	l.stream = o.Stream
	l.fragile = !o.Stream
	l.misses = tcpMisses
	l.retry.most = tcpBackoff
	d := net.Dialer{
		Timeout:         o.DialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         setUserTimeout,
	}
	if d.Timeout <= 0 {
		d.Timeout = dialTimeout
	}
	l.open = func(ctx context.Context) (port, error) {
		c, err := d.DialContext(ctx, "tcp", host)
		if err != nil {
			return nil, &DownError{Line: host, Err: err, Hint: dialHint(err)}
		}
		conn := c.(*net.TCPConn)
		desc, err := newDescriptor(conn)
		if err != nil {
			_ = conn.Close()
			return nil, &DownError{Line: host, Err: err}
		}
		return tcpPort{conn, desc}, nil
	}
	return l
}

// Timing implements Line: there is no wire time on TCP.
func (l *TCPLine) Timing() Timing { return Timing{} }

// Stats are the line's counters. It may be called from any goroutine.
func (l *TCPLine) Stats() Stats { return l.counters.snapshot() }

type tcpPort struct {
	*net.TCPConn
	desc *descriptor
}

func (p tcpPort) pending(b []byte) (int, error) { return p.desc.pending(b) }
func (tcpPort) flush()                          {}
func (tcpPort) drain()                          {}

func setUserTimeout(_, _ string, c syscall.RawConn) error {
	var result error
	err := c.Control(func(fd uintptr) {
		result = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	return errors.Join(err, result)
}

func dialHint(err error) string {
	var name *net.DNSError
	var addr *net.AddrError
	var timeout net.Error
	switch {
	case errors.As(err, &name):
		return "the host's name is not known here; write its IP address, or check the name server"
	case errors.As(err, &addr):
		return `the host is written as "192.0.2.20:502": address and port`
	case errors.Is(err, unix.ECONNREFUSED):
		return "the host is there, but nothing listens on that port; check the port, and whether the device's Modbus or serial server is switched on"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return "no way leads to that address; check the address, this box's network settings and the cable"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nothing answers at that address; check the address, the cable, the device's power, and firewalls between"
	}
	return ""
}
