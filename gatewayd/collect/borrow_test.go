package collect

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// TestBorrowLetsPollsGoOn: half an hour of a scan whose steps take 200 ms costs a device that is read each second no
// period, commands go in between, a second scan is refused, and the line's time is counted once.
func TestBorrowLetsPollsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, pump := r.device("pump", time.Second)
		r.run()
		time.Sleep(5 * time.Second)
		begun := make(chan struct{})
		ended := make(chan error, 1)
		steps := 0
		go func() {
			ended <- r.loop.Borrow(t.Context(), func(ctx context.Context) error {
				close(begun)
				for ; steps < 9000; steps++ {
					time.Sleep(200 * time.Millisecond)
					field.Pause(ctx)
				}
				return nil
			})
		}()
		<-begun
		before := len(pump.reads())
		if err := r.loop.Borrow(t.Context(), func(context.Context) error { return nil }); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("a second one: %v", err)
		}
		start := time.Now()
		if err := r.loop.Write(t.Context(), "pump", "level", field.Int(7)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("a write took %v during the scan", took)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		took := time.Since(start)
		if n := len(pump.reads()) - before; n < int(took.Seconds())-1 {
			t.Errorf("%d reads in %v of the scan", n, took)
		}
		s := r.loop.Stats()
		if s.Devices[0].Missed != 0 || s.Occupancy < 0.99 || s.Devices[0].Occupancy > 0.2 {
			t.Errorf("stats %+v", s)
		}
		if err := r.loop.Borrow(t.Context(), func(context.Context) error { return nil }); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// TestBorrowHears: a listener is never held up by a scan that only waits, and what it says is told.
func TestBorrowHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, s, a := heardRig(t, time.Second)
		r.run()
		ended, enough := make(chan error, 1), make(chan struct{})
		go func() {
			ended <- r.loop.Borrow(t.Context(), func(ctx context.Context) error { return field.Await(ctx, enough) })
		}()
		synctest.Wait()
		start := time.Now()
		for i := range 10 {
			a.say(s, i, i, nil)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if took := time.Since(start); took != 10*time.Second || len(r.told()) != 10 {
			t.Errorf("ten messages took %v, and %q was told", took, r.told())
		}
		close(enough)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestBorrowEnds with its caller, and with the loop.
func TestBorrowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.device("pump", time.Second)
		r.run()
		forever := func(ctx context.Context) error {
			for ctx.Err() == nil {
				time.Sleep(100 * time.Millisecond)
				field.Pause(ctx)
			}
			return ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := r.loop.Borrow(ctx, forever); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up by its caller: %v", err)
		}
		time.AfterFunc(time.Second, r.stop)
		if err := r.loop.Borrow(t.Context(), forever); !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ended: %v", err)
		}
	})
}
