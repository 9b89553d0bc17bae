package rig

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/ptyline"
	"edgegateway/testbench/sim/modbus"
)

// Plant is a small substation on three kinds of line, all simulated behind real sockets and a real pty: a controller
// on Modbus TCP, two energy meters on an RS-485 line at 9600 8N1, and three transmitters behind a serial device server
// (RTU over TCP).
type Plant struct {
	Controller, Meters, Converter *modbus.Server
	Port                          *ptyline.Line // the RS-485 line
	controller, converter         string        // addresses
	cancel                        context.CancelFunc
	wait                          sync.WaitGroup
	once                          sync.Once
}

// NewPlant begins to serve the plant; dir holds the serial port's stable name.
func NewPlant(dir string) (*Plant, error) {
	p := &Plant{Controller: controller(), Meters: meters(), Converter: transmitters()}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	serve := func(s *modbus.Server, how func(context.Context, net.Listener) error) (string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		p.wait.Go(func() { _ = how(ctx, ln) }) // it ends with the context; a broken listener shows as a dead line
		return ln.Addr().String(), nil
	}
	var err error
	if p.controller, err = serve(p.Controller, p.Controller.ServeTCP); err != nil {
		cancel()
		return nil, err
	}
	wire := modbus.Wire{Baud: 19200, Bits: 10, Turnaround: 5 * time.Millisecond}
	if p.converter, err = serve(p.Converter, func(ctx context.Context, ln net.Listener) error {
		return p.Converter.ServeRTUOverTCP(ctx, ln, wire)
	}); err != nil {
		p.Close()
		return nil, err
	}
	if p.Port, err = ptyline.New(dir, "usb-rs485-if00"); err != nil {
		p.Close()
		return nil, err
	}
	p.wait.Go(func() {
		_ = p.Meters.ServeRTU(ctx, p.Port, modbus.Wire{Baud: 9600, Bits: 10, Turnaround: 5 * time.Millisecond})
	})
	return p, nil
}

// Close switches the plant off: connections end, the serial port is unplugged. Closing twice is no error.
func (p *Plant) Close() {
	p.once.Do(func() {
		p.cancel()
		if p.Port != nil {
			p.Port.Close()
		}
		p.wait.Wait()
	})
}

func controller() *modbus.Server {
	s := modbus.New(1)
	u := s.Unit(255)
	u.Generate(modbus.Inputs, 0, 59, modbus.Wave(50, 40, 30*time.Second))
	u.Generate(modbus.Coils, 0, 3, modbus.Square(8*time.Second))
	u.Set(modbus.Holdings, 200, 425)
	u.Latency(2*time.Millisecond, time.Millisecond)
	return s
}

func meters() *modbus.Server {
	s := modbus.New(2)
	for _, id := range []byte{1, 2} {
		u := s.Unit(id)
		u.Generate(modbus.Inputs, 0, 399, modbus.Wave(230, 3, time.Minute))
	}
	return s
}

func transmitters() *modbus.Server {
	s := modbus.New(3)
	for _, id := range []byte{11, 12, 13} {
		s.Unit(id).Generate(modbus.Inputs, 0, 15, modbus.Wave16(215, 20, 40*time.Second))
	}
	return s
}

// Hosts are where the controller and the serial device server listen.
func (p *Plant) Hosts() (controller, converter string) { return p.controller, p.converter }

// Config is the gateway's configuration for this plant and the given broker.
func (p *Plant) Config(gateway string, servers ...string) string {
	quoted := make([]string, len(servers))
	for i, s := range servers {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf(`[gateway]
name = %q
site = "a substation of the testbench"

[platform]
servers = [%s]

[buffer]
limit = "64MiB"

`, gateway, strings.Join(quoted, ", ")) + p.Lines(p.Hosts())
}

// Lines is the part of the configuration that tells of the field: lines, devices and tags. The addresses are the
// plant's Hosts, or what leads there.
func (p *Plant) Lines(controller, converter string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[[line]]
name = "plc"
host = %q

[[line]]
name = "rs485"
port = %q
mode = "9600 8N1"

[[line]]
name    = "converter"
host    = %q
framing = "rtu"

[[device]]
name     = "pump-1"
line     = "plc"
protocol = "modbus"
address  = "255"
every    = "200ms"
writable = ["setpoint"]

`, controller, p.Port.Name(), converter)
	for i := range 20 {
		fmt.Fprintf(&b, "[[tag]]\ndevice = \"pump-1\"\nname = \"flow_%d\"\nat = \"input %d\"\ntype = \"float32\"\nunit = \"m3/h\"\n\n", i+1, 2*i)
	}
	b.WriteString("[[tag]]\ndevice = \"pump-1\"\nname = \"setpoint\"\nat = \"holding 200\"\ntype = \"int16\"\nscale = 0.1\nunit = \"m\"\nlimits = { min = 0, max = 50 }\n\n")
	b.WriteString("[[tag]]\ndevice = \"pump-1\"\nname = \"running\"\nat = \"coil 0\"\ntype = \"bool\"\nclass = \"event\"\n\n")
	for _, id := range []int{1, 2} {
		fmt.Fprintf(&b, "[[device]]\nname = \"feeder-%d\"\nline = \"rs485\"\nprofile = \"eastron-sdm630\"\naddress = \"%d\"\nevery = \"1s\"\nslow = \"5s\"\n\n", id, id)
	}
	for i, id := range []int{11, 12, 13} {
		fmt.Fprintf(&b, "[[device]]\nname = \"temp-%d\"\nline = \"converter\"\nprotocol = \"modbus\"\naddress = \"%d\"\nevery = \"500ms\"\n\n", i+1, id)
		for k := range 4 {
			fmt.Fprintf(&b, "[[tag]]\ndevice = \"temp-%d\"\nname = \"t%d\"\nat = \"input %d\"\ntype = \"int16\"\nscale = 0.1\nunit = \"°C\"\n\n", i+1, k+1, k)
		}
	}
	return b.String()
}
