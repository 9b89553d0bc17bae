package rig

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/bus"
	"edgegateway/testbench/ptyline"
	"edgegateway/testbench/sim/dlt645"
	"edgegateway/testbench/sim/mbus"
	"edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/sim/port"
)

// Mixed is one pair of wires, as slow as a real one, with eight devices of three protocols: four on Modbus at 9600 8N1,
// two DL/T 645 meters and two M-Bus meters at 2400 8E1. They take as long for an answer as the gateway's bus budget
// expects of devices that it has not met, and their answers are as long.
type Mixed struct {
	Port    *ptyline.Line
	Modbus  *modbus.Server
	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
}

// NewMixed begins to serve the line; dir holds the serial port's stable name.
func NewMixed(dir string) (*Mixed, error) {
	line, err := ptyline.New(dir, "usb-mixed-if00")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Mixed{Port: line, cancel: cancel, Modbus: modbus.New(1)}
	for id := byte(1); id <= 4; id++ {
		m.Modbus.Unit(id).Generate(modbus.Inputs, 0, 19, modbus.Wave(230, 3, time.Minute))
	}
	slow := 11 * time.Second / 2400
	meters, wired := dlt645.New(slow), mbus.New(slow)
	for i := range 2 {
		meters.Add(fmt.Sprintf("%012d", i+1), false).Wait(60*time.Millisecond).Set("0201FF00", "2301", "2298", "2310")
		// 21 bytes of frame and header, and 79 of records
		wired.Add(byte(5+i), fmt.Sprintf("%08d", i+1), "ABC", 1, 7).Wait(60 * time.Millisecond).
			Records("0C 13 45 23 01 00" + strings.Repeat(" 4C 13 11 00 00 00", 12) + " 2F")
	}
	b := bus.New(line)
	fast, first, second := b.Tap("9600 8N1"), b.Tap("2400 8E1"), b.Tap("2400 8E1")
	m.running.Go(func() { _ = b.Run(ctx) }) // it and the others end with the context; a broken one shows as a dead line
	m.running.Go(func() {
		_ = m.Modbus.ServeRTU(ctx, fast, modbus.Wire{Baud: 9600, Bits: 10, Turnaround: 5 * time.Millisecond})
	})
	m.running.Go(func() { _ = port.Serve(ctx, first, meters) })
	m.running.Go(func() { _ = port.Serve(ctx, second, wired) })
	return m, nil
}

// Close switches the devices off and unplugs the port. Closing twice is no error.
func (m *Mixed) Close() {
	m.once.Do(func() {
		m.cancel()
		m.running.Wait()
		m.Port.Close()
	})
}

// Lines is the part of a configuration that tells of the line.
func (m *Mixed) Lines() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[line]]\nname = \"mixed\"\nport = %q\nmode = \"9600 8N1\"\n\n", m.Port.Name())
	device := func(name, protocol, address, every, more string) {
		fmt.Fprintf(&b, "[[device]]\nname = %q\nline = \"mixed\"\nprotocol = %q\naddress = %q\nevery = %q\n%s\n\n", name, protocol, address, every, more)
	}
	tag := func(device, name, at, more string) {
		fmt.Fprintf(&b, "[[tag]]\ndevice = %q\nname = %q\nat = %q\n%s\n\n", device, name, at, more)
	}
	for i := range 4 {
		name := fmt.Sprint("modbus-", i+1)
		device(name, "modbus", fmt.Sprint(i+1), "2s", `timeout = "300ms"`)
		for k := range 10 {
			tag(name, fmt.Sprint("v", k), fmt.Sprint("input ", 2*k), `type = "float32"`)
		}
	}
	for i := range 2 {
		name := fmt.Sprint("dlt-", i+1)
		device(name, "dlt645", fmt.Sprintf("%012d", i+1), "3s", `mode = "2400 8E1"`)
		for k := range 3 {
			tag(name, fmt.Sprint("u", k+1), fmt.Sprintf("02010%d00", k+1), "")
		}
		name = fmt.Sprint("mbus-", i+1)
		device(name, "mbus", fmt.Sprint(5+i), "6s", `mode = "2400 8E1"`)
		tag(name, "volume", "volume", "")
	}
	return b.String()
}
