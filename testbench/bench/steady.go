package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/wan"
)

// Case is one steady load: devices of 100 float32 tags each, read every second.
type Case struct {
	Name    string
	Devices int
	RTT     time.Duration // to the broker and back
	Warm    time.Duration // before the measurement
	Window  time.Duration // of the measurement
}

// Result is what a Case showed.
type Result struct {
	Case
	Broker        string
	Binary        int64         // bytes of the stripped binary
	First         time.Duration // from the process's start to the first record at the broker
	Readings      float64       // a second, that arrived
	Requests      float64       // a device and second
	CPU           float64       // share of one core
	Yardstick     float64       // the same, of the least that carries the same bytes
	Peak, Anon    int64         // bytes of resident memory: the most ever; the process's own at the end
	BytesReading  float64       // MQTT bytes a reading, packets and all
	FlashHour     float64       // bytes an hour that were written to storage
	CommitsHour   float64
	Unexplained   uint64
	DeadlinesMiss uint64
}

// Steady runs the daemon under the load and then the yardstick, in a folder of their own.
func Steady(ctx context.Context, binary, dir string, c Case) (r Result, err error) {
	r.Case = c
	info, err := os.Stat(binary)
	if err != nil {
		return r, err
	}
	r.Binary = info.Size()
	farm, err := rig.NewFarm(c.Devices)
	if err != nil {
		return r, err
	}
	defer farm.Close()
	address, name, stop, err := anyBroker(ctx, dir)
	if err != nil {
		return r, err
	}
	defer stop()
	r.Broker = name
	if r.Yardstick, err = yardstickCPU(ctx, farm, address, c); err != nil {
		return r, fmt.Errorf("the yardstick: %w", err)
	}
	err = daemonUnderLoad(ctx, binary, dir, farm, address, &r)
	return r, err
}

// anyBroker gives mosquitto where it is installed, else the embedded broker.
func anyBroker(ctx context.Context, dir string) (address, name string, stop func(), err error) {
	m, err := rig.NewMosquitto(dir)
	if err == nil {
		return m.Address(), "mosquitto", m.Close, m.Start(ctx)
	}
	if !errors.Is(err, rig.ErrNoMosquitto) {
		return "", "", nil, err
	}
	b, err := broker.New(broker.Options{})
	if err != nil {
		return "", "", nil, err
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(run)
	}()
	return b.Address(), "the embedded broker", func() { cancel(); <-done }, nil
}

func daemonUnderLoad(ctx context.Context, binary, dir string, farm *rig.Farm, address string, r *Result) error {
	c := r.Case
	link, err := wan.New(address)
	if err != nil {
		return err
	}
	link.Delay(c.RTT/2, c.RTT/2)
	var wait sync.WaitGroup
	defer wait.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wait.Go(func() { _ = link.Run(ctx) })
	recorder := consumer.New(consumer.Options{FromStart: true})
	wait.Go(func() { _ = rig.Consume(ctx, address, "bench-consumer", "gw/farm-gw", recorder) })

	d, err := rig.NewDaemon(binary, filepath.Join(dir, "box"), "")
	if err != nil {
		return err
	}
	if err := farm.Configure(d, link.Address(), time.Second); err != nil {
		return err
	}
	started := time.Now()
	if err := d.Start(); err != nil {
		return err
	}
	defer d.Kill()
	if _, err := d.Await(ctx, 30*time.Second, "records arrive", func(*health.Status) bool { return recorder.Books().Unique > 0 }); err != nil {
		return fmt.Errorf("%w\n%s", err, d.Log())
	}
	r.First = recorder.Books().FirstAt.Sub(started)
	if err := pause(ctx, c.Warm); err != nil {
		return err
	}

	before, err := look(ctx, d, farm, link, recorder)
	if err != nil {
		return err
	}
	if err := pause(ctx, c.Window); err != nil {
		return err
	}
	after, err := look(ctx, d, farm, link, recorder)
	if err != nil {
		return err
	}
	span := after.at.Sub(before.at).Seconds()
	readings := float64(after.books.Readings - before.books.Readings)
	r.Readings = readings / span
	r.Requests = float64(after.requests-before.requests) / span / float64(c.Devices)
	r.CPU = (after.use.cpu - before.use.cpu).Seconds() / span
	r.Peak, r.Anon = after.use.peak, after.use.anon
	r.BytesReading = float64(after.up-before.up) / readings
	r.FlashHour = float64(after.use.written-before.use.written) / span * 3600
	r.CommitsHour = float64(after.status.Buffer.Commits-before.status.Buffer.Commits) / span * 3600
	r.Unexplained = after.books.Unexplained
	for _, dev := range after.status.Devices {
		r.DeadlinesMiss += dev.Missed
	}
	_, err = d.Stop()
	return err
}

// picture is everything that is measured, at one moment.
type picture struct {
	at       time.Time
	use      usage
	requests int
	up       int64
	books    consumer.Books
	status   health.Status
}

func look(ctx context.Context, d *rig.Daemon, farm *rig.Farm, link *wan.Link, recorder *consumer.Recorder) (p picture, err error) {
	if p.status, err = d.Status(ctx); err != nil {
		return p, err
	}
	p.at = time.Now()
	if p.use, err = usageOf(d.Pid()); err != nil {
		return p, err
	}
	p.requests, p.up, p.books = farm.Requests(), link.Stats().Up, recorder.Books()
	return p, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// yardstickCPU runs the yardstick in a process of its own: this very program, called by another name.
func yardstickCPU(ctx context.Context, farm *rig.Farm, address string, c Case) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "yardstick", "--broker", address, "--devices", strings.Join(farm.Addresses(), ","))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if err := pause(ctx, c.Warm); err != nil {
		return 0, err
	}
	before, err := usageOf(cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	at := time.Now()
	if err := pause(ctx, c.Window); err != nil {
		return 0, err
	}
	after, err := usageOf(cmd.Process.Pid)
	return (after.cpu - before.cpu).Seconds() / time.Since(at).Seconds(), err
}

// Print writes the result as lines of a table in Markdown.
func (r *Result) Print(w io.Writer) {
	row := func(what, figure, beside string) { fmt.Fprintf(w, "| %s | %s | %s |\n", what, figure, beside) }
	fmt.Fprintf(w, "\n### %s (%d devices, %d tags each, every second; %s; RTT %s; %s measured)\n\n", r.Name, r.Devices, rig.FarmTags, r.Broker, r.RTT, r.Window)
	row("what", "measured", "beside it, or the goal")
	row("---", "---", "---")
	row("readings a second at the broker", fmt.Sprintf("%.0f", r.Readings), fmt.Sprintf("%d asked for", r.Devices*rig.FarmTags))
	row("requests a device and second", fmt.Sprintf("%.2f", r.Requests), "2")
	row("CPU, of one core", fmt.Sprintf("%.2f %%", 100*r.CPU), fmt.Sprintf("raw sockets, the same bytes: %.2f %%, ratio %.1f", 100*r.Yardstick, r.CPU/r.Yardstick))
	row("resident memory, peak", health.Size(r.Peak), "of it the process's own: "+health.Size(r.Anon))
	row("first record at the broker after the start", r.First.Round(time.Millisecond).String(), "≤ 500 ms")
	row("MQTT bytes a reading", fmt.Sprintf("%.1f", r.BytesReading), "≤ 20")
	row("written to storage, an hour", health.Size(int64(r.FlashHour)), fmt.Sprintf("≤ 1 MiB; %.0f commits an hour", r.CommitsHour))
	row("stripped binary", health.Size(r.Binary), "≤ 22 MiB")
	row("numbers missing without a word; periods missed", fmt.Sprintf("%d; %d", r.Unexplained, r.DeadlinesMiss), "0; 0")
}
