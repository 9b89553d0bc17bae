package bench

import (
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"edgegateway/testbench/privatebus"
	"edgegateway/testbench/rig"
)

var airFor = flag.Duration("air", 3*time.Second, "how long the test with 200 Bluetooth sensors measures; 10m is the whole level")

// TestAir: 200 sensors, and strangers with ever new addresses: every message is heard once and told at most once, and
// nothing grows. The figures of CPU and memory are judged by the long level alone: a short one measures the start.
func TestAir(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the daemon")
	}
	dir := t.TempDir()
	binary, err := rig.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	warm := min(*airFor/4, time.Minute)
	r, err := Air(t.Context(), binary, dir, AirCase{Sensors: 200, Strangers: 20, Warm: warm, Window: *airFor})
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Print(os.Stdout)
	if r.Heard+r.Dropped < uint64(r.Sent) || r.Heard > uint64(r.Sent) {
		t.Errorf("heard %d of %d messages, %d dropped", r.Heard, r.Sent, r.Dropped)
	}
	if r.Twice != 0 || r.Told == 0 || r.Told > r.Sent {
		t.Errorf("told %d of %d, %d of them twice", r.Told, r.Sent, r.Twice)
	}
	if r.Goroutines[1] > r.Goroutines[0]+5 {
		t.Errorf("goroutines grew from %d to %d", r.Goroutines[0], r.Goroutines[1])
	}
	if *airFor < 5*time.Minute {
		return
	}
	if r.CPU > 0.05 {
		t.Errorf("CPU: %.1f %% of a core, more than 5", 100*r.CPU)
	}
	if r.Late > r.Early+r.Early/4 {
		t.Errorf("memory grew from %d to %d bytes", r.Early, r.Late)
	}
}
