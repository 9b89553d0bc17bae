package wan

import (
	"context"
	"time"
)

// shaper is one direction's bottleneck and what comes behind it. The link's mutex guards it.
type shaper struct {
	rate    int // bytes a second; 0 without a limit
	delay   time.Duration
	free    time.Time     // when the bottleneck has sent what it was given
	changed chan struct{} // closed, and made anew, when the rate changes
}

func (s *shaper) limit(rate int) {
	s.rate, s.free = rate, time.Time{}
	close(s.changed)
	s.changed = make(chan struct{})
}

const (
	packet = 1460     // what connections take turns by before a bottleneck
	gulp   = 32 << 10 // without one
)

func (l *Link) chunkSize(d Direction) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shapers[d].rate > 0 {
		return packet
	}
	return gulp
}

// serialise waits until the bottleneck has sent n bytes, and says when they arrive; false when the context ended
// first. A new rate lets go what waited for the old one.
func (l *Link) serialise(ctx context.Context, d Direction, n int) (due time.Time, ok bool) {
	l.mu.Lock()
	s := &l.shapers[d]
	sent := time.Now()
	if s.rate > 0 {
		if s.free.After(sent) {
			sent = s.free
		}
		sent = sent.Add(time.Duration(n) * time.Second / time.Duration(s.rate))
		s.free = sent
	}
	delay, changed := s.delay, s.changed
	l.mu.Unlock()

	if wait := time.Until(sent); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-changed:
			sent = time.Now()
		case <-ctx.Done():
			return due, false
		}
	}
	return sent.Add(delay), true
}
