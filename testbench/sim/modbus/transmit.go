package modbus

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// piece is a run of bytes and the pause before it.
type piece struct {
	pause time.Duration
	data  []byte
}

// transmission is what goes out in one go, not before at.
type transmission struct {
	at     time.Time
	pieces []piece
}

// transmitter brings transmissions onto a port: in the order of their times, one after another, at the wire's pace.
type transmitter struct {
	port Port
	wire Wire
	wake chan struct{}

	mu      sync.Mutex
	waiting []transmission // by time
	last    time.Time      // when the last byte went out
}

func newTransmitter(p Port, w Wire) *transmitter {
	return &transmitter{port: p, wire: w, wake: make(chan struct{}, 1)}
}

func (t *transmitter) send(x transmission) {
	t.mu.Lock()
	i, _ := slices.BinarySearchFunc(t.waiting, x, func(a, b transmission) int {
		if a.at.After(b.at) {
			return 1
		}
		return -1 // what has the same time goes behind
	})
	t.waiting = slices.Insert(t.waiting, i, x)
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// silentFor says whether the line was silent for so long before the moment, as far as bytes that went out before it
// tell.
func (t *transmitter) silentFor(d time.Duration, before time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	gap := before.Sub(t.last)
	return gap < 0 || gap >= d
}

// run transmits until the context ends or the port takes no more.
func (t *transmitter) run(ctx context.Context) {
	for {
		x, wait, any := t.next()
		switch {
		case any && wait <= 0:
			if !t.transmit(ctx, x) {
				return
			}
			continue
		case !any:
			wait = time.Hour // until something is sent
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-t.wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// next takes the first transmission when its time has all but come; else it says how long that will be, if there is
// one at all.
func (t *transmitter) next() (x transmission, wait time.Duration, any bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return x, 0, false
	}
	x = t.waiting[0]
	if wait = time.Until(x.at) - fine; wait <= 0 {
		t.waiting = slices.Delete(t.waiting, 0, 1)
	}
	return x, wait, true
}

func (t *transmitter) transmit(ctx context.Context, x transmission) bool {
	char, begin := t.wire.Char(), later(x.at, t.lastOut())
	for _, p := range x.pieces {
		begin = begin.Add(p.pause)
		step := len(p.data)
		if char > 0 {
			step = t.wire.fifo()
		}
		for rest := p.data; len(rest) > 0; {
			n := min(step, len(rest))
			begin = begin.Add(time.Duration(n) * char)
			if !sleepUntil(ctx, begin) {
				return false
			}
			t.out()
			if _, err := t.port.Write(rest[:n]); err != nil {
				return false
			}
			rest = rest[n:]
		}
	}
	return true
}

func (t *transmitter) out() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = time.Now()
}

func (t *transmitter) lastOut() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// fine is the end of a wait that the kernel's own clock measures: the runtime's timers round to whole milliseconds,
// which is ten characters at 115200 baud.
const fine = 2 * time.Millisecond

// sleepUntil waits for the moment, to about a tenth of a millisecond; false when the context ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	if d := time.Until(at); d > fine {
		timer := time.NewTimer(d - fine)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	for d := time.Until(at); d > 0; d = time.Until(at) {
		ts := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&ts, nil) // interrupted or not, the loop looks at the clock
	}
	return ctx.Err() == nil
}
