package collect

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// sensor is a station whose main group is heard, never read by the schedule, and whose slow group is read.
type sensor struct{ *station }

func (s sensor) Hears(group string) bool { return group == field.MainGroup }
func (s sensor) Hear(message []byte) (field.Record, error) {
	return field.Record{}, errors.ErrUnsupported
}

// air is a listener that a test speaks through.
type air struct {
	speak chan field.Record
	fail  chan error
}

func (a *air) listen(ctx context.Context, emit func(field.Record)) error {
	for {
		select {
		case r := <-a.speak:
			emit(r)
		case err := <-a.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// heardRig is a rig with one sensor on it: tags temperature, humidity and motion (an event), heard.
func heardRig(t *testing.T, every time.Duration) (r *rig, d *Device, s *station, a *air) {
	r = newRig(t)
	d, s = r.device("sensor", every, "temperature", "humidity", "motion!")
	d.Station = sensor{s}
	a = &air{speak: make(chan field.Record), fail: make(chan error)}
	r.options.Listen = a.listen
	return r, d, s, a
}

// say makes the sensor speak; a nil value is one that it does not speak of.
func (a *air) say(s *station, temperature, humidity, motion any) {
	r := field.Record{Group: s.groups[0], Values: make([]field.Value, 3), Quality: make([]field.Quality, 3)}
	for i, v := range []any{temperature, humidity, motion} {
		switch v := v.(type) {
		case int:
			r.Values[i] = field.Int(int64(v))
		case bool:
			r.Values[i] = field.Bool(v)
		default:
			r.Quality[i] = field.Absent
		}
	}
	a.speak <- r
}

// told lists the readings that went out, without forgetting anything.
func (r *rig) told() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if rec.Event == nil {
			out = append(out, words(rec))
		}
	}
	return out
}

// TestHeardGroupsAreToldOnceAPeriod: each tag for itself, events at once, and the schedule never reads them.
func TestHeardGroupsAreToldOnceAPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, s, a := heardRig(t, 10*time.Second)
		r.run()
		for i := range 60 { // temperature in even seconds, humidity in odd ones
			switch {
			case i%2 == 0:
				a.say(s, i, nil, i == 30)
			default:
				a.say(s, nil, i, nil)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		got := r.told()
		var events []string
		for _, rec := range r.taken(field.Events) {
			events = append(events, rec.Event.Kind+" "+rec.Event.More[0].Value.String())
		}
		want := []string{"temperature=0", "humidity=1", "temperature=10", "humidity=11", "temperature=20", "humidity=21",
			"temperature=30", "humidity=31", "temperature=40", "humidity=41", "temperature=50", "humidity=51"}
		if !slices.Equal(got, want) {
			t.Errorf("told %q\nwant %q", got, want)
		}
		if want := []string{"change false", "change true", "change false"}; !slices.Equal(events, want) {
			t.Errorf("events %q, want %q", events, want)
		}
		if n := len(s.reads()); n != 0 {
			t.Errorf("it was read %d times", n)
		}
		if last := r.loop.Last("sensor"); len(last) != 1 || words(last[0].Record) != "temperature=58 humidity=59 motion=false" {
			t.Errorf("the last that is known: %v", last)
		}
		if st := r.loop.Stats().Devices[0]; st.State != Good || st.Good != 3 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestOutOfRange: a sensor that is not heard is offline, nothing of it goes out with a new time, a sign of life is
// enough to keep it, and one that is back is told of at once.
func TestOutOfRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, s, a := heardRig(t, time.Minute)
		d.SilentAfter = 30 * time.Second
		r.run()
		a.say(s, 20, 50, nil)
		time.Sleep(20 * time.Second)
		a.say(s, nil, nil, nil) // a sign of life, and nothing to tell
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.taken(field.Readings); len(got) != 1 || words(got[0]) != "temperature=20 humidity=50" {
			t.Errorf("told %v", got)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.told(); !slices.Equal(got, []string{"temperature:offline humidity:offline"}) {
			t.Errorf("out of range: %q", got)
		}
		if st := r.loop.Stats().Devices[0]; st.State != Offline || st.Good != 0 {
			t.Errorf("stats %+v", st)
		}
		r.taken(field.Events)
		a.say(s, 21, nil, nil)
		synctest.Wait()
		if got := r.told(); !slices.Equal(got, []string{"temperature=21"}) {
			t.Errorf("back in range: %q", got)
		}
		if st := r.loop.Stats().Devices[0]; st.State != Partly || st.Good != 1 {
			t.Errorf("only the temperature is known again: %+v", st)
		}
	})
}

// TestListenerSaysThatTheLineWorks: a line that is quiet is up all the same, and silence counts from then on.
func TestListenerSaysThatTheLineWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d, s, a := heardRig(t, time.Minute)
		d.SilentAfter = 30 * time.Second
		r.run()
		a.say(s, 20, 50, nil)
		a.fail <- errors.New("bluetoothd went away")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"line_down rs485-1"}) {
			t.Errorf("events %q", got)
		}
		a.speak <- field.Record{}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"line_up rs485-1"}) || !r.loop.Stats().Up {
			t.Errorf("events %q, stats %+v", got, r.loop.Stats())
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"device_offline sensor"}) {
			t.Errorf("events %q", got)
		}
	})
}

// waiter is a station whose read waits for long, as a connection over the air does.
type waiter struct {
	*station
	done chan struct{}
}

func (w waiter) Read(ctx context.Context, _ string) (field.Record, error) {
	if err := field.Await(ctx, w.done); err != nil {
		return field.Record{}, err
	}
	return field.Record{Group: w.groups[0], Values: []field.Value{field.Int(7)}}, nil
}

// TestLongWaitsHoldNobodyUp: while a station waits, what is heard goes out, and the watchdog sees progress.
func TestLongWaitsHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, s, a := heardRig(t, time.Second)
		slow, ws := r.device("lock", time.Hour)
		w := waiter{ws, make(chan struct{})}
		slow.Station = w
		r.run()
		time.Sleep(time.Second)
		before := r.loop.Progress()
		for i := range 20 {
			a.say(s, i, i, nil)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := r.loop.Progress() - before; n < 20 {
			t.Errorf("%d turns in 20 s", n)
		}
		if got := of(r.taken(field.Readings), "sensor"); len(got) != 20 {
			t.Errorf("%d of 20 went out during the wait", len(got))
		}
		close(w.done)
		synctest.Wait()
		if got := of(r.taken(field.Readings), "lock"); len(got) != 1 || words(got[0]) != "level=7" {
			t.Errorf("the read that waited: %v", got)
		}
	})
}
