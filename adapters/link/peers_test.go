package link_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"edgegateway/adapters/link"
	"edgegateway/adapters/link/linktest"
)

func TestSerialConforms(t *testing.T) {
	linktest.Run(t, linktest.Fixture{New: func(t *testing.T) (link.Line, linktest.Peer) {
		p := newPTYPeer(t)
		return closing(t, link.Serial(p.name, link.Mode{Baud: 115200, DataBits: 8, Parity: 'N', StopBits: 1}, link.Options{})), p
	}})
}

func TestTCPConforms(t *testing.T) {
	for _, stream := range []bool{false, true} {
		name := "frames"
		if stream {
			name = "stream"
		}
		t.Run(name, func(t *testing.T) {
			linktest.Run(t, linktest.Fixture{Stream: stream, New: func(t *testing.T) (link.Line, linktest.Peer) {
				p := newTCPPeer(t)
				return closing(t, link.TCP(p.addr, link.Options{Stream: stream})), p
			}})
		})
	}
}

func closing[L link.Line](t testing.TB, l L) L {
	t.Cleanup(func() { _ = l.Close() })
	return l
}

const patience = 10 * time.Second

// ptyPeer is an adapter behind a name such as those in /dev/serial/by-id: a link, which leads to another terminal after
// each plugging in. It keeps the line's side open too: with none, a master's read fails.
type ptyPeer struct {
	t              testing.TB
	name           string
	master, holder *os.File
}

func newPTYPeer(t testing.TB) *ptyPeer {
	p := &ptyPeer{t: t, name: filepath.Join(t.TempDir(), "usb-adapter-if00-port0")}
	p.Return()
	t.Cleanup(p.Vanish)
	return p
}

func (p *ptyPeer) Return() {
	master, tty, err := pty.Open()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := raw(tty); err != nil {
		p.t.Fatal(err)
	}
	p.master, p.holder = master, tty
	if err := os.Symlink(tty.Name(), p.name); err != nil {
		p.t.Fatal(err)
	}
}

func (p *ptyPeer) Vanish() {
	_ = os.Remove(p.name)
	_ = p.master.Close()
	_ = p.holder.Close()
}

func (p *ptyPeer) Receive(n int) ([]byte, error) {
	b := make([]byte, n)
	if err := p.master.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	_, err := io.ReadFull(p.master, b)
	return b, err
}

func (p *ptyPeer) Send(b []byte) error {
	_, err := p.master.Write(b)
	return err
}

func raw(tty *os.File) error {
	c, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = c.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err == nil {
			t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
		}
		result = err
	})
	return errors.Join(err, result)
}

// tcpPeer is a device server that speaks on the latest connection.
type tcpPeer struct {
	t    testing.TB
	addr string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	arrived  chan struct{} // closed, and made anew, with each connection
	accepts  sync.WaitGroup
}

func newTCPPeer(t testing.TB) *tcpPeer {
	p := &tcpPeer{t: t, addr: "127.0.0.1:0"}
	p.Return()
	t.Cleanup(p.Vanish)
	return p
}

func (p *tcpPeer) Return() {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = l.Addr().String()
	p.mu.Lock()
	p.listener, p.arrived, p.conns = l, make(chan struct{}), nil
	p.mu.Unlock()
	p.accepts.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			close(p.arrived)
			p.arrived = make(chan struct{})
			p.mu.Unlock()
		}
	})
}

func (p *tcpPeer) Vanish() {
	_ = p.listener.Close()
	p.accepts.Wait()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// next gives the latest connection after the n-th.
func (p *tcpPeer) next(n int) (net.Conn, int, error) {
	give := time.After(patience)
	for {
		p.mu.Lock()
		have, arrived := len(p.conns), p.arrived
		var c net.Conn
		if have > 0 {
			c = p.conns[have-1]
		}
		p.mu.Unlock()
		if have > n {
			return c, have, nil
		}
		select {
		case <-arrived:
		case <-give:
			return nil, 0, errors.New("nobody connects")
		}
	}
}

func (p *tcpPeer) Receive(n int) ([]byte, error) {
	b := make([]byte, n)
	for seen := 0; ; {
		c, have, err := p.next(seen)
		if err != nil {
			return nil, err
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		if _, err = io.ReadFull(c, b); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return b, err
		}
		seen = have // the line has hung up; it will call again
	}
}

func (p *tcpPeer) Send(b []byte) error {
	c, _, err := p.next(0)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}
