package collect

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

func TestAdvanceKeepsTheGrid(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name             string
		anchor, due, now time.Duration
		want             time.Duration
		missed           uint64
	}{
		{"on the grid", 0, 10 * s, 10*s + 20*time.Millisecond, 20 * s, 0},
		{"late, but within the period", 0, 10 * s, 19 * s, 20 * s, 0},
		{"late by less than two periods: due at once", 0, 10 * s, 25 * s, 20 * s, 0},
		{"late by more: what passed is counted", 0, 10 * s, 57 * s, 50 * s, 3},
		{"first read well before the anchor", 9 * s, s, s, 9 * s, 0},
		{"first read close before the anchor", 2 * s, s, s, 12 * s, 0},
		{"unplanned read in mid-period", 0, 14 * s, 14 * s, 20 * s, 0},
		{"unplanned read at the end of the period", 0, 19 * s, 19 * s, 30 * s, 0},
		{"anchor far ahead", 100 * s, s, s, 10 * s, 0},
	} {
		p := plan{period: 10 * s, anchor: c.anchor, due: c.due}
		if missed := p.advance(c.now); p.due != c.want || missed != c.missed {
			t.Errorf("%s: due %s, missed %d; want %s, %d", c.name, p.due, missed, c.want, c.missed)
		}
	}
}

// TestReadsKeepTheirGridWhateverTheWallClockDoes: early first reads, then even phases, without drift.
func TestReadsKeepTheirGridWhateverTheWallClockDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var stations []*station
		for i := range 5 {
			_, s := r.device(fmt.Sprint("unit-", i), 10*time.Second)
			stations = append(stations, s)
		}
		r.run()
		for i := range 100 {
			time.Sleep(10 * time.Second)
			r.mu.Lock()
			r.skew = time.Duration(i%7-3) * time.Hour
			r.mu.Unlock()
		}
		synctest.Wait()
		for i, s := range stations {
			reads := s.reads()
			if reads[0] > burst {
				t.Errorf("unit %d was first read after %s", i, reads[0])
			}
			phase := time.Duration(i) * 2 * time.Second
			for n, at := range reads[1:] {
				if at%(10*time.Second) != phase {
					t.Fatalf("unit %d: read %d at %s, want the phase %s", i, n+1, at, phase)
				}
				if i > 0 && n > 0 && at-reads[n] != 10*time.Second {
					t.Fatalf("unit %d: %s between two reads", i, at-reads[n])
				}
			}
			if n := len(reads); n < 100 || n > 101 {
				t.Errorf("unit %d: %d reads in 1000 s", i, n)
			}
		}
		if d := r.loop.Stats().Devices[3]; d.Missed != 0 || d.P95 != 10*time.Second || d.Mean.Round(100*time.Millisecond) != 10*time.Second {
			t.Errorf("stats %+v", d)
		}
	})
}

// TestEarliestDeadlineFirst: of what is due, what must be done first is done first; a unit that did not answer ranks
// behind.
func TestEarliestDeadlineFirst(t *testing.T) {
	const s = time.Second
	r := newRig(t)
	for i, every := range []time.Duration{60 * s, s, 5 * s} {
		r.device(fmt.Sprint("unit-", i), every)
	}
	l := New(r.options)
	set := func(due ...time.Duration) {
		for i, d := range due {
			l.units[i].plans[0].due = d
		}
	}
	expect := func(what string, now time.Duration, unit int, due time.Duration) {
		t.Helper()
		got, at := l.next(now)
		if got.unit != l.units[unit] || at != due {
			t.Errorf("%s: got %s due %s, want unit-%d due %s", what, got.unit.Name, at, unit, due)
		}
	}
	set(0, 9*s, 6*s)
	expect("the shortest deadline", 10*s, 1, 9*s)
	expect("what is not due does not count", 8*s, 2, 6*s)
	set(20*s, 15*s, 16*s)
	expect("nothing is due: the first that will be", 10*s, 1, 15*s)
	set(0, 9*s, 9500*time.Millisecond)
	l.units[1].silent = 1
	expect("a unit that did not answer stands behind", 10*s, 2, 9500*time.Millisecond)
	set(0, 40*s, 39*s)
	expect("but before what has much time", 50*s, 2, 39*s)
	set(0, 30*s, 45*s)
	expect("and not for ever", 46*s, 1, 30*s)
	l.units[1].offline, l.units[1].probe = true, 40*s
	set(55*s, 0, 45*s)
	expect("a probe waits for the living", 50*s, 2, 45*s)
	set(55*s, 0, 51*s)
	expect("and has its turn when the line is free", 50*s, 1, 40*s)
	l.respite = 70 * s
	expect("unless the line rests from such", 50*s, 2, 51*s)
	l.down, l.retry = true, 52*s
	expect("a line that is down is tried with a live unit", 50*s, 0, 52*s)
	l.units[0].broke = 50 * s
	expect("and then with another one", 51*s, 2, 52*s)
}

// TestAnOverloadedLineStarvesNoOne: each device gets its share, and what was missed is counted.
func TestAnOverloadedLineStarvesNoOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 5 {
			r.device(fmt.Sprint("fast-", i), 50*time.Millisecond) // 200 % of the line's time
		}
		_, slow := r.device("slow", 10*time.Second)
		r.run()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		stats := r.loop.Stats()
		for _, d := range stats.Devices[:5] {
			if d.Polls < 2500 || d.Polls > 3500 || d.Missed < 2500 {
				t.Errorf("%s: %d polls, %d missed, want about 3000 each", d.Name, d.Polls, d.Missed)
			}
		}
		if n := len(slow.reads()); n < 30 {
			t.Errorf("the slow device was read %d times, want 30", n)
		}
		if stats.Occupancy < 0.95 {
			t.Errorf("occupancy %.2f, want 1", stats.Occupancy)
		}
	})
}

// TestFirstRecordComesAtOnce: also on a line with a slow group that takes seconds.
func TestFirstRecordComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 8 {
			d, s := r.device(fmt.Sprint("unit-", i), time.Minute)
			d.Slow = time.Hour
			s.groups = append(s.groups, &field.Group{Device: d.Name, Name: field.SlowGroup})
		}
		r.run()
		time.Sleep(burst)
		synctest.Wait()
		for _, rec := range r.taken(field.Readings) {
			if rec.Group.Name != field.MainGroup {
				t.Errorf("%s was read before every main group was", rec.Group.Name)
			}
		}
		for _, d := range r.loop.Stats().Devices {
			if d.State != Good {
				t.Errorf("%s is %s after %s", d.Name, d.State, burst)
			}
		}
	})
}

func TestProgressAlsoShowsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.device("rare", time.Hour)
		r.run()
		time.Sleep(10 * time.Second)
		before := r.loop.Progress()
		time.Sleep(10 * time.Second)
		if n := r.loop.Progress() - before; n < 9 || n > 12 {
			t.Errorf("progress by %d in 10 s, want about one a second", n)
		}
	})
}
