package bus_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/dlt645"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/mbus"
	"edgegateway/adapters/modbus"
	"edgegateway/gatewayd/collect"
	"edgegateway/testbench/bus"
	"edgegateway/testbench/ptyline"
	simdlt645 "edgegateway/testbench/sim/dlt645"
	simmbus "edgegateway/testbench/sim/mbus"
	simmodbus "edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/sim/port"
)

var measure = flag.Duration("measure", 0, "for how long TestForecastIsMeasured measures, at least a minute; 0 leaves it out, since it judges a busy machine too")

// TestForecastIsMeasured runs eight devices of three protocols, one of them dead, on one paced pair of wires, and holds
// what the line was busy with against what was foretold from plan and modes alone.
func TestForecastIsMeasured(t *testing.T) {
	if *measure < time.Minute {
		t.Skip("a measurement, for a machine at rest: go test ./testbench/bus -run Forecast -v -measure 2m")
	}
	pty, err := ptyline.New(t.TempDir(), "pair")
	if err != nil {
		t.Fatal(err)
	}
	b := bus.New(pty)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait(); pty.Close() })
	mode := func(s string) link.Mode {
		m, err := link.ParseMode(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const fast, slow = "9600 8N1", "2400 8E1"
	char := mode(slow).Char()

	rtu := simmodbus.New(1)
	chinese, wired := simdlt645.New(char), simmbus.New(char)
	taps := []*bus.Tap{b.Tap(fast), b.Tap(slow), b.Tap(slow)}
	running.Go(func() { _ = b.Run(ctx) })
	running.Go(func() {
		_ = rtu.ServeRTU(ctx, taps[0], simmodbus.Wire{Baud: 9600, Bits: 10, Turnaround: 5 * time.Millisecond})
	})
	running.Go(func() { _ = port.Serve(ctx, taps[1], chinese) })
	running.Go(func() { _ = port.Serve(ctx, taps[2], wired) })

	serial := link.Serial(pty.Name(), mode(fast), link.Options{})
	defer serial.Close()
	drivers := map[string]field.Driver{
		"modbus": modbus.New(serial.At(mode(fast)), modbus.RTU, modbus.Options{}),
		"dlt645": dlt645.New(serial.At(mode(slow))), "mbus": mbus.New(serial.At(mode(slow))),
	}
	var devices []collect.Device
	add := func(protocol, address string, every time.Duration, tags ...field.Tag) {
		d := field.Device{Name: protocol + "-" + address, Protocol: protocol, Address: address, Tags: tags, Timeout: 400 * time.Millisecond}
		if protocol != "modbus" {
			d.Mode = slow
		}
		station, err := drivers[protocol].Bind(d)
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, collect.Device{Device: d, Station: station, Every: every})
	}
	for unit := range 4 {
		if unit > 0 { // the first is dead
			rtu.Unit(byte(unit + 1))
		}
		var tags []field.Tag
		for i := range 10 {
			tags = append(tags, field.Tag{Name: fmt.Sprintf("r%d", i), At: fmt.Sprintf("input %d", 2*i), Type: "float32"})
		}
		add("modbus", fmt.Sprint(unit+1), 2*time.Second, tags...)
	}
	for i := range 2 {
		number := fmt.Sprintf("00001234567%d", i)
		chinese.Add(number, false).Set("00010000", "00120642")
		add("dlt645", number, 5*time.Second, field.Tag{Name: "energy", At: "00010000"})
		wired.Add(byte(i+1), fmt.Sprintf("2143658%d", i), "ABC", 1, 7).Records("0C 13 45 23 01 00")
		add("mbus", fmt.Sprint(i+1), 5*time.Second, field.Tag{Name: "volume", At: "volume"})
	}
	living := devices[1:]
	chars := func(m string) time.Duration {
		if m == "" {
			m = fast
		}
		return mode(m).Char()
	}
	before := collect.Forecast(living, chars)
	loop := collect.New(collect.Options{Line: "pair", Devices: devices, Silence: serial.Timing().Silence,
		Sink: func(context.Context, ...field.Record) error { return nil }, Stamp: func() field.Stamp { return field.Stamp{} }})
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	// Occupancy is of the last minute, into which a poll more or less falls: its mean over many such minutes is taken.
	occupancy := make([]float64, len(devices))
	const samples = 200
	time.Sleep(*measure / 2)
	for range samples {
		time.Sleep(*measure / 2 / samples)
		for i, d := range loop.Stats().Devices {
			occupancy[i] += d.Occupancy / samples
		}
	}
	s := loop.Stats()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	after := collect.Forecast(living, chars)
	measured, dead := 0.0, 0.0
	for i, d := range s.Devices {
		if i == 0 {
			dead = occupancy[i]
			continue
		}
		measured += occupancy[i]
		if d.Missed > 0 || d.State != collect.Good {
			t.Errorf("%s: %s, %d periods missed", d.Name, d.State, d.Missed)
		}
	}
	for i, d := range s.Devices[1:] {
		t.Logf("%-20s foretold %5.2f %%, with what was met %5.2f %%, measured %5.2f %%; turnaround %v", d.Name,
			100*before.Devices[i].Share, 100*after.Devices[i].Share, 100*occupancy[i+1], d.Wire.Turnaround)
	}
	t.Logf("the living: foretold %.1f %% (%.1f %% with the turnarounds that were met), measured %.1f %%; the dead one took %.1f %%",
		100*before.Share, 100*after.Share, 100*measured, 100*dead)
	if off := measured/after.Share - 1; off < -0.05 || off > 0.05 {
		t.Errorf("measured and foretold are %.1f %% apart, want 5", 100*off)
	}
}
