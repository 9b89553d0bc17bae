// Package wan is the long way between a gateway and its platform: a TCP proxy whose faults are switched while it runs.
//
//	gateway ── near ─[ read · bandwidth · delay · write ]─ far ── broker
//
// It promises that delay holds up throughput no more than a long cable does (chunks travel one behind another, each
// with the time at which it is due), that bandwidth is shared by all connections of one direction, with a queue of
// some 10 kB before it, and that Run has ended every connection and goroutine when it returns. A caller may not assume
// packets: it is a proxy, so both ends' kernels acknowledge what the other end has not seen yet, and a connection to a
// broker that is not there is accepted first and reset then.
package wan

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edgegateway/testbench/tcpport"
)

// Direction is one of the two ways through the link.
type Direction uint8

// Up leads from the gateway to the broker, Down back.
const (
	Up Direction = iota
	Down
)

type mode uint8

const (
	open mode = iota
	cut
	hole
	frozen
)

// Stats are the link's figures since it was made.
type Stats struct {
	Up, Down int64 // bytes handed over to the far end of that direction
	Accepted int   // connections
	Open     int   // connections that have not ended, deaf ones too
}

// Link is one way through the network. Its methods may be called from any goroutine, also before Run and after it.
type Link struct {
	target string
	port   *tcpport.Port
	count  [2]atomic.Int64 // bytes by Direction

	mu       sync.Mutex
	mode     mode
	changed  chan struct{} // closed, and made anew, whenever mode changes
	listener net.Listener  // nil while cut
	failed   error         // to listen again
	pairs    map[*pair]struct{}
	accepted int
	shapers  [2]shaper
}

// New makes a link to the target, "host:port", and listens on a port of its own. Connections are served once Run runs.
func New(target string) (*Link, error) {
	port, err := tcpport.Hold("")
	if err != nil {
		return nil, err
	}
	l := &Link{target: target, port: port, changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	for d := range l.shapers {
		l.shapers[d].changed = make(chan struct{})
	}
	if l.listener, err = listen(port); err != nil {
		port.Close()
		return nil, err
	}
	return l, nil
}

// Address is where the gateway finds the broker through this link.
func (l *Link) Address() string { return l.port.Address() }

// Cut refuses new connections and resets those that are open.
func (l *Link) Cut() { l.become(cut) }

// Freeze stops both directions and loses nothing, as a pulled cable does: connections go on after Restore, unless an
// end gave up. New ones are accepted, and stand still too.
func (l *Link) Freeze() { l.become(frozen) }

// BlackHole swallows everything. Connections stay open; those that were there, and those made meanwhile, stay deaf
// and mute for good, also after Restore, until their own end closes them.
func (l *Link) BlackHole() { l.become(hole) }

// Restore ends Cut, Freeze and BlackHole.
func (l *Link) Restore() { l.become(open) }

func (l *Link) become(m mode) {
	l.mu.Lock()
	l.mode = m
	close(l.changed)
	l.changed = make(chan struct{})
	var reset []*pair
	switch {
	case m == cut && l.listener != nil:
		l.listener.Close()
		l.listener = nil
		reset = l.everyone()
	case m != cut && l.listener == nil:
		l.listener, l.failed = listen(l.port)
	}
	if m == hole {
		for p := range l.pairs {
			p.deaf.Store(true)
		}
	}
	l.mu.Unlock()
	for _, p := range reset {
		p.reset()
	}
}

func (l *Link) everyone() (pairs []*pair) {
	for p := range l.pairs {
		pairs = append(pairs, p)
	}
	return pairs
}

// Reset resets the connections that are open, at both ends. New ones are welcome.
func (l *Link) Reset() {
	l.mu.Lock()
	pairs := l.everyone()
	l.mu.Unlock()
	for _, p := range pairs {
		p.reset()
	}
}

// HalfClose ends one direction of the connections that are open: its receiver reads the end of the stream, and what
// its sender still says is lost. The other direction goes on.
func (l *Link) HalfClose(d Direction) {
	l.mu.Lock()
	pairs := l.everyone()
	l.mu.Unlock()
	for _, p := range pairs {
		p.halfClose(d)
	}
}

// Delay sets how long bytes travel, in each direction; what is under way keeps its time.
func (l *Link) Delay(up, down time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shapers[Up].delay, l.shapers[Down].delay = up, down
}

// Bandwidth sets how many bytes a second go through, in each direction; 0 for as many as the machine can.
func (l *Link) Bandwidth(up, down int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shapers[Up].limit(up)
	l.shapers[Down].limit(down)
}

// Stats gives the figures.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Up: l.count[Up].Load(), Down: l.count[Down].Load(),
		Accepted: l.accepted, Open: len(l.pairs),
	}
}

// Run serves connections until the context ends; then it closes them and returns nil. An error says that it cannot
// listen any more.
func (l *Link) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.listener != nil {
			l.listener.Close()
		}
		l.port.Close()
	})
	defer running.Wait()
	defer cancel()
	for {
		ln, changed, err := l.listening()
		if err != nil {
			return err
		}
		if ln == nil || ctx.Err() != nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			continue // by Cut, or by the context's end
		}
		if err != nil {
			return err
		}
		p := l.admit(conn.(*net.TCPConn))
		running.Go(func() {
			p.run(ctx)
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.pairs, p)
		})
	}
}

// listening gives the listener, or nil while cut.
func (l *Link) listening() (ln net.Listener, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listener, l.changed, l.failed
}

func (l *Link) admit(near *net.TCPConn) *pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &pair{link: l, near: near}
	p.deaf.Store(l.mode == hole)
	l.pairs[p] = struct{}{}
	l.accepted++
	return p
}

// thawed waits until the link is not frozen; false when the context ended first.
func (l *Link) thawed(ctx context.Context) bool {
	for {
		l.mu.Lock()
		m, changed := l.mode, l.changed
		l.mu.Unlock()
		if m != frozen {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// receiveBuffer is the queue before the bottleneck, in bytes: what a sender can push into the kernel before it has to
// wait. The kernel's own choice would hide minutes of a slow link.
const receiveBuffer = 8 << 10

func listen(port *tcpport.Port) (net.Listener, error) {
	ln, err := port.Listen()
	if err != nil {
		return nil, err
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = narrow("", "", raw) // inherited by what it accepts
	}
	if err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

func narrow(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	})
	if err != nil {
		return err
	}
	return failed
}
