package collect

import (
	"errors"
	"math"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// State is how a device is.
type State uint8

// The states of a device.
const (
	Starting State = iota // nothing was read yet
	Good                  // every tag has a value
	Partly                // some tags have none; all of them after a first missed answer
	Offline               // taken for dead, and looked at now and then
	LineDown              // its line is down
)

var stateNames = [...]string{"starting", "good", "partly", "offline", "line down"}

// String is the state as status prints it.
func (s State) String() string { return stateNames[s] }

// Stats is how a line is. Counters count from New.
type Stats struct {
	Line      string
	Up        bool    // false from the first request that found no line to the next that did
	Trouble   string  // why it is not up, in the installer's words
	Occupancy float64 // share of the last minute in which somebody was asked, 0 … 1
	Commands  uint64
	Vain      time.Duration // spent waiting for units that did not answer
	Refused   uint64        // records that the sink did not take: lost
	Unwatched uint64        // records that one who watches was too slow for
	Devices   []DeviceStats // in the order of Options.Devices
}

// DeviceStats is how one device is, keyed by line and name or address.
type DeviceStats struct {
	Line, Name, Address string
	State               State
	LastAnswer          field.Stamp   // the zero Stamp for never
	Good, Bad           int           // tags with a value, and without
	Polls               uint64        // reads and probes
	Failures            uint64        // those that nothing came of: Timeouts, and the line's faults
	Timeouts            uint64        // those that the device did not answer
	Occupancy           float64       // share of the last minute in which this device was asked, 0 … 1
	Wire                field.Counts  // what its station tells of the wire; zero when it tells nothing
	Silent              int           // tries in a row, up to now, that it did not answer
	Missed              uint64        // points of the grid that passed with no read while the device was there
	Period              time.Duration // of the main group, as configured
	Mean, P95           time.Duration // between two good reads of the main group, over the last 128; 0 before the second
}

// Last is the last record of one group of a device, as it was read (or not: its qualities say), event tags included.
type Last struct {
	Record field.Record
	Age    time.Duration
}

// lineBook is what Stats tells of the line; unitLedger, of one unit. Both are guarded by Loop.mu.
type lineBook struct {
	down     bool
	trouble  string
	busy     minute
	until    time.Duration // up to here the line's time is counted
	vain     time.Duration
	commands uint64
	refused  uint64
	refusal  string // the sink's last, as logged
}

type unitLedger struct {
	offline                           bool
	polls, failures, timeouts, missed uint64
	silent                            int
	answered                          field.Stamp
	busy                              minute
	intervals                         [128]uint32 // ms, between good reads of the main group
	taken                             int         // how many ever were
}

// Stats tells how the line is. It is safe from any goroutine.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.book
	s := Stats{
		Line: l.o.Line, Up: !b.down, Trouble: b.trouble, Occupancy: b.busy.share(l.now()), Commands: b.commands,
		Vain: b.vain, Refused: b.refused, Unwatched: l.watchers.dropped.Load(), Devices: make([]DeviceStats, len(l.units)),
	}
	for i, u := range l.units {
		s.Devices[i] = l.deviceStats(u)
	}
	return s
}

func (l *Loop) deviceStats(u *unit) DeviceStats {
	g := &u.ledger
	d := DeviceStats{
		Line: l.o.Line, Name: u.Name, Address: u.Address, LastAnswer: g.answered, Polls: g.polls, Failures: g.failures,
		Timeouts: g.timeouts, Silent: g.silent, Missed: g.missed, Period: u.Every, Occupancy: g.busy.share(l.now()),
	}
	if c, ok := u.Station.(field.Counter); ok {
		d.Wire = c.Counts()
	}
	d.Mean, d.P95 = g.spread()
	for _, p := range u.plans {
		if p.last.Group == nil {
			continue
		}
		for i := range p.last.Values {
			switch p.last.QualityOf(i) {
			case field.Good:
				d.Good++
			case field.Absent: // the device does not have it, or says it at another time
			default:
				d.Bad++
			}
		}
	}
	switch {
	case l.book.down:
		d.State = LineDown
	case g.offline:
		d.State = Offline
	case d.Good+d.Bad == 0:
		d.State = Starting
	case d.Bad == 0:
		d.State = Good
	default:
		d.State = Partly
	}
	return d
}

// Last gives the last record of each group of a device, or of every device where the name is "".
func (l *Loop) Last(device string) []Last {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Last
	now := l.now()
	for _, u := range l.units {
		for _, p := range u.plans {
			if p.last.Group != nil && (device == "" || device == u.Name) {
				all = append(all, Last{p.last, now - p.lastAt})
			}
		}
	}
	return all
}

// tally books a try, or a record that was heard.
func (l *Loop) tally(u *unit, now, cost time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &u.ledger
	g.busy.add(now, l.occupy(now, cost))
	g.polls++
	if err != nil {
		g.failures++
	}
	if err != nil && !errors.Is(err, field.ErrLine) {
		g.timeouts++
		l.book.vain += cost
	}
}

// occupy counts what ended now as the line's time, with the silence that must follow it, and gives what it counted. A
// silence into which the next request already falls counts once.
func (l *Loop) occupy(now, cost time.Duration) time.Duration {
	end := now + l.o.Silence
	counted := end - max(now-cost, l.book.until)
	l.book.until = end
	l.book.busy.add(now, counted)
	return counted
}

// step moves a plan that was read to its next period, and books what that says of the schedule.
func (l *Loop) step(p *plan, now time.Duration, good bool) {
	missed := p.advance(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &p.unit.ledger
	g.missed += missed
	if !good {
		return
	}
	if p.completed > 0 && p.group.Name != field.SlowGroup {
		g.intervals[g.taken%len(g.intervals)] = uint32(min((now-p.completed)/time.Millisecond, math.MaxUint32))
		g.taken++
	}
	p.completed = now
}

// enter keeps a record as the last of its plan.
func (l *Loop) enter(p *plan, r field.Record, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !p.asked { // one that speaks by itself speaks of some of its tags at a time
		r = under(r, p.last)
	}
	p.last, p.lastAt = r, now
}

// spread is the mean and the 95th percentile of the intervals that are kept.
func (g *unitLedger) spread() (mean, p95 time.Duration) {
	n := min(g.taken, len(g.intervals))
	if n == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(g.intervals[:n]))
	var sum uint64
	for _, ms := range sorted {
		sum += uint64(ms)
	}
	ms := time.Millisecond
	return time.Duration(sum) * ms / time.Duration(n), time.Duration(sorted[(n*95+99)/100-1]) * ms
}

// minute counts busy time over about the last minute, in steps so short that it makes little difference when in one of
// them somebody is asked, time and again.
type minute struct {
	steps [60]time.Duration
	last  int64 // the number of the newest step
}

const stepOf = time.Second

func (m *minute) turn(now time.Duration) {
	step := int64(now / stepOf)
	for ; m.last < step; m.last++ {
		if step-m.last > int64(len(m.steps)) {
			m.last = step - int64(len(m.steps))
		}
		m.steps[(m.last+1)%int64(len(m.steps))] = 0
	}
}

func (m *minute) add(now, busy time.Duration) {
	m.turn(now)
	m.steps[m.last%int64(len(m.steps))] += busy
}

// share is the part of the time that was busy: of the minute, or of what has passed of the first one.
func (m *minute) share(now time.Duration) float64 {
	m.turn(now)
	var busy time.Duration
	for _, b := range m.steps {
		busy += b
	}
	span := min(now, time.Duration(len(m.steps)-1)*stepOf+now%stepOf)
	if span <= 0 {
		return 0
	}
	return min(1, float64(busy)/float64(span))
}
