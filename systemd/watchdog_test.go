package systemd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lockedBuffer is a log that the test may read while the watchdog writes.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// runWatchdog runs w until the test calls stop, which waits for it.
func runWatchdog(t *testing.T, w *Watchdog) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestWatchdogFeedsOnlyTheHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		var fault atomic.Pointer[error]
		var fed atomic.Int32
		w := &Watchdog{
			interval: 30 * time.Second,
			healthy: func() error {
				if err := fault.Load(); err != nil {
					return *err
				}
				return nil
			},
			feed: func() error { fed.Add(1); return nil },
			log:  slog.New(slog.NewTextHandler(&log, nil)),
		}
		stop := runWatchdog(t, w)
		after := func(d time.Duration, want int32, why string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := fed.Load(); got != want {
				t.Errorf("%s: fed %d times, want %d", why, got, want)
			}
		}
		after(0, 1, "at the start")
		after(30*time.Second, 4, "three times an interval")
		hangs := errors.New("line rs485-1 made no progress")
		fault.Store(&hangs)
		after(30*time.Second, 4, "while a worker hangs")
		if got := strings.Count(log.String(), "rs485-1"); got != 1 {
			t.Errorf("the fault is logged %d times, want once:\n%s", got, log.String())
		}
		fault.Store(nil)
		after(10*time.Second, 5, "when it goes on")
		if !strings.Contains(log.String(), "fed again") {
			t.Errorf("the recovery is not logged:\n%s", log.String())
		}
		stop()
	})
}

func TestWatchdogSaysThatItCannotSpeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		w := &Watchdog{
			interval: 30 * time.Second,
			healthy:  func() error { return nil },
			feed:     func() error { return errors.New("connection refused") },
			log:      slog.New(slog.NewTextHandler(&log, nil)),
		}
		stop := runWatchdog(t, w)
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if got := strings.Count(log.String(), "connection refused"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, log.String())
		}
	})
}

func TestWatchdogWithNobodyWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("WATCHDOG_USEC", "")
		w, err := NewWatchdog(func() error { t.Error("asked for health"); return nil }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if w.Interval() != 0 {
			t.Errorf("the interval is %v", w.Interval())
		}
		stop := runWatchdog(t, w)
		time.Sleep(time.Hour)
		stop()
	})
}

func TestWatchdogOfAnotherProcess(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "20000000")
	t.Setenv("WATCHDOG_PID", "1")
	w, err := NewWatchdog(func() error { return nil }, slog.New(slog.DiscardHandler))
	if err != nil || w.Interval() != 0 {
		t.Errorf("interval %v, error %v; want none of both: the variable is the parent's", w.Interval(), err)
	}
}

func TestWatchdogRefusesNonsense(t *testing.T) {
	for _, v := range []string{"soon", "-1", "0"} {
		t.Setenv("WATCHDOG_USEC", v)
		if _, err := NewWatchdog(func() error { return nil }, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("WATCHDOG_USEC=%s is accepted", v)
		}
	}
}
