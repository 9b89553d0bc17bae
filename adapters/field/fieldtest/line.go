package fieldtest

import (
	"context"
	"errors"
	"time"

	"edgegateway/adapters/link"
)

// Chunk is some bytes that arrive together.
type Chunk struct {
	After time.Duration // the request's last bit; their own wire time comes on top
	Bytes []byte
}

// Line is a link.Line in memory. Its far end is a function, and its time is the clock's: run it in a synctest bubble,
// and a timeout costs nothing. It keeps the contract of link.Line: what arrived before a request is not its answer,
// unless the line is a Stream. Its fields are set between two exchanges, by the goroutine that owns it.
type Line struct {
	Peer     func(request []byte) []Chunk // what the far end sends upon a request; nil is silence
	Stream   bool
	Down     error       // why there is no line; nil when there is one
	Wire     link.Timing // what Timing gives, and what Exchange reckons with
	Requests [][]byte    // all that was sent so far
	Listened int         // exchanges with an empty request

	coming []arrival // not yet arrived, in the order of time
	got    []byte    // arrived, and not yet used
}

type arrival struct {
	at    time.Time
	bytes []byte
}

// slack is what link.Line grants an answer that has begun.
const slack = 200 * time.Millisecond

// Exchange implements link.Line.
func (l *Line) Exchange(ctx context.Context, request []byte, wait time.Duration, complete link.Framer) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.Down != nil {
		return nil, &link.DownError{Line: "in memory", Err: l.Down}
	}
	sent := time.Now().Add(time.Duration(len(request)) * l.Wire.Char)
	if len(request) > 0 {
		l.arrive()
		if !l.Stream {
			l.got = nil
		}
		l.send(request, sent)
	} else {
		l.Listened++
	}
	if complete == nil {
		return nil, l.sleep(ctx, sent)
	}
	deadline := sent.Add(wait)
	offered := -1
	for {
		l.arrive()
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
		}
		limit := deadline
		if begun := time.Now().Add(slack); len(l.got) > 0 && begun.After(limit) {
			limit = begun
		}
		next := limit
		if len(l.coming) > 0 && l.coming[0].at.Before(limit) {
			next = l.coming[0].at
		}
		if err := l.sleep(ctx, next); err != nil {
			return nil, err
		}
		if l.arrive() || next.Before(limit) {
			continue
		}
		if len(l.got) > 0 {
			return nil, l.garbage(nil)
		}
		return nil, link.ErrTimeout
	}
}

func (l *Line) send(request []byte, sent time.Time) {
	l.Requests = append(l.Requests, append([]byte(nil), request...))
	if l.Peer == nil {
		return
	}
	for _, c := range l.Peer(request) {
		l.coming = append(l.coming, arrival{sent.Add(c.After + time.Duration(len(c.Bytes))*l.Wire.Char), append([]byte(nil), c.Bytes...)})
	}
	for i := len(l.coming) - 1; i > 0 && l.coming[i].at.Before(l.coming[i-1].at); i-- {
		l.coming[i], l.coming[i-1] = l.coming[i-1], l.coming[i]
	}
}

// arrive takes in what has come by now, and says whether anything has.
func (l *Line) arrive() (any bool) {
	for len(l.coming) > 0 && !l.coming[0].at.After(time.Now()) {
		l.got = append(l.got, l.coming[0].bytes...)
		l.coming = l.coming[1:]
		any = true
	}
	return any
}

func (l *Line) garbage(cause error) error {
	g := &link.GarbageError{Got: l.got, N: len(l.got), Err: cause}
	if cause != nil || !l.Stream {
		l.got = nil
	}
	if cause != nil { // the line is opened anew: what was on its way is gone
		l.coming = nil
	}
	return g
}

func (l *Line) sleep(ctx context.Context, until time.Time) error {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Timing implements link.Line.
func (l *Line) Timing() link.Timing { return l.Wire }

// Close implements link.Line: there is nothing that could hang.
func (l *Line) Close() error {
	l.Down = errors.New("the line was closed")
	return nil
}
