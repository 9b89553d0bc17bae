package rig

import (
	"context"
	"fmt"
	"sync"
	"time"

	"edgegateway/testbench/bus"
	"edgegateway/testbench/ptyline"
	"edgegateway/testbench/sim/dlt645"
	"edgegateway/testbench/sim/iec62056"
	"edgegateway/testbench/sim/mbus"
	"edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/sim/port"
)

// Pair is one pair of wires with devices of several protocols on it, each in a mode of its own, behind a real pty: a
// Modbus meter, a DL/T 645 meter, an M-Bus water meter, and an IEC 62056-21 meter that begins at 300 baud and goes on at
// 9600.
type Pair struct {
	Port    *ptyline.Line
	Modbus  *modbus.Server
	DLT645  *dlt645.Meter
	IEC     *iec62056.Meter
	MBus    *mbus.Meter
	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
}

// PairNumber is the number of the meters of a Pair that have one.
const PairNumber = "000012345670"

// NewPair begins to serve the pair; dir holds the serial port's stable name.
func NewPair(dir string) (*Pair, error) {
	line, err := ptyline.New(dir, "usb-pair-if00")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pair{Port: line, cancel: cancel, Modbus: modbus.New(1)}
	p.Modbus.Unit(5).Set(modbus.Inputs, 0, 0x4366, 0x3333) // 230.2

	meters := dlt645.New(0)
	p.DLT645 = meters.Add(PairNumber, false).Set("0201FF00", "2301", "2298", "2310").Set("0203FF00", "801234", "801000", "000034", "800268").
		Set("02030200", "000034").Set("04000302", "10").Set("04000101", "26113001").Set("04000102", "140509").Set("00010000", "00120642")
	p.IEC = iec62056.New("12345678", "/ABC5MT174", 'C', 300).Set("0.0.0", "(12345678)").Set("1-0:1.8.0*255", "(000123.45*kWh)").Set("32.7.0", "(230.1*V)").Paced()

	wired := mbus.New(0)
	p.MBus = wired.Add(7, "21436587", "ABC", 1, 7).Records("0C 13 45 23 01 00 1F", "4C 13 00 20 01 00 42 6C 7F 2C")

	b := bus.New(line)
	rtu, dlt, iec, water := b.Tap("9600 8N1"), b.Tap("2400 8E1"), b.Tap("300 7E1"), b.Tap("2400 8E1")
	p.IEC.OnBaud(func(baud int) { iec.SetMode(fmt.Sprintf("%d 7E1", baud)) })
	p.running.Go(func() { _ = b.Run(ctx) }) // it and the others end with the context; a broken one shows as a dead line
	p.running.Go(func() { _ = p.Modbus.ServeRTU(ctx, rtu, modbus.Wire{Turnaround: 5 * time.Millisecond}) })
	p.running.Go(func() { _ = port.Serve(ctx, dlt, meters) })
	p.running.Go(func() { _ = port.Serve(ctx, iec, p.IEC) })
	p.running.Go(func() { _ = port.Serve(ctx, water, wired) })
	return p, nil
}

// Close switches the devices off and unplugs the port. Closing twice is no error.
func (p *Pair) Close() {
	p.once.Do(func() {
		p.cancel()
		p.running.Wait()
		p.Port.Close()
	})
}

// Lines is the part of a configuration that tells of the pair.
func (p *Pair) Lines() string {
	return fmt.Sprintf(`[[line]]
name = "pair"
port = %q
mode = "9600 8N1"

[[device]]
name    = "feeder"
line    = "pair"
profile = "eastron-sdm120"
address = "5"
every   = "1s"
slow    = "1h"

[[device]]
name     = "billing"
line     = "pair"
mode     = "2400 8E1"
protocol = "dlt645"
address  = %q
every    = "2s"
slow     = "2s"
password = "billing"
timeout  = "5s"
writable = ["clock", "shown_for"]

[[tag]]
device = "billing"
name   = "voltage_l2"
at     = "02010200"

[[tag]]
device = "billing"
name   = "voltage_l3"
at     = "02010300"

[[tag]]
device = "billing"
name   = "power_l2"
at     = "02030200"
scale  = 1000
unit   = "W"

[[tag]]
device = "billing"
name   = "energy_import"
at     = "00010000"
group  = "slow"

[[tag]]
device = "billing"
name   = "shown_for"
at     = "04000302"
type   = "XX"
unit   = "s"
group  = "slow"
limits = { min = 5, max = 20 }

[[tag]]
device = "billing"
name   = "clock"
at     = "clock"
group  = "slow"

[[device]]
name    = "water"
line    = "pair"
mode    = "2400 8E1"
profile = "mbus-water"
address = "21436587"
every   = "2s"
slow    = "2s"

[[device]]
name    = "optical"
line    = "pair"
mode    = "300 7E1"
profile = "iec62056-electricity"
address = "12345678"
every   = "5s"
slow    = "5s"

`, p.Port.Name(), PairNumber)
}
