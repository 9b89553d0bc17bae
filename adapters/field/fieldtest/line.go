package fieldtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"edgegateway/adapters/link"
)

// Chunk is some bytes that arrive together.
type Chunk struct {
	After time.Duration // the request's last bit; their own wire time comes on top
	Bytes []byte
}

// Line is a link.Line in memory, held to link.Line's contract by linktest. Its far end is a function, and its time is
// the clock's: run it in a synctest bubble, and a timeout costs nothing. Its fields are set between two exchanges, by
// the goroutine that owns it.
type Line struct {
	Peer     func(request []byte) []Chunk // what the far end sends upon a request; nil is silence
	Stream   bool                         // what is left over is kept, for the framer to skip
	Wire     link.Timing                  // what Timing gives, and what Exchange reckons with
	Requests [][]byte                     // all that was sent so far
	Listened int                          // exchanges with an empty request

	got    []byte // arrived, and not yet used
	secret bool   // the last request held a secret

	mu     sync.Mutex
	coming []arrival // not yet arrived, in the order of time
	down   error
	closed bool
	change chan struct{} // closed by whoever changes the above from outside
}

type arrival struct {
	at    time.Time
	bytes []byte
}

// slack is what link.Line grants an answer that has begun.
const slack = 200 * time.Millisecond

var errClosed = errors.New("the line was closed")

// Exchange implements link.Line.
func (l *Line) Exchange(ctx context.Context, request []byte, wait time.Duration, complete link.Framer) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.isDown(); err != nil {
		return nil, err
	}
	sent := time.Now().Add(time.Duration(len(request)) * l.Wire.Char)
	if len(request) > 0 {
		l.arrive()
		if !l.Stream {
			l.got = nil
		}
		l.secret = len(link.SecretOf(ctx)) > 0
		l.send(request, sent)
	} else {
		l.Listened++
	}
	if complete == nil {
		_, err := l.sleep(ctx, sent)
		return nil, err
	}
	return l.await(ctx, sent.Add(wait), complete)
}

// await offers what comes to the framer, until it finds the answer or the time is over.
func (l *Line) await(ctx context.Context, deadline time.Time, complete link.Framer) ([]byte, error) {
	limit := deadline
	for offered := -1; ; {
		next := l.arrive()
		if len(l.got) > 0 && len(l.got) != offered {
			answer, skip, _, err := complete(l.got)
			if err != nil {
				return nil, l.garbage(err)
			}
			if l.Stream || answer != nil {
				l.got = l.got[min(skip, len(l.got)):]
			}
			if answer != nil {
				return answer, nil
			}
			offered = len(l.got)
			limit = deadline
			if begun := time.Now().Add(slack); offered > 0 && begun.After(limit) {
				limit = begun
			}
		}
		if next.IsZero() || next.After(limit) {
			next = limit
		}
		over, err := l.sleep(ctx, next)
		switch {
		case err != nil:
			return nil, err
		case !over || next.Before(limit) || l.due():
		case len(l.got) > 0:
			return nil, l.garbage(nil)
		default:
			return nil, link.ErrTimeout
		}
	}
}

func (l *Line) send(request []byte, sent time.Time) {
	l.Requests = append(l.Requests, slices.Clone(request))
	if l.Peer == nil {
		return
	}
	for _, c := range l.Peer(request) {
		l.bring(sent.Add(c.After+time.Duration(len(c.Bytes))*l.Wire.Char), c.Bytes)
	}
}

func (l *Line) bring(at time.Time, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.coming)
	for i > 0 && at.Before(l.coming[i-1].at) {
		i--
	}
	l.coming = slices.Insert(l.coming, i, arrival{at, slices.Clone(b)})
	l.changed()
}

// Arrive brings bytes that nobody asked for. It may be called from any goroutine.
func (l *Line) Arrive(b []byte) { l.bring(time.Now(), b) }

// Down takes the line away, and gives it back with nil. It may be called from any goroutine.
func (l *Line) Down(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = cause
	l.coming = nil
	l.changed()
}

// Close implements link.Line.
func (l *Line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed()
	return nil
}

// changed wakes an Exchange in progress. The caller holds the mutex.
func (l *Line) changed() {
	if l.change != nil {
		close(l.change)
		l.change = nil
	}
}

func (l *Line) isDown() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cause := l.down
	if l.closed {
		cause = errClosed
	}
	if cause == nil {
		return nil
	}
	l.got = nil
	return &link.DownError{Line: "in memory", Err: cause}
}

// arrive takes in what has come by now, and says when more will; zero when nothing is on its way.
func (l *Line) arrive() (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.coming) > 0 {
		if l.coming[0].at.After(time.Now()) {
			return l.coming[0].at
		}
		l.got = append(l.got, l.coming[0].bytes...)
		l.coming = l.coming[1:]
	}
	return time.Time{}
}

// due says that something has come that was not yet taken in.
func (l *Line) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.coming) > 0 && !l.coming[0].at.After(time.Now())
}

func (l *Line) garbage(cause error) error {
	g := &link.GarbageError{Got: l.got, N: len(l.got), Err: cause}
	if cause == nil && l.Stream {
		g.Got = slices.Clone(l.got)
	} else {
		l.got = nil
	}
	if l.secret {
		g.Got = nil
	}
	if cause != nil { // the line is opened anew: what was on its way is gone
		l.Down(nil)
	}
	return g
}

// sleep waits until a moment, and says whether it has come; else something changed before.
func (l *Line) sleep(ctx context.Context, until time.Time) (over bool, err error) {
	l.mu.Lock()
	if l.change == nil {
		l.change = make(chan struct{})
	}
	change := l.change
	pending := len(l.coming) > 0 && !l.coming[0].at.After(time.Now())
	l.mu.Unlock()
	if err := l.isDown(); err != nil || pending {
		return false, err
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return true, nil
	case <-change:
		return false, l.isDown()
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Timing implements link.Line.
func (l *Line) Timing() link.Timing { return l.Wire }
