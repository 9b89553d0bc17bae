package collect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// utterance is what a listener told: a record, or that it failed.
type utterance struct {
	record field.Record
	err    error
}

// listen keeps the listener listening, and brings what it hears into the loop.
func (l *Loop) listen(ctx context.Context) {
	bring := func(u utterance) {
		select {
		case l.heard <- u:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		err := l.o.Listen(ctx, func(r field.Record) {
			r.At = l.o.Stamp()
			bring(utterance{record: r})
		})
		if ctx.Err() != nil {
			return
		}
		bring(utterance{err: fmt.Errorf("listening ended: %w", err)})
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// hear takes what was told. A record of a device that is not on the line is of no interest; one of nobody says that the
// line works.
func (l *Loop) hear(h utterance) {
	now := l.now()
	if h.err != nil {
		l.lineFailed(now, l.o.Stamp(), h.err)
		return
	}
	if h.record.Group == nil {
		l.lineWorks(now, h.record.At)
		return
	}
	u, ok := l.byName[h.record.Group.Device]
	if !ok {
		return
	}
	for _, p := range u.plans {
		if p.group.Name == h.record.Group.Name {
			l.lineWorks(now, h.record.At)
			l.tally(u, now, 0, nil)
			l.answered(u, now, h.record.At)
			l.deliver(p, h.record, now)
			return
		}
	}
}

// under completes a record that speaks of some of its tags only with what was known of the others before.
func under(r, before field.Record) field.Record {
	if !slices.Contains(r.Quality, field.Absent) || len(before.Values) != len(r.Values) {
		return r
	}
	r.Values, r.Quality = slices.Clone(r.Values), slices.Clone(r.Quality)
	for i, q := range r.Quality {
		if q == field.Absent {
			r.Values[i], r.Quality[i] = before.Values[i], before.QualityOf(i)
		}
	}
	return r
}

// await is how a station waits for what takes long: the loop takes what is heard meanwhile, and its progress shows.
func (l *Loop) await(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(idle / 2)
	defer tick.Stop()
	for {
		l.progress.Add(1)
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case h := <-l.heard:
			l.hear(h)
		case <-tick.C:
		}
	}
}

// thin leaves of a record that was heard what is due: a device that speaks each second is told of once a period. Each
// point counts for itself, since a device may speak of one thing at a time; what is no value is always due.
func (p *plan) thin(r field.Record, now time.Duration) field.Record {
	quality := make([]field.Quality, len(r.Values))
	if r.Quality != nil {
		copy(quality, r.Quality)
	}
	early := false
	for i, q := range quality {
		if q == field.Absent {
			continue
		}
		next := &p.next[i]
		if q == field.Good && now+p.period/10 < *next {
			quality[i], early = field.Absent, true
			continue
		}
		switch {
		case q != field.Good:
			*next = 0
		case *next == 0 || *next+p.period <= now: // the first, or one after a silence: the grid begins here
			*next = now + p.period
		default:
			*next += p.period
		}
	}
	if !early {
		return r
	}
	r.Values, r.Quality = slices.Clone(r.Values), quality
	for i, q := range quality {
		if q == field.Absent {
			r.Values[i] = field.Value{}
		}
	}
	return r
}
