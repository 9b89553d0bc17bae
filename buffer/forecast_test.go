package buffer

import (
	"context"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// TestTheForecastHolds lets a store forecast how long it holds at a steady rate, and then fills it at that rate until the
// first reading has to go.
func TestTheForecastHolds(t *testing.T) {
	t.Parallel()
	o := testOptions(t.TempDir(), "away")
	o.Limit = MinLimit
	o.HeadLimit = 256 << 20
	r := idle(t, o)
	if st := r.Stats(); st.Holds != 0 || st.Inflow != 0 {
		t.Errorf("before anything is known: %+v", st)
	}
	// One record of 2 kB a second, by a clock of the test's own.
	now := time.Now()
	seconds := 0
	second := func() {
		if err := r.Append(context.Background(), bulky(seconds, 2000)); err != nil {
			t.Fatal(err)
		}
		seconds++
	}
	r.gauge(now)
	for range 40 {
		for range 15 {
			second()
		}
		now = now.Add(15 * time.Second)
		r.gauge(now)
		for r.seal(everything) {
		}
	}
	r.measure()
	forecast := r.Stats().Holds
	lost := func() bool { return r.Stats().Destinations[0].Books[field.Readings].Lost > 0 }
	from := seconds
	for !lost() && seconds < 1<<20 {
		for range 50 {
			second()
		}
		for r.seal(everything) {
		}
	}
	held := time.Duration(seconds-from) * time.Second
	t.Logf("forecast %s, held %s, at %.0f bytes a second", forecast, held, r.Stats().Inflow)
	if forecast < held/2 || forecast > held*2 { // how far Badger has tidied up depends on the machine
		t.Errorf("it forecast %s and held %s", forecast, held)
	}
	// Age bounds it too, and nothing that comes makes it unknown again.
	r.opt.Keep = time.Minute
	r.mu.Lock()
	r.disk = 0
	r.mu.Unlock()
	if st := r.Stats(); st.Holds != time.Minute {
		t.Errorf("%+v", st.Holds)
	}
	r.gauge(now.Add(240 * time.Hour))
	if st := r.Stats(); st.Inflow > 100 {
		t.Errorf("after ten days of almost nothing: %f bytes a second", st.Inflow)
	}
}
