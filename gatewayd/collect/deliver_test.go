package collect

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

func TestMoved(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to field.Value
		band     Deadband
		want     bool
	}{
		{"the same", field.Int(5), field.Int(5), Deadband{}, false},
		{"any change", field.Float64(5), field.Float64(5.0001), Deadband{}, true},
		{"inside an absolute band", field.Float64(5), field.Float64(5.4), Deadband{Absolute: 0.5}, false},
		{"at its edge", field.Float64(5), field.Float64(5.5), Deadband{Absolute: 0.5}, true},
		{"outside, downwards", field.Int(5), field.Int(-5), Deadband{Absolute: 0.5}, true},
		{"inside a percent band", field.Float32(200), field.Float32(203), Deadband{Percent: 2}, false},
		{"outside a percent band", field.Float32(200), field.Float32(205), Deadband{Percent: 2}, true},
		{"of a negative value", field.Float32(-200), field.Float32(-203), Deadband{Percent: 2}, false},
		{"percent of nothing", field.Int(0), field.Int(1), Deadband{Percent: 2}, true},
		{"a switch", field.Bool(false), field.Bool(true), Deadband{Absolute: 5}, true},
		{"a word", field.Text("idle"), field.Text("busy"), Deadband{Absolute: 5}, true},
		{"from nothing", field.Value{}, field.Int(1), Deadband{Absolute: 5}, true},
		{"to nothing", field.Int(1), field.Value{}, Deadband{Absolute: 5}, true},
		{"a large integer by one", field.Uint(1<<63 + 1), field.Uint(1 << 63), Deadband{}, true},
	} {
		if got := moved(c.from, c.to, c.band); got != c.want {
			t.Errorf("%s: %s → %s: %v", c.name, c.from, c.to, got)
		}
	}
}

// TestOnlyChanges: what has not moved is left out, with a heartbeat; a drift is told when it adds up; quality always.
func TestOnlyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("pump", time.Second, "level", "setpoint", "flow")
		d.OnlyChanges = map[string]Deadband{"level": {Percent: 2}, "setpoint": {}}
		d.OnlyChanges["flow"] = Deadband{Absolute: 1}
		d.Heartbeat = 10 * time.Second
		put := func(level, setpoint, flow float64) {
			s.put("level", field.Float64(level), field.Good)
			s.put("setpoint", field.Float64(setpoint), field.Good)
			s.put("flow", field.Float64(flow), field.Good)
		}
		put(100, 5, 7)
		r.run()
		var got []string
		pause := 500 * time.Millisecond
		period := func() {
			time.Sleep(pause)
			pause = time.Second
			synctest.Wait()
			said := []string{}
			for _, rec := range r.taken(field.Readings) {
				said = append(said, words(rec))
			}
			got = append(got, strings.Join(said, "; "))
		}
		period()
		period() // nothing moved
		put(101, 5, 7.9)
		period()
		put(102, 5, 7.5) // drifts add up against what was told
		period()
		put(103.9, 6, 7)
		period()
		s.put("flow", field.Value{}, field.Exception)
		period()
		period() // the same bad quality
		s.put("flow", field.Float64(7), field.Good)
		period()
		for range 10 {
			period()
		}
		want := []string{
			"level=100 setpoint=5 flow=7", "", "", "level=102", "setpoint=6", "flow:exception", "", "flow=7", "",
			"", "", "", "", "level=103.9", "setpoint=6", "", "", "flow=7",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if last := r.loop.Last("pump"); len(last) != 1 || words(last[0].Record) != "level=103.9 setpoint=6 flow=7" || last[0].Age > time.Second {
			t.Errorf("last %v", last)
		}
	})
}

// TestATagWithoutARuleIsAlwaysSent: only_changes for one tag leaves the others alone.
func TestATagWithoutARuleIsAlwaysSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("pump", time.Second, "level", "flow")
		d.OnlyChanges = map[string]Deadband{"level": {}}
		s.put("level", field.Int(1), field.Good)
		s.put("flow", field.Int(2), field.Good)
		r.run()
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		got := r.taken(field.Readings)
		if len(got) != 3 || words(got[0]) != "level=1 flow=2" || words(got[2]) != "flow=2" || got[2].Readings() != 1 {
			t.Errorf("got %v", got)
		}
		if !got[2].Values[0].IsNull() {
			t.Error("an absent point carries a value")
		}
	})
}

// members prints an event's members: "value=true was=false".
func members(e *field.Event) string {
	var out []string
	for _, m := range e.More {
		out = append(out, m.Name+"="+m.Value.String())
	}
	return strings.Join(out, " ")
}

// TestEventTags: each change is an event, and none of it is in the readings.
func TestEventTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, s := r.device("pump", time.Second, "running!", "level", "fault!")
		s.timeout = 10 * time.Millisecond
		s.put("level", field.Int(3), field.Good)
		s.put("running", field.Bool(false), field.Good)
		s.put("fault", field.Value{}, field.Exception)
		r.run()
		if g := r.loop.Groups(); len(g) != 1 || len(g[0].Points) != 1 || g[0].Points[0].Name != "level" {
			t.Errorf("the readings' shape is %v", g)
		}
		time.Sleep(500 * time.Millisecond)
		var events []string
		period := func() {
			synctest.Wait()
			r.mu.Lock()
			for _, rec := range r.records {
				if rec.Event != nil {
					events = append(events, rec.Event.Kind+" "+rec.Event.Subject+" "+members(rec.Event))
				} else if w := words(rec); w != "level=3" && w != "level:timeout" && w != "level:offline" {
					t.Errorf("reading %q", w)
				}
			}
			r.records = nil
			r.mu.Unlock()
			time.Sleep(time.Second)
		}
		period()
		period()
		s.put("running", field.Bool(true), field.Good)
		s.put("fault", field.Bool(true), field.Good)
		period()
		s.put("running", field.Value{}, field.Invalid)
		period()
		s.put("running", field.Bool(true), field.Good)
		period()
		s.set(field.ErrSilent)
		for range 4 {
			period()
		}
		want := []string{
			"change pump/running value=false",
			"change pump/running value=true was=false",
			"change pump/fault value=true",
			"change pump/running value=null was=true q=invalid",
			"change pump/running value=true was=null",
			"change pump/running value=null was=true q=timeout",
			"change pump/fault value=null was=true q=timeout",
			"device_offline pump ",
		}
		if !slices.Equal(events, want) {
			t.Errorf("got  %q\nwant %q", events, want)
		}
	})
}

// TestADeviceOfEventTagsAloneSendsNoReadings.
func TestADeviceOfEventTagsAloneSendsNoReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.device("switch", time.Second, "on!")
		r.run()
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, rec := range r.records {
			if rec.Event == nil {
				t.Errorf("reading %v", rec)
			}
		}
		if len(r.records) != 4 || len(r.loop.Groups()) != 0 {
			t.Errorf("%d events, want 4", len(r.records))
		}
	})
}
