// Package bus puts simulators with serial modes of their own on one port: a Modbus device at 9600 8N1 and a meter at
// 2400 8E1 on the same pair of wires.
//
//	device under test ─ ptyline.Line ─ Bus ┬ Tap "9600 8N1" ─ simulator
//	                                       └ Tap "2400 8E1" ─ simulator
//
// It promises that a Tap gets what was sent in its own mode as it was sent, and what was sent in another mode as noise,
// and that what it sends while the port is in another mode arrives as noise. A caller may not assume that two Taps
// which send at once disturb each other, nor that modes are told apart by more than rate and parity.
package bus

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/ptyline"
)

// Bus is one port with several simulators. Make one with New; its Run must be running.
type Bus struct {
	line *ptyline.Line
	mu   sync.Mutex
	taps []*Tap
}

// New makes a bus on a port.
func New(line *ptyline.Line) *Bus { return &Bus{line: line} }

// Run hands what comes from the port to the taps until the context ends (nil) or the port is closed.
func (b *Bus) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = b.line.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 1024)
	for {
		n, err := b.line.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		rate := b.line.Rate()
		b.mu.Lock()
		for _, t := range b.taps {
			t.receive(buf[:n], rate)
		}
		b.mu.Unlock()
	}
}

// Tap is a simulator's place on the bus. It has the methods that simulators want of a port.
type Tap struct {
	bus *Bus

	mu       sync.Mutex
	changed  *sync.Cond
	rate     string // as ptyline.Line.Rate has it
	got      []byte
	deadline time.Time
}

// rate is what of "2400 8E1" shows on a pty: "2400 E".
func rate(mode string) string {
	baud, format, _ := strings.Cut(mode, " ")
	return baud + " " + format[1:2]
}

// Tap adds a place in a mode, "2400 8E1".
func (b *Bus) Tap(mode string) *Tap {
	t := &Tap{bus: b, rate: rate(mode)}
	t.changed = sync.NewCond(&t.mu)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taps = append(b.taps, t)
	return t
}

// SetMode changes the tap's mode: for simulators that change their rate.
func (t *Tap) SetMode(mode string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate = rate(mode)
}

// noise is what bytes look like in another mode.
func noise(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ 0xA5
	}
	return out
}

func (t *Tap) receive(b []byte, rate string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rate != t.rate {
		b = noise(b)
	}
	t.got = append(t.got, b...)
	t.changed.Broadcast()
}

// Read gives what came, and waits for it until the deadline.
func (t *Tap) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case t.expired():
			return 0, os.ErrDeadlineExceeded
		case len(t.got) > 0:
			n := copy(p, t.got)
			t.got = t.got[n:]
			return n, nil
		}
		t.changed.Wait()
	}
}

func (t *Tap) expired() bool { return !t.deadline.IsZero() && !time.Now().Before(t.deadline) }

// Write sends: as noise when the port is in another mode.
func (t *Tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	expired, rate := t.expired(), t.rate
	t.mu.Unlock()
	if expired {
		return 0, os.ErrDeadlineExceeded
	}
	if t.bus.line.Rate() != rate {
		p = noise(p)
	}
	return t.bus.line.Write(p)
}

// SetDeadline bounds Read and Write, as that of net.Conn does.
func (t *Tap) SetDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = at
	if wait := time.Until(at); wait > 0 {
		time.AfterFunc(wait, t.changed.Broadcast)
	}
	t.changed.Broadcast()
	return nil
}
