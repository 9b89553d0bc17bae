package link

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Dir says what a trace's Frame shows.
type Dir uint8

// The kinds of a trace's frames.
const (
	Tx   Dir = iota // bytes that were sent
	Rx              // bytes that came, as they came: one answer may be several frames
	Note            // no bytes, but what happened to the line
)

// String is "tx", "rx" or "note".
func (d Dir) String() string {
	switch d {
	case Tx:
		return "tx"
	case Rx:
		return "rx"
	default:
		return "note"
	}
}

// Frame is one line of a trace.
type Frame struct {
	Time    time.Time
	Dir     Dir
	Bytes   []byte // of Tx and Rx: a copy, shared by all subscribers; people are shown Hex
	Secret  []Span // of Tx: the bytes that Hex hides
	Note    string // of Note: "opened", "discarded 3 late bytes", "down: …"
	Dropped int    // frames that this subscriber lost just before this one, because it was slow
}

// Hex is the frame's bytes as people are shown them, with "**" for each secret one: "68 04 ** ** 16".
func (f Frame) Hex() string {
	hex := fmt.Appendf(nil, "% x", f.Bytes)
	for _, s := range f.Secret {
		for i := s.From; i < min(s.To, len(f.Bytes)); i++ {
			copy(hex[3*i:], "**")
		}
	}
	return string(hex)
}

// traceDepth is how many frames wait for a slow subscriber; a line at 200 exchanges a second fills it in half a second.
const traceDepth = 256

// Trace shows the bytes of a line to whoever subscribes. With no subscriber it costs the line one atomic load. The zero
// Trace is ready. It is safe for concurrent use.
type Trace struct {
	watching atomic.Int32

	mu   sync.Mutex
	subs map[*subscriber]struct{}
}

type subscriber struct {
	frames  chan Frame
	dropped int
}

// Subscribe gives the frames from now on, until the context ends; the channel is closed then. A subscriber that does
// not keep up loses frames, which Frame.Dropped tells; it never holds up the line.
func (t *Trace) Subscribe(ctx context.Context) <-chan Frame {
	s := &subscriber{frames: make(chan Frame, traceDepth)}
	t.mu.Lock()
	if t.subs == nil {
		t.subs = make(map[*subscriber]struct{})
	}
	t.subs[s] = struct{}{}
	t.mu.Unlock()
	t.watching.Add(1)
	context.AfterFunc(ctx, func() {
		t.watching.Add(-1)
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.subs, s)
		close(s.frames)
	})
	return s.frames
}

func (t *Trace) bytes(dir Dir, b []byte, secret ...Span) {
	if t.watching.Load() == 0 || len(b) == 0 {
		return
	}
	t.send(Frame{Time: time.Now(), Dir: dir, Bytes: append([]byte(nil), b...), Secret: secret})
}

func (t *Trace) note(format string, args ...any) {
	if t.watching.Load() == 0 {
		return
	}
	t.send(Frame{Time: time.Now(), Dir: Note, Note: fmt.Sprintf(format, args...)})
}

func (t *Trace) send(f Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.subs {
		f.Dropped = s.dropped
		select {
		case s.frames <- f:
			s.dropped = 0
		default:
			s.dropped++
		}
	}
}
