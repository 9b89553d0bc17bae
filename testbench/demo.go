package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/wan"
)

// demo shows the main job: the real daemon polls simulated devices on three kinds of line, the backhaul is cut in the
// middle and comes back, and the books are closed at the end. It fails when they don't balance.
func demo(ctx context.Context, length time.Duration) error {
	dir, err := os.MkdirTemp("", "gatewayd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	show := newScreen(os.Stdout)
	defer show.close()
	show.say("building the daemon…")
	binary, err := rig.Build(ctx, dir)
	if err != nil {
		return err
	}

	d, err := newDemo(dir, binary)
	if err != nil {
		return err
	}
	defer d.close()
	show.say("a substation of three lines (Modbus TCP, RTU on a serial port at 9600 baud, RTU over TCP), a broker, and the daemon as a process of its own")
	if d.air != nil {
		show.say("and %d Bluetooth sensors, each with a message a second, behind a BlueZ of the testbench's own on a private message bus", demoSensors)
	} else {
		show.say("no Bluetooth sensors: %v", d.airless)
	}
	if err := d.daemon.Start(); err != nil {
		return err
	}
	defer d.daemon.Kill()
	begin := time.Now()
	if _, err := d.daemon.Await(ctx, 10*time.Second, "it is connected", connected); err != nil {
		return fmt.Errorf("%w\n%s", err, d.daemon.Log())
	}
	show.say("connected %s after the daemon's start", time.Since(begin).Round(time.Millisecond))

	// A third of the time all is well, a third of it the backhaul is down, and the rest is for catching up.
	phase := (length - closing) / 3
	if err := d.watch(ctx, show, "all is well", phase); err != nil {
		return err
	}
	show.say("the backhaul is cut: connections are reset, new ones refused")
	d.link.Cut()
	if err := d.watch(ctx, show, "outage", phase); err != nil {
		return err
	}
	show.say("the backhaul is back")
	d.link.Restore()
	restored := time.Now()
	if err := d.watch(ctx, show, "catching up", phase); err != nil {
		return err
	}
	return d.settle(ctx, show, restored)
}

// closing is the part of the demo's time that is kept for the books.
const closing = 5 * time.Second

type demoRig struct {
	plant    *rig.Plant
	air      *rig.Air // nil where there can be none,
	airless  error    // for this reason
	broker   *broker.Broker
	link     *wan.Link
	recorder *consumer.Recorder
	daemon   *rig.Daemon

	hush   func() // ends the sensors; nil where there are none
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	backfill time.Time // when the first record came that had not left at once
}

const (
	demoGateway = "demo-gw"
	demoSensors = 2
)

func newDemo(dir, binary string) (*demoRig, error) {
	d := &demoRig{}
	d.recorder = consumer.New(consumer.Options{Prefix: "gw/" + demoGateway, FromStart: true, Record: func(r consumer.Record) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if r.Backfill && d.backfill.IsZero() {
			d.backfill = r.Arrived
		}
	}})
	var err error
	if d.plant, err = rig.NewPlant(dir); err != nil {
		return nil, err
	}
	if d.broker, err = broker.New(broker.Options{}); err != nil {
		return nil, err
	}
	if err := d.broker.Tap("gw/#", func(m broker.Message) { d.recorder.Take(m.Topic, m.Payload, m.Retained) }); err != nil {
		return nil, err
	}
	if d.link, err = wan.New(d.broker.Address()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.wait.Go(func() { _ = d.broker.Run(ctx) }) // a broker that fails shows as an outage that does not end
	d.wait.Go(func() { _ = d.link.Run(ctx) })
	config := d.plant.Config(demoGateway, "mqtt://"+d.link.Address())
	if d.air, d.airless = rig.NewAir(demoSensors); d.airless == nil {
		config += d.air.Lines(time.Second)
		breathing, hush := context.WithCancel(ctx)
		d.hush = hush
		d.wait.Go(func() { _ = d.air.Run(breathing, time.Second, 1) }) // sensors that fall silent show as offline
	}
	if d.daemon, err = rig.NewDaemon(binary, filepath.Join(dir, "box"), config); err != nil {
		d.close()
		return nil, err
	}
	if d.air != nil {
		d.daemon.Env = []string{d.air.Env()}
	}
	return d, nil
}

// switchOff ends the plant and the sensors.
func (d *demoRig) switchOff() {
	d.plant.Close()
	if d.hush != nil {
		d.hush()
	}
}

func (d *demoRig) close() {
	d.cancel()
	d.wait.Wait()
	d.plant.Close()
	if d.air != nil {
		d.air.Close()
	}
}

func connected(s *health.Status) bool { return len(s.Platforms) > 0 && s.Platforms[0].Connected }

// watch shows the status every so often for a while.
func (d *demoRig) watch(ctx context.Context, show *screen, phase string, length time.Duration) error {
	end := time.NewTimer(length)
	defer end.Stop()
	tick := time.NewTicker(show.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.daemon.Ended():
			return errors.New("the daemon ended:\n" + d.daemon.Log())
		case <-end.C:
			return nil
		case <-tick.C:
			s, err := d.daemon.Status(ctx)
			if err != nil {
				return err
			}
			if !s.Balanced() {
				return fmt.Errorf("the daemon's books don't balance: %+v", s.Platforms)
			}
			show.status(phase, &s, d.recorder.Books())
		}
	}
}

// settle switches the plant off, waits until everything that was taken has arrived, compares the two sides' books, and
// stops the daemon as systemd would.
func (d *demoRig) settle(ctx context.Context, show *screen, restored time.Time) error {
	show.say("the plant is switched off; what is on its way arrives")
	d.switchOff()
	var taken uint64
	var since time.Time
	last, err := d.daemon.Await(ctx, 60*time.Second, "everything that was taken is delivered, and nothing new comes", func(s *health.Status) bool {
		sum := rig.Sum(s)
		if sum.Taken != taken || sum.Buffered > 0 {
			taken, since = sum.Taken, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	if err != nil {
		return err
	}
	took, err := d.daemon.Stop()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, d.daemon.Log())
	}
	show.say("the daemon stopped cleanly in %s", took.Round(time.Millisecond))

	books, sum := d.recorder.Books(), rig.Sum(&last)
	d.mu.Lock()
	first := d.backfill
	d.mu.Unlock()
	show.books(sum, books)
	switch {
	case sum.Taken != sum.Delivered+sum.Buffered+sum.Lost:
		return errors.New("the daemon's books don't balance")
	case sum.Delivered != uint64(books.Unique):
		return fmt.Errorf("the daemon believes that the platform has %d records, and it has %d", sum.Delivered, books.Unique)
	case first.IsZero():
		return errors.New("no record of the outage arrived")
	}
	if err := books.Check(); err != nil {
		return err
	}
	show.say("the first record of the outage arrived %s after the link was back; the books balance", first.Sub(restored).Round(time.Millisecond))
	return nil
}
