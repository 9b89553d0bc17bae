package collect

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// goodMoments are the moments, by the time since boot, of a device's records with a value.
func goodMoments(records []field.Record, device string) []time.Duration {
	var out []time.Duration
	for _, r := range of(records, device) {
		if r.QualityOf(0) == field.Good {
			out = append(out, time.Duration(r.At.Mono)*time.Millisecond)
		}
	}
	return out
}

// TestDeadUnitsLeaveTheLineToTheLiving: 3 of 10 units behind one serial server are dead, each request to them takes a
// second. The live ones keep their intervals, from the cold start on.
func TestDeadUnitsLeaveTheLineToTheLiving(t *testing.T) {
	for _, every := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second} {
		for _, span := range []time.Duration{2 * time.Minute, 10 * time.Minute} {
			t.Run(fmt.Sprintf("every %s for %s", every, span), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					dead := map[string]*station{}
					for i := range 10 {
						name := fmt.Sprintf("unit-%d", i)
						_, s := r.device(name, every)
						if i == 2 || i == 5 || i == 6 {
							s.set(field.ErrSilent)
							dead[name] = s
						}
					}
					r.run()
					time.Sleep(span)
					synctest.Wait()
					stats := r.loop.Stats()
					records := r.taken(field.Readings)
					for _, d := range stats.Devices {
						if s := dead[d.Name]; s != nil {
							if d.State != Offline {
								t.Errorf("%s is %s, want offline", d.Name, d.State)
							}
							if n := len(s.reads()); n < int(span/(2*time.Minute)) {
								t.Errorf("%s was looked at %d times only", d.Name, n)
							}
							continue
						}
						moments := goodMoments(records, d.Name)
						if got, most := p95(moments), every+every/5; got > most {
							t.Errorf("%s: 95th percentile of the interval %s, want at most %s", d.Name, got, most)
						}
						if d.State != Good || d.Bad != 0 {
							t.Errorf("%s is %s", d.Name, d.State)
						}
					}
					// The first tries are not counted: that a unit is dead must be found out.
					if share := (stats.Vain - 3*time.Second).Seconds() / span.Seconds(); share > 0.1 {
						t.Errorf("dead units took %.1f %% of the line's time, want at most 10 %%", 100*share)
					}
				})
			})
		}
	}
}

// TestUnitsDieAndComeBack: what a unit that answered before says when it falls silent, and how soon it is back.
func TestUnitsDieAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.device("alive", time.Second)
		_, s := r.device("mortal", time.Second, "level", "flow")
		s.timeout = 100 * time.Millisecond
		r.run()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.taken(field.Readings)

		s.set(field.ErrSilent)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.mu.Lock()
		all := slices.Clone(r.records)
		r.mu.Unlock()
		var told, events []string
		for _, rec := range all {
			if rec.Event != nil {
				events = append(events, rec.Event.Kind+" "+rec.Event.Subject)
			} else if rec.Group.Device == "mortal" {
				told = append(told, words(rec))
			}
		}
		want := []string{"level:timeout flow:timeout", "level:timeout flow:timeout", "level:offline flow:offline"}
		if !slices.Equal(told, want) {
			t.Errorf("a unit that fell silent told %q, want %q", told, want)
		}
		if !slices.Equal(events, []string{"device_offline mortal"}) {
			t.Errorf("events %q", events)
		}
		if d := r.loop.Stats().Devices[1]; d.State != Offline || d.Silent < 3 || d.Bad != 2 {
			t.Errorf("stats %+v", d)
		}
		r.taken(field.Readings)

		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if got := of(r.taken(field.Readings), "mortal"); len(got) != 1 || words(got[0]) != want[2] {
			t.Errorf("in 15 minutes away it told %d records, want its heartbeat alone", len(got))
		}

		s.set(nil)
		began := r.since()
		time.Sleep(maxBackoff + 2*time.Second)
		synctest.Wait()
		events = happened(r.taken(field.Events))
		if !slices.Equal(events, []string{"device_online mortal"}) {
			t.Errorf("events %q", events)
		}
		reads := s.reads()
		first := slices.IndexFunc(reads, func(at time.Duration) bool { return at >= began })
		if first < 0 || reads[first]-began > maxBackoff {
			t.Fatalf("it was not looked at within %s", maxBackoff)
		}
		if d := r.loop.Stats().Devices[1]; d.State != Good || d.Silent != 0 {
			t.Errorf("stats %+v", d)
		}
	})
}

// TestProbesBackOff: a dead unit alone on its line is probed after its period, twice that, and so on up to a minute.
func TestProbesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("dead", 2*time.Second)
		s.set(field.ErrAbsent)
		s.timeout = 0
		p := &prober{station: s}
		d.Station = p
		r.run()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(s.reads()); n != 1 {
			t.Errorf("%d reads, want the first alone: the rest are probes", n)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		want := []time.Duration{2, 6, 14, 30, 62, 122, 182, 242}
		for i, at := range p.probes {
			if at != want[i]*time.Second {
				t.Errorf("probe %d at %s, want %ds", i, at, want[i])
			}
		}
		if len(p.probes) != len(want) {
			t.Errorf("%d probes, want %d", len(p.probes), len(want))
		}
	})
}

// TestEveryGroupIsDueWhenAUnitIsBack: nobody waits a quarter of an hour for the slow group.
func TestEveryGroupIsDueWhenAUnitIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("meter", time.Second)
		d.Slow = 15 * time.Minute
		s.groups = append(s.groups, &field.Group{Device: "meter", Name: field.SlowGroup, Points: []field.Point{{Name: "a"}, {Name: "b"}}})
		s.set(field.ErrSilent)
		r.run()
		time.Sleep(10 * time.Second)
		s.set(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		slow := slices.IndexFunc(r.taken(field.Readings), func(rec field.Record) bool {
			return rec.Group.Name == field.SlowGroup && rec.QualityOf(0) == field.Good
		})
		if slow < 0 {
			t.Error("the slow group was not read when the device came back")
		}
	})
}

// TestDeadUnitsAreLookedAtOnABusyLine: a line with no time to spare still finds out that a unit is back.
func TestDeadUnitsAreLookedAtOnABusyLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 4 {
			r.device(fmt.Sprint("unit-", i), 50*time.Millisecond) // 160 % of the line's time
		}
		_, s := r.device("dead", time.Second)
		s.timeout = 100 * time.Millisecond
		s.set(field.ErrSilent)
		r.run()
		time.Sleep(time.Minute)
		s.set(nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if d := r.loop.Stats().Devices[4]; d.State != Good {
			t.Errorf("a unit that is back is %s after 5 minutes", d.State)
		}
	})
}
