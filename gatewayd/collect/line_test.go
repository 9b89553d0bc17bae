package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// TestALineThatIsDownIsNoDevicesFault: one event, every tag offline once, a try each second, and all is read when it is
// back.
func TestALineThatIsDownIsNoDevicesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var all []*station
		down := fmt.Errorf("%w: /dev/ttyS1 is not there", field.ErrLine)
		for i := range 3 {
			_, s := r.device(fmt.Sprint("unit-", i), 10*time.Second)
			s.timeout = time.Millisecond
			all = append(all, s)
		}
		fail := func(err error) {
			for _, s := range all {
				s.set(err)
			}
		}
		r.run()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		r.taken(field.Readings)

		fail(down)
		time.Sleep(time.Minute)
		synctest.Wait()
		stats := r.loop.Stats()
		if stats.Up || stats.Trouble != down.Error() || stats.Devices[1].State != LineDown || stats.Devices[1].Timeouts != 0 {
			t.Errorf("stats %+v", stats)
		}
		var polls uint64
		for _, d := range stats.Devices {
			polls += d.Polls
		}
		if polls < 50 || polls > 75 {
			t.Errorf("%d polls, want about one a second in that minute", polls)
		}
		r.mu.Lock()
		records := slices.Clone(r.records)
		r.mu.Unlock()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"line_down rs485-1"}) {
			t.Errorf("events %q", got)
		}
		told := slices.DeleteFunc(records, func(rec field.Record) bool { return rec.Event != nil })
		if len(told) != 3 || words(told[0]) != "level:offline" {
			t.Errorf("%d records, want one of each device: %v", len(told), told)
		}

		fail(nil)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"line_up rs485-1"}) {
			t.Errorf("events %q", got)
		}
		for _, d := range r.loop.Stats().Devices {
			if d.State != Good {
				t.Errorf("%s is %s when the line is back", d.Name, d.State)
			}
		}
	})
}

// TestPeerThatHangsUpOverOneUnit: a gateway that closes the connection instead of saying that a unit is not there must
// not take the other units along.
func TestPeerThatHangsUpOverOneUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, absent := r.device("absent", time.Second)
		absent.timeout = time.Millisecond
		absent.set(fmt.Errorf("%w: 192.0.2.20:502: hung up by the other end", field.ErrLine))
		for i := range 3 {
			r.device(fmt.Sprint("unit-", i), 5*time.Second)
		}
		r.run()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		r.taken(field.Readings)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		stats := r.loop.Stats()
		if !stats.Up || stats.Devices[0].State != Offline {
			t.Errorf("the line is up: %v; the absent device is %s", stats.Up, stats.Devices[0].State)
		}
		r.mu.Lock()
		records := slices.Clone(r.records)
		r.mu.Unlock()
		if got := happened(r.taken(field.Events)); len(got) > 0 {
			t.Errorf("events %q", got)
		}
		good := 0
		for _, rec := range records {
			if rec.Event == nil && rec.Group.Device != "absent" && rec.Quality == nil {
				good++
			}
		}
		if good < 3*120-3 {
			t.Errorf("%d good records of the others, want one each 5 s", good)
		}
		absent.set(nil)
		time.Sleep(2 * maxBackoff)
		synctest.Wait()
		if s := r.loop.Stats().Devices[0].State; s != Good {
			t.Errorf("the absent one came, and is %s", s)
		}
	})
}

// flaky fails a read once with a line error, as a peer does that closed an idle connection.
type flaky struct {
	*station
	fails int
}

func (f *flaky) Read(ctx context.Context, group string) (field.Record, error) {
	if f.fails > 0 {
		f.fails--
		return field.Record{}, field.ErrLine
	}
	return f.station.Read(ctx, group)
}

func TestAConnectionThatOpensAgainAtOnceWasNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("unit", time.Second)
		d.Station = &flaky{s, 1}
		r.run()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if got := r.taken(field.Events); len(got) != 0 {
			t.Errorf("events %q", happened(got))
		}
		if len(s.reads()) != 1 {
			t.Error("it was not read")
		}
	})
}

// TestDevicesThatSpeakUnasked: what is heard goes out, silence is noticed, a listener that fails is called again.
func TestDevicesThatSpeakUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("tag", 0)
		d.SilentAfter = time.Minute
		speak, fail := make(chan field.Record), make(chan error)
		r.options.Listen = func(ctx context.Context, emit func(field.Record)) error {
			for {
				select {
				case rec := <-speak:
					emit(rec)
				case err := <-fail:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		r.run()
		say := func(n int64) { speak <- field.Record{Group: s.groups[0], Values: []field.Value{field.Int(n)}} }
		stranger := &field.Group{Device: "stranger", Name: field.MainGroup}
		say(1)
		speak <- field.Record{Group: stranger}
		time.Sleep(50 * time.Second)
		say(2)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if got := r.taken(field.Readings); len(got) != 2 || words(got[1]) != "level=2" {
			t.Errorf("heard %v", got)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"device_offline tag"}) {
			t.Errorf("events %q", got)
		}
		say(3)
		fail <- errors.New("the adapter was pulled out")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"device_online tag", "line_down rs485-1"}) {
			t.Errorf("events %q", got)
		}
		say(4) // which needs a listener that was called again
		synctest.Wait()
		if got := happened(r.taken(field.Events)); !slices.Equal(got, []string{"line_up rs485-1"}) {
			t.Errorf("events %q", got)
		}
		if s := r.loop.Stats().Devices[0]; s.State != Good || len(r.loop.Last("tag")) != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestWatchersSeeEverythingAndHoldNothingUp: unchanged values and event tags too; one who does not read loses.
func TestWatchersSeeEverythingAndHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("pump", time.Second, "level", "running!")
		d.OnlyChanges = map[string]Deadband{"": {}}
		s.put("level", field.Int(1), field.Good)
		s.put("running", field.Bool(true), field.Good)
		r.run()
		ctx, cancel := context.WithCancel(t.Context())
		watching := r.loop.Watch(ctx)
		idle := r.loop.Watch(t.Context())
		for i := range 500 {
			rec := <-watching
			if rec.Event != nil {
				rec = <-watching
			}
			if words(rec) != "level=1 running=true" {
				t.Fatalf("record %d: %q", i, words(rec))
			}
		}
		cancel()
		synctest.Wait()
		if _, open := <-watching; open {
			t.Error("the channel is open after its context ended")
		}
		if n := r.loop.Stats().Unwatched; n < 500-backlog-2 || n > 500-backlog+2 {
			t.Errorf("%d dropped, want what did not fit", n)
		}
		r.halt()
		for range backlog {
			<-idle
		}
		if _, open := <-idle; open {
			t.Error("the channel is open after the loop ended")
		}
		if _, open := <-r.loop.Watch(t.Context()); open {
			t.Error("a loop that ended is watched")
		}
	})
}
