package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"edgegateway/adapters/field"
)

const (
	heartbeat = 15 * time.Minute // unless the device has its own
	patience  = 3                // tries without an answer after which a unit is taken for dead
)

// unit is one device as the loop sees it. All but its ledger belongs to the loop's goroutine.
type unit struct {
	Device
	plans []*plan

	polled bool // some of its groups are read, and not only heard

	met     bool          // it has answered since the loop began
	silent  int           // tries in a row that it did not answer
	offline bool          // taken for dead
	since   time.Duration // when it last answered or was heard, or the loop began
	probe   time.Duration // when a dead one is looked at next
	backoff time.Duration // between two such looks
	restate time.Duration // when to tell again that there is nothing to tell; 0 while there is
	broke   time.Duration // when the line last failed with a request to it; 0 for never

	written map[string]time.Duration // when each tag with limits was last written

	ledger unitLedger // guarded by Loop.mu
}

func newUnit(d Device) *unit {
	if d.Heartbeat <= 0 {
		d.Heartbeat = heartbeat
	}
	if d.Slow <= 0 {
		d.Slow = d.Every
	}
	u := &unit{Device: d}
	hearer, _ := d.Station.(field.Hearer)
	for _, g := range d.Station.Groups() {
		p := &plan{unit: u, group: g, period: d.Every, heard: hearer != nil && hearer.Hears(g.Name)}
		u.polled = u.polled || d.Every > 0 && !p.heard
		if g.Name == field.SlowGroup {
			p.period = d.Slow
		}
		p.shapeUp()
		u.plans = append(u.plans, p)
	}
	return u
}

// cheapest is the plan with the fewest points that is read: the best question for a sign of life.
func (u *unit) cheapest() *plan {
	var best *plan
	for _, p := range u.plans {
		if !p.heard && (best == nil || len(p.group.Points) < len(best.group.Points)) {
			best = p
		}
	}
	return best
}

// try asks a unit once, for a group or for a sign of life, and draws the conclusions.
func (l *Loop) try(ctx context.Context, t task) {
	start := l.now()
	dead := t.unit.offline && !l.down && l.alive() // it says nothing of a line on which others live
	r, read, err := l.ask(&t)
	if errors.Is(err, field.ErrLine) && !l.down && !dead && ctx.Err() == nil {
		// Many peers close a connection that was idle, and the next request is the first to notice. A line that opens
		// again at once was not down.
		r, read, err = l.ask(&t)
	}
	at, now := l.o.Stamp(), l.now()
	cost := now - start
	if err != nil && ctx.Err() != nil {
		return // broken off: nothing was learnt
	}
	l.tally(t.unit, now, cost, err)
	u, p := t.unit, t.plan
	if errors.Is(err, field.ErrLine) && !dead {
		u.broke = now
		l.culprit = nil
		if !l.down {
			l.culprit = u
		}
		l.lineFailed(now, at, err)
		return
	}
	l.lineWorks(now, at)
	l.accuse(u, now, at)
	if err == nil {
		l.answered(u, now, at)
	} else {
		l.unanswered(u, now, cost, at, err)
	}
	if u.offline || !read {
		return
	}
	if err != nil {
		r = p.nothing(field.Timeout)
	}
	r.At, p.asked = at, true
	l.deliver(p, r, now)
	l.step(p, now, err == nil)
}

// ask does the I/O of a task. read says that a group was read, which is then the task's plan.
func (l *Loop) ask(t *task) (r field.Record, read bool, err error) {
	if t.plan == nil {
		if p, ok := t.unit.Station.(field.Prober); ok {
			return r, false, p.Probe(l.polling)
		}
		t.plan = t.unit.cheapest()
	}
	r, err = t.unit.Station.Read(l.polling, t.plan.group.Name)
	return r, true, err
}

// answered notes a sign of life. A unit that was taken for dead is back: all its groups are due.
func (l *Loop) answered(u *unit, now time.Duration, at field.Stamp) {
	away := now - u.since
	back := u.offline
	u.met, u.silent, u.since, u.offline = true, 0, now, false
	l.mu.Lock()
	u.ledger.silent, u.ledger.offline, u.ledger.answered = 0, false, at
	l.mu.Unlock()
	if !back {
		return
	}
	u.restate = 0
	for _, p := range u.plans {
		p.due = now
	}
	l.happen(slog.LevelInfo, at, "device_online", u.Name, fmt.Sprintf("device %s on line %s answers, after %s", u.Name, l.o.Line, rounded(away)))
}

// unanswered notes a try in vain. A unit that has answered before is given three tries, the later ones behind all that
// is due; one that never has is given one, since for it even the timeout could not be learnt.
func (l *Loop) unanswered(u *unit, now, cost time.Duration, at field.Stamp, err error) {
	u.silent++
	switch {
	case u.offline:
		u.backoff = min(2*u.backoff, maxBackoff)
		u.probe = now + u.backoff
	case u.silent >= patience || !u.met:
		l.goOffline(u, now, at, fmt.Sprintf("device %s (address %s on line %s) does not answer: %v; check its supply, its address and its wiring",
			u.Name, u.Address, l.o.Line, err))
	}
	l.rest(now, cost)
	l.mu.Lock()
	defer l.mu.Unlock()
	u.ledger.silent = u.silent
}

// accuse counts against a unit that the line failed with a request to it, when the very next one, to another unit, found
// the line well: there are peers that hang up instead of saying that a unit is not there.
func (l *Loop) accuse(other *unit, now time.Duration, at field.Stamp) {
	u := l.culprit
	l.culprit = nil
	if u == nil || u == other || u.offline {
		return
	}
	if u.silent++; u.silent >= patience {
		l.goOffline(u, now, at, fmt.Sprintf("device %s (address %s on line %s): the line fails with each request to it, and with no other's; check its address, and whether it is there",
			u.Name, u.Address, l.o.Line))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u.ledger.silent = u.silent
}

// goOffline takes a unit for dead.
func (l *Loop) goOffline(u *unit, now time.Duration, at field.Stamp, why string) {
	u.offline = true
	u.backoff = min(u.Every, maxBackoff)
	u.probe = now + u.backoff
	l.mu.Lock()
	u.ledger.offline = true
	l.mu.Unlock()
	l.happen(slog.LevelWarn, at, "device_offline", u.Name, why)
	l.blank(u, now, at)
}

// blank tells of each tag of a unit that it is not known, and when to tell that again.
func (l *Loop) blank(u *unit, now time.Duration, at field.Stamp) {
	for _, p := range u.plans {
		p.completed = 0
		r := p.nothing(field.Offline)
		r.At = at
		l.deliver(p, r, now)
	}
	u.restate = now + u.Heartbeat
}

// nothing is the record of a group of which nothing is known, and why.
func (p *plan) nothing(why field.Quality) field.Record {
	n := len(p.group.Points)
	r := field.Record{Group: p.group, Values: make([]field.Value, n), Quality: make([]field.Quality, n)}
	for i := range r.Quality {
		r.Quality[i] = why
	}
	return r
}

// lineFailed notes that the line is down: no device's fault, but no device can be read.
func (l *Loop) lineFailed(now time.Duration, at field.Stamp, err error) {
	l.retry = now + again
	l.mu.Lock()
	l.book.down, l.book.trouble = true, err.Error()
	l.mu.Unlock()
	if l.down {
		return
	}
	l.down = true
	l.happen(slog.LevelWarn, at, "line_down", l.o.Line, "line "+l.o.Line+" is down: "+strings.TrimPrefix(err.Error(), field.ErrLine.Error()+": "))
	for _, u := range l.units {
		if !u.offline {
			l.blank(u, now, at)
		}
	}
}

// lineWorks notes that the line is up. When it was not, everything is due.
func (l *Loop) lineWorks(now time.Duration, at field.Stamp) {
	if !l.down {
		return
	}
	l.down, l.upSince = false, now
	l.mu.Lock()
	l.book.down, l.book.trouble = false, ""
	l.mu.Unlock()
	l.happen(slog.LevelInfo, at, "line_up", l.o.Line, fmt.Sprintf("line %s is up again", l.o.Line))
	for _, u := range l.units {
		u.probe = min(u.probe, now)
		if !u.offline {
			u.restate = 0
		}
		for _, p := range u.plans {
			p.due = min(p.due, now)
		}
	}
}

// overdue tells what is due without I/O: that units are still away, that one which speaks unasked has fallen silent. It
// returns when it is to be called next.
func (l *Loop) overdue(now time.Duration) (next time.Duration) {
	next = now + idle
	for _, u := range l.units {
		if u.SilentAfter > 0 && !u.offline && !l.down {
			if end := max(u.since, l.upSince) + u.SilentAfter; end > now {
				next = min(next, end)
			} else {
				l.goOffline(u, now, l.o.Stamp(), fmt.Sprintf("device %s (address %s on line %s) was not heard for %s; check its battery and its range",
					u.Name, u.Address, l.o.Line, rounded(now-u.since)))
			}
		}
		if u.restate == 0 {
			continue
		}
		if now >= u.restate {
			l.blank(u, now, l.o.Stamp())
		}
		next = min(next, u.restate)
	}
	return next
}

func rounded(d time.Duration) time.Duration {
	if d < time.Minute {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
