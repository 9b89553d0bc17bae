package bus_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/dlt645"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus"
	"edgegateway/testbench/bus"
	"edgegateway/testbench/ptyline"
	simdlt645 "edgegateway/testbench/sim/dlt645"
	simmodbus "edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/sim/port"
)

// TestTwoModesOnOnePair: a Modbus device at 9600 8N1 and a meter at 2400 8E1 are read in turn through views of one
// serial line. Each hears the other's requests as noise only.
func TestTwoModesOnOnePair(t *testing.T) {
	line, err := ptyline.New(t.TempDir(), "pair")
	if err != nil {
		t.Fatal(err)
	}
	b := bus.New(line)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait(); line.Close() })

	rtu := simmodbus.New(1)
	rtu.Unit(5).Set(simmodbus.Holdings, 0, 1234)
	meters := simdlt645.New(0)
	meters.Add("000012345670", false).Set("00010000", "00120642")
	taps := []*bus.Tap{b.Tap("9600 8N1"), b.Tap("2400 8E1")}
	running.Go(func() { _ = b.Run(ctx) })
	running.Go(func() { _ = rtu.ServeRTU(ctx, taps[0], simmodbus.Wire{}) })
	running.Go(func() { _ = port.Serve(ctx, taps[1], meters) })

	mode := func(s string) link.Mode {
		m, err := link.ParseMode(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	serial := link.Serial(line.Name(), mode("9600 8N1"), link.Options{})
	defer serial.Close()
	slow := serial.At(mode("2400 8E1"))
	controller, err := modbus.New(serial.At(mode("9600 8N1")), modbus.RTU, modbus.Options{Timeout: 5 * time.Second}).Bind(field.Device{
		Name: "controller", Address: "5", Tags: []field.Tag{{Name: "n", At: "holding 0", Type: "uint16"}}})
	if err != nil {
		t.Fatal(err)
	}
	meter, err := dlt645.New(slow).Bind(field.Device{
		Name: "meter", Address: "000012345670", Timeout: 5 * time.Second, Tags: []field.Tag{{Name: "e", At: "00010000"}}})
	if err != nil {
		t.Fatal(err)
	}
	if slow.Timing() != (link.Timing{Char: mode("2400 8E1").Char(), Silence: mode("2400 8E1").Silence()}) {
		t.Errorf("the slow view's timing is %+v", slow.Timing())
	}
	for round := range 3 {
		for _, c := range []struct {
			station field.Station
			want    field.Value
			mode    string
		}{{controller, field.Uint(1234), "9600 N"}, {meter, field.Float64(1206.42), "2400 E"}, {meter, field.Float64(1206.42), "2400 E"}} {
			r, err := c.station.Read(ctx, field.MainGroup)
			if err != nil || !slices.Equal(r.Values, []field.Value{c.want}) {
				t.Errorf("round %d: %v, %v, want %v", round, r.Values, err, c.want)
			}
			if got := line.Rate(); got != c.mode {
				t.Errorf("round %d: the port is at %s, want %s", round, got, c.mode)
			}
		}
	}
	if n := rtu.Unit(5).Counts().Requests; n != 3 {
		t.Errorf("the controller was asked %d times, want 3", n)
	}
}
