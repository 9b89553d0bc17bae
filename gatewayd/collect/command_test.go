package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// TestACommandWaitsForOneRequest: a read of thirty requests lets a command in after the one in progress.
func TestACommandWaitsForOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, long := r.device("meter", 2*time.Second)
		long.requests = 30
		_, pump := r.device("pump", time.Minute)
		r.run()
		time.Sleep(2*time.Second + 105*time.Millisecond) // in the sixth request of the second read
		began := time.Now()
		if err := r.loop.Write(t.Context(), "pump", "level", field.Int(7)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*pump.cost {
			t.Errorf("the write took %s, want at most one request in progress and its own, %s", took, 2*pump.cost)
		}
		if !slices.Equal(pump.written, []field.Value{field.Int(7)}) {
			t.Errorf("written %v", pump.written)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := r.loop.Stats(); d.Commands != 1 || d.Devices[0].Missed != 0 || d.Devices[0].State != Good {
			t.Errorf("stats %+v", d)
		}
	})
}

// TestCommandsDoNotStarveReads: any number of commands leave every second slot or so to the reads.
func TestCommandsDoNotStarveReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, s := r.device("pump", time.Second)
		r.run()
		ctx, cancel := context.WithCancel(t.Context())
		var eager sync.WaitGroup
		for range 20 {
			eager.Go(func() {
				for ctx.Err() == nil {
					r.loop.Write(ctx, "pump", "level", field.Int(1))
				}
			})
		}
		time.Sleep(time.Minute)
		cancel()
		eager.Wait()
		reads := s.reads()
		if n := len(reads); n < 60 {
			t.Errorf("%d reads in a minute, want 60", n)
		}
		if d := r.loop.Stats(); d.Devices[0].Missed > 0 || d.Devices[0].P95 > 1100*time.Millisecond || d.Commands < 2000 {
			t.Errorf("stats %+v", d)
		}
	})
}

func TestReadOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d, s := r.device("meter", time.Hour, "voltage", "current", "alarm!")
		s.groups = append(s.groups, &field.Group{Device: d.Name, Name: field.SlowGroup, Points: []field.Point{{Name: "energy"}}})
		s.put("current", field.Int(5), field.Good)
		r.run()
		time.Sleep(time.Second)
		synctest.Wait()
		r.taken(field.Readings)

		got, err := r.loop.Read(t.Context(), "meter", "current")
		if err != nil || len(got) != 1 || words(got[0]) != "current=5" || got[0].At.Mono == 0 {
			t.Errorf("one tag: %v, %v", got, err)
		}
		got, err = r.loop.Read(t.Context(), "meter", "")
		if err != nil || len(got) != 2 || len(got[0].Values) != 3 || got[1].Group.Name != field.SlowGroup {
			t.Errorf("a whole device: %v, %v", got, err)
		}
		if _, err = r.loop.Read(t.Context(), "meter", "pressure"); !errors.Is(err, field.ErrUnknownTag) {
			t.Errorf("an unknown tag: %v", err)
		}
		if _, err = r.loop.Read(t.Context(), "metre", ""); err == nil {
			t.Error("an unknown device was read")
		}
		s.set(field.ErrSilent)
		if _, err = r.loop.Read(t.Context(), "meter", ""); !errors.Is(err, field.ErrSilent) {
			t.Errorf("a silent device: %v", err)
		}
		synctest.Wait()
		if n := len(r.taken(field.Readings)); n != 0 {
			t.Errorf("%d records went to the platform because somebody looked", n)
		}
	})
}

// TestACommandThatWasGivenUpNeverHappens: what its caller no longer waits for does not touch the field.
func TestACommandThatWasGivenUpNeverHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, s := r.device("slow", time.Second)
		s.cost = 900 * time.Millisecond
		r.run()
		time.Sleep(2*time.Second + 100*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := r.loop.Write(ctx, "slow", "level", field.Int(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(10 * time.Second)
		if len(s.written) != 0 {
			t.Error("the value was written after its command was given up")
		}
		r.halt()
		if err := r.loop.Write(t.Context(), "slow", "level", field.Int(1)); !errors.Is(err, errEnded) {
			t.Errorf("a command to a loop that ended: %v", err)
		}
	})
}

// TestACommandIsASignOfLife: a dead unit that answers one is back at once.
func TestACommandIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, s := r.device("pump", time.Minute)
		s.set(field.ErrSilent)
		r.run()
		time.Sleep(10 * time.Minute)
		s.set(nil)
		if err := r.loop.Write(t.Context(), "pump", "level", field.Int(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := r.loop.Stats().Devices[0]; d.State != Good {
			t.Errorf("the device is %s", d.State)
		}
	})
}

// TestStopBreaksOffTheRequest: Run ends at once, and what was read before is stored.
func TestStopBreaksOffTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.commit = 50 * time.Millisecond
		_, s := r.device("slow", 10*time.Second, "level", "running!")
		s.cost = 5 * time.Second
		r.run()
		time.Sleep(5*time.Second + time.Millisecond) // the first record's event is being committed
		began := time.Now()
		r.halt()
		if took := time.Since(began); took > r.commit {
			t.Errorf("Run took %s to end", took)
		}
		if got := r.taken(field.Events); len(got) != 1 {
			t.Errorf("%d events were stored, want the one that was on its way", len(got))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, s := r.device("slow", 10*time.Second)
		s.cost = time.Hour
		r.run()
		time.Sleep(time.Minute)
		began := time.Now()
		r.halt()
		if took := time.Since(began); took > 0 {
			t.Errorf("Run took %s to end", took)
		}
		if got := r.taken(field.Readings); len(got) != 0 {
			t.Errorf("a read that was broken off yielded %v", got)
		}
	})
}

// TestSlowCommitsOfEventsDoNotHoldTheLineUp: order is kept, nothing is lost, and reads go on.
func TestSlowCommitsOfEventsDoNotHoldTheLineUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.commit = 500 * time.Millisecond
		_, s := r.device("counter", 100*time.Millisecond, "n!")
		r.run()
		time.Sleep(30*time.Second + 50*time.Millisecond)
		r.halt()
		reads := s.reads()
		if got := p95(reads); got > 120*time.Millisecond {
			t.Errorf("interval %s while events were committed", got)
		}
		events := r.taken(field.Events)
		if len(events) != len(reads) {
			t.Errorf("%d events of %d reads", len(events), len(reads))
		}
		for i, e := range events {
			if want := field.Int(int64(i + 1)); e.Event.More[0].Value != want {
				t.Fatalf("event %d: %v, want %v", i, e.Event.More[0].Value, want)
			}
		}
	})
}

func TestASinkThatRefusesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.device("unit", time.Second)
		r.options.Sink = func(context.Context, ...field.Record) error { return fmt.Errorf("no room") }
		r.run()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := r.loop.Stats().Refused; n < 9 {
			t.Errorf("%d refused, want about 10", n)
		}
	})
}

// TestFinishThrowsNoReadAway: a loop that is replaced ends the read that is under way, and what was answered is stored.
func TestFinishThrowsNoReadAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, long := r.device("meter", 2*time.Second)
		long.requests = 30
		r.run()
		time.Sleep(2*time.Second + 105*time.Millisecond) // in the sixth request of the second read
		began := time.Now()
		if err := r.loop.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*long.cost {
			t.Errorf("it was taken up after %s, want one request in progress, %s", took, long.cost)
		}
		<-r.ended
		if got := r.taken(field.Readings); len(got) != 2 || got[1].QualityOf(0) != field.Good {
			t.Errorf("records %v, want both reads whole", got)
		}
		if n := len(long.reads()); n != 2 {
			t.Errorf("%d reads were begun", n)
		}
		if err := r.loop.Finish(t.Context()); err != nil {
			t.Errorf("a second time: %v", err)
		}
		if err := r.loop.Write(t.Context(), "meter", "level", field.Int(1)); !errors.Is(err, errEnded) {
			t.Errorf("a write to a loop that has ended: %v", err)
		}
	})
}
