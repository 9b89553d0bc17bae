package collect

import (
	"math"
	"time"

	"edgegateway/adapters/field"
)

const (
	burst      = 300 * time.Millisecond // within which every device is read for the first time, if the line is fast enough
	maxBackoff = time.Minute            // of probes of a dead unit
	again      = time.Second            // after which a line that is down is tried again
	suspicion  = 10                     // periods that a unit which did not answer last time ranks behind
	share      = 9                      // the line's time that the living get for one part that goes to the dead: together at most 10 %
	disturbed  = 30                     // of how many periods of a living unit one at most may be stretched by the dead
	tolerated  = 10                     // a stretch by one part in so many of a period disturbs no one
)

// plan is the schedule of one group of one unit, and what was told of it.
type plan struct {
	unit   *unit
	group  *field.Group
	heard  bool // it comes unasked: it is never due, and the period is the least between two that are told
	period time.Duration
	next   []time.Duration // of a heard one: when each point of shape is told next
	anchor time.Duration   // a point of the grid on which the group is read
	due    time.Duration   // when it is to be read next

	shape  *field.Group // of what is sent: the group less its event tags; nil when nothing is left
	pick   []int        // the points of group that shape has; nil for all
	rules  *rules       // under only_changes; nil otherwise
	events []eventTag

	last      field.Record  // guarded by Loop.mu, as is lastAt
	lastAt    time.Duration //
	asked     bool          // it was read, and did not only speak by itself
	completed time.Duration // when the group was last read well; 0 for never, or not since the unit was away
}

// advance moves the plan to the next point of its grid after now, and returns how many points have passed with no read.
// A point that lies close behind an unplanned read counts as done by it.
func (p *plan) advance(now time.Duration) (missed uint64) {
	next := p.due + p.period/5 - p.anchor
	steps := next / p.period // rounds towards zero: up, for what is negative
	if next > 0 && next%p.period != 0 {
		steps++
	}
	p.due = p.anchor + steps*p.period
	if behind := now - p.due; behind >= p.period {
		skipped := behind / p.period
		p.due += skipped * p.period
		missed = uint64(skipped)
	}
	return missed
}

// task is what the loop may do next: read a plan, or, where plan is nil, look whether a dead unit lives.
type task struct {
	unit *unit
	plan *plan
}

// plan gives every plan its grid. Devices are spread evenly over their periods, in their order, so that the line's load
// is even and the same after each start. Their first reads come early, so that the platform soon knows where things
// stand; slow groups after the others.
func (l *Loop) plan(now time.Duration) {
	var polled int
	for _, u := range l.units {
		if u.polled {
			polled++
		}
	}
	i := 0
	for _, u := range l.units {
		u.since = now
		if !u.polled {
			continue
		}
		part := float64(i) / float64(polled)
		for _, p := range u.plans {
			spread := time.Duration(part * float64(min(p.period, burst)))
			p.anchor = now + time.Duration(part*float64(p.period))
			p.due = now + spread
			if p.group.Name == field.SlowGroup {
				p.anchor += time.Duration(float64(p.period) / float64(2*polled))
				p.due += burst
			}
		}
		i++
	}
}

// next finds the task with the earliest deadline among those that are due, or, when none is, the one that is due first.
// A line that is down has one task, whatever is due: to be tried again, with each unit in turn. A line with nothing to
// poll is never due.
func (l *Loop) next(now time.Duration) (best task, due time.Duration) {
	const never = time.Duration(math.MaxInt64)
	deadline, due := never, never
	consider := func(t task, d, end time.Duration) {
		switch {
		case l.down: // due or not; of dead units only where there are no others
			d = l.retry
			if end < deadline {
				best, due, deadline = t, d, end
			}
		case d <= now && (due > now || end < deadline), d > now && d < due && due > now:
			best, due, deadline = t, d, end
		}
	}
	var dead *unit // the one whose turn it is
	for _, u := range l.units {
		switch {
		case !u.polled:
		case u.offline:
			if dead == nil || u.probe < dead.probe {
				dead = u
			}
		default:
			for _, p := range u.plans {
				if p.heard {
					continue
				}
				end := p.due + p.period
				if u.silent > 0 {
					end += suspicion * p.period
				}
				if l.down {
					end = u.broke
				}
				consider(task{u, p}, p.due, end)
			}
		}
	}
	if dead != nil {
		at := dead.probe
		if l.alive() {
			at = max(at, l.respite)
		}
		end := at + maxBackoff
		if l.down {
			end += never / 2
		}
		consider(task{unit: dead}, at, end)
	}
	return best, due
}

// alive says whether the line has a polled unit that answers, for whose sake dead ones must hold back.
func (l *Loop) alive() bool {
	for _, u := range l.units {
		if u.polled && !u.offline {
			return true
		}
	}
	return false
}

// rest makes silent units leave the line to the others, after a try that cost so much and was not answered. Two rules:
// together they get at most 10 % of the line's time; and of the periods of any living unit, at most one in 30 may be
// stretched by more than a tenth of it. The second one counts where a timeout is long against the periods: ten units
// that are read each second and a timeout of one second make every single probe felt by all. The respite varies a
// little, so that it isn't always the same unit that feels it.
func (l *Loop) rest(now, cost time.Duration) {
	l.vain++
	respite := share * cost
	for _, u := range l.units {
		if u.polled && !u.offline {
			stretch := min(u.Every, cost-u.Every/tolerated)
			respite = max(respite, disturbed*stretch)
		}
	}
	const golden = 0.6180339887498949 // its multiples are spread most evenly modulo one
	_, vary := math.Modf(float64(l.vain) * golden)
	l.respite = now + respite + time.Duration(vary*float64(respite)/5)
}
