package bench

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
)

// AirCase is sensors that advertise each second, with strangers among them.
type AirCase struct {
	Sensors   int
	Strangers int           // a second, each with an address of its own
	Warm      time.Duration // before the measurement
	Window    time.Duration // of the measurement
}

// AirResult is what an AirCase showed.
type AirResult struct {
	AirCase
	Sent       int     // messages of sensors on the air, each a new one
	Heard      uint64  // that the daemon counted of them
	Told       int     // that arrived at the broker
	Twice      int     // of those, the ones that had arrived before
	Others     int     // strangers that there were
	Dropped    uint64  // advertisements for which the daemon had no room
	CPU        float64 // share of one core
	Early      int64   // bytes of the process's own memory, at the beginning and at the end of the window
	Late       int64
	Peak       int64 // bytes of resident memory, the most that it ever was
	Goroutines [2]int
}

// Air runs the daemon in a place with sensors, in a folder of its own. The error is privatebus.ErrMissing where there is
// no dbus-daemon.
func Air(ctx context.Context, binary, dir string, c AirCase) (r AirResult, err error) {
	r.AirCase = c
	air, err := rig.NewAir(c.Sensors)
	if err != nil {
		return r, err
	}
	defer air.Close()
	b, err := broker.New(broker.Options{})
	if err != nil {
		return r, err
	}
	told := newAccount()
	recorder := consumer.New(consumer.Options{FromStart: true, Record: told.take})
	if err := b.Tap("gw/#", func(m broker.Message) { recorder.Take(m.Topic, m.Payload, m.Retained) }); err != nil {
		return r, err
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wait.Go(func() { _ = b.Run(ctx) }) // a broker that fails shows as records that do not arrive

	d, err := rig.NewDaemon(binary, filepath.Join(dir, "box"), air.Config("air-gw", "mqtt://"+b.Address(), 100*time.Millisecond))
	if err != nil {
		return r, err
	}
	d.Env = []string{air.Env()}
	if err := d.Start(); err != nil {
		return r, err
	}
	defer d.Kill()
	if _, err := d.Await(ctx, time.Minute, "the radio listens", func(s *health.Status) bool {
		return len(s.Lines) == 1 && s.Lines[0].Radio != nil && s.Lines[0].Radio.Mode != "off"
	}); err != nil {
		return r, fmt.Errorf("%w\n%s", err, d.Log())
	}

	speaking, silence := context.WithCancel(ctx)
	defer silence()
	ended := make(chan error, 1)
	go func() { ended <- air.Run(speaking, time.Second, c.Strangers) }()
	if err := pause(ctx, c.Warm); err != nil {
		return r, err
	}
	before, err := usageOf(d.Pid())
	if err != nil {
		return r, err
	}
	first, err := d.Status(ctx)
	if err != nil {
		return r, err
	}
	at := time.Now()
	if err := pause(ctx, c.Window); err != nil {
		return r, err
	}
	after, err := usageOf(d.Pid())
	if err != nil {
		return r, err
	}
	span := time.Since(at)
	last, err := d.Status(ctx)
	if err != nil {
		return r, err
	}
	silence()
	if err := <-ended; err != nil {
		return r, err
	}
	r.CPU = (after.cpu - before.cpu).Seconds() / span.Seconds()
	r.Early, r.Late, r.Peak = before.anon, after.anon, after.peak
	r.Goroutines = [2]int{first.Process.Goroutines, last.Process.Goroutines}
	return r, settleAir(ctx, d, air, told, &r)
}

// settleAir waits until what is on its way has arrived, and closes the books.
func settleAir(ctx context.Context, d *rig.Daemon, air *rig.Air, told *account, r *AirResult) error {
	r.Sent, r.Others = air.Sent(), air.Strangers()
	s, err := d.Await(ctx, time.Minute, "all that was said is heard, and all that was heard has arrived", func(s *health.Status) bool {
		sum := rig.Sum(s)
		return s.Lines[0].Radio.Adverts+s.Lines[0].Radio.Dropped >= uint64(r.Sent+r.Others) && sum.Buffered == 0 && sum.Taken > 0
	})
	if err != nil {
		return fmt.Errorf("%w\nsent %d by sensors and %d by strangers", err, r.Sent, r.Others)
	}
	for _, dev := range s.Devices {
		if dev.Air != nil {
			r.Heard += dev.Air.Adverts
		}
	}
	r.Dropped = s.Lines[0].Radio.Dropped
	if _, err := d.Stop(); err != nil {
		return fmt.Errorf("%w\n%s", err, d.Log())
	}
	r.Told, r.Twice = told.sum()
	return nil
}

// account knows which message of which sensor has arrived.
type account struct {
	mu    sync.Mutex
	seen  map[string]bool
	twice int
}

func newAccount() *account { return &account{seen: map[string]bool{}} }

func (a *account) take(r consumer.Record) {
	number, ok := r.Values["sequence"]
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := r.Device + " " + string(number)
	if a.seen[key] {
		a.twice++
	}
	a.seen[key] = true
}

func (a *account) sum() (told, twice int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen), a.twice
}

// Print writes the result as lines of a table in Markdown.
func (r *AirResult) Print(w io.Writer) {
	row := func(what, figure, beside string) { fmt.Fprintf(w, "| %s | %s | %s |\n", what, figure, beside) }
	fmt.Fprintf(w, "\n### Bluetooth: %d sensors at 1 Hz, %d strangers a second with ever new addresses, %s measured\n\n", r.Sensors, r.Strangers, r.Window)
	row("what", "measured", "beside it, or the goal")
	row("---", "---", "---")
	row("messages of sensors heard", fmt.Sprint(r.Heard), fmt.Sprintf("%d sent", r.Sent))
	row("of them at the broker", fmt.Sprint(r.Told), fmt.Sprintf("%d twice", r.Twice))
	row("strangers", fmt.Sprint(r.Others), fmt.Sprintf("%d advertisements dropped", r.Dropped))
	row("CPU", fmt.Sprintf("%.1f %% of a core", 100*r.CPU), "at most 5 %")
	row("the process's own memory, at the beginning and the end", fmt.Sprintf("%.1f MiB, %.1f MiB", float64(r.Early)/(1<<20), float64(r.Late)/(1<<20)), "flat")
	row("peak of resident memory", fmt.Sprintf("%.1f MiB", float64(r.Peak)/(1<<20)), "")
	row("goroutines, at the beginning and the end", fmt.Sprintf("%d, %d", r.Goroutines[0], r.Goroutines[1]), "flat")
}
