package modbus_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus"
	"edgegateway/testbench/ptyline"
	sim "edgegateway/testbench/sim/modbus"
)

var polls = flag.Int("polls", 0, "polls of TestNotOneWrongValue on each kind of line; 0 for 10,000 on TCP, and fewer on the others")

// serveTCP serves on a port of the kernel's choosing until the test ends.
func serveTCP(t testing.TB, serve func(context.Context, net.Listener) error) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// opened closes the line when the test ends, before what serves it.
func opened[L link.Line](t testing.TB, l L) link.Line {
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func tcpLine(t testing.TB, s *sim.Server) link.Line {
	return opened(t, link.TCP(serveTCP(t, s.ServeTCP), link.Options{Stream: true}))
}

func rtuOverTCPLine(t testing.TB, s *sim.Server) link.Line {
	serve := func(ctx context.Context, ln net.Listener) error { return s.ServeRTUOverTCP(ctx, ln, sim.Wire{}) }
	return opened(t, link.TCP(serveTCP(t, serve), link.Options{}))
}

func serialLine(t testing.TB, s *sim.Server, w sim.Wire, mode string) link.Line {
	t.Helper()
	pty, err := ptyline.New(t.TempDir(), "rs485")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeRTU(ctx, pty, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		_ = pty.Close()
	})
	m, err := link.ParseMode(mode)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, link.Serial(pty.Name(), m, link.Options{}))
}

// meter is one bound device and what is known of it.
type meter struct {
	unit    byte
	first   uint16 // address of its first value; five follow each other, two registers each
	station field.Station
}

const values = 5 // of one meter

func bindMeter(t testing.TB, d field.Driver, unit byte, first uint16, timeout time.Duration) meter {
	t.Helper()
	dev := field.Device{Name: fmt.Sprintf("meter-%d-%d", unit, first), Address: fmt.Sprint(unit), Timeout: timeout}
	for i := range uint16(values) {
		dev.Tags = append(dev.Tags, field.Tag{Name: fmt.Sprintf("v%d", i), At: fmt.Sprintf("input %d", first+2*i), Type: "uint32"})
	}
	s, err := d.Bind(dev)
	if err != nil {
		t.Fatal(err)
	}
	return meter{unit, first, s}
}

// TestNotOneWrongValue polls through late, foreign, torn, noisy and wrong answers, with addresses that alternate, so
// that every answer would fit the next request too. A value counts as wrong when it belongs to another unit or
// address, or when the unit gave it before it was asked.
func TestNotOneWrongValue(t *testing.T) {
	const timeout = 40 * time.Millisecond
	for _, c := range []struct {
		name    string
		framing modbus.Framing
		polls   int
		line    func(testing.TB, *sim.Server) link.Line
	}{
		{"tcp", modbus.TCP, 10_000, tcpLine},
		{"rtu over tcp", modbus.RTU, 1_500, rtuOverTCPLine},
		{"serial", modbus.RTU, 500, func(t testing.TB, s *sim.Server) link.Line {
			return serialLine(t, s, sim.Wire{Baud: 115200, Bits: 10, Turnaround: time.Millisecond}, "115200 8N1")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := c.polls
			if *polls > 0 {
				n = *polls
			}
			server := sim.New(42)
			unanswered := []sim.Kind{sim.Silent, sim.Short, sim.Long, sim.BadCRC}
			if c.framing == modbus.RTU { // TCP has no checksum of ours
				unanswered = append(unanswered, sim.NoiseBetween)
			}
			for _, k := range unanswered {
				server.Inject(sim.Fault{Kind: k, Chance: 0.01, Count: 1 + n/5000}) // each costs the guard: no answer comes
			}
			var meters []meter
			// The guard is long beside the lateness: on a busy machine the simulator itself is late.
			d := modbus.New(c.line(t, server), c.framing, modbus.Options{Guard: 20 * timeout})
			// Foreign frames come from the next unit. It must not be one of ours: a frame in the name of the unit that was
			// asked, with what was asked, is its answer.
			for unit := byte(1); unit <= 5; unit += 2 {
				u := server.Unit(unit)
				u.Generate(sim.Inputs, 0, 999, sim.ProofCount)
				for _, f := range []sim.Fault{
					{Kind: sim.Late, Chance: 0.005, Delay: timeout + timeout/4},
					{Kind: sim.Late, Chance: 0.005, Delay: 2 * timeout},
					{Kind: sim.Foreign, Chance: 0.05},
					{Kind: sim.Split, Chance: 0.03, Delay: time.Millisecond},
					{Kind: sim.ExceptionSplit, Chance: 0.01, Delay: 2 * time.Millisecond},
				} {
					u.Inject(f)
				}
				if c.framing == modbus.RTU {
					u.Inject(sim.Fault{Kind: sim.NoiseBefore, Chance: 0.03})
					u.Inject(sim.Fault{Kind: sim.NoiseAfter, Chance: 0.03})
					u.Inject(sim.Fault{Kind: sim.Echo, Chance: 0.03})
				}
				for first := uint16(0); first < 600; first += 200 {
					meters = append(meters, bindMeter(t, d, unit, first, timeout))
				}
			}
			good, wrong := 0, 0
			for i := range n {
				m := meters[i/2%len(meters)]
				if i%2 == 1 { // the same unit again, at another address
					m = meters[(i/2+1)%3+i/2%len(meters)/3*3]
				}
				counts := server.Unit(m.unit).Counts()
				before := counts.Functions[4] - counts.Faults[sim.ExceptionSplit]
				r, err := m.station.Read(t.Context(), field.MainGroup)
				if err != nil {
					continue // no answer: the faults that we asked for
				}
				for j, v := range r.Values {
					if r.QualityOf(j) != field.Good {
						continue
					}
					count, ok := sim.CheckProofCount(m.unit, m.first+2*uint16(j), uint32(v.Bits()))
					if !ok || int16(count-uint16(before)) < 0 {
						wrong++
						t.Errorf("poll %d: unit %d, address %d: %#x, which is another's or an old one (%d reads before)", i, m.unit, m.first+2*uint16(j), v.Bits(), before)
					}
				}
				if r.Quality == nil {
					good++
				}
			}
			var total modbus.Stats
			for _, m := range meters {
				s := m.station.(*modbus.Station).Stats()
				total.Requests += s.Requests
				total.Late += s.Late
				total.Timeouts += s.Timeouts
				total.Garbage += s.Garbage
				total.Exceptions += s.Exceptions
			}
			t.Logf("%d polls: %d good, %d wrong values; %+v", n, good, wrong, total)
			if good < n/2 || total.Late == 0 || total.Garbage == 0 || total.Timeouts == 0 || total.Exceptions == 0 {
				t.Errorf("the faults did not fall as they were meant to: %d of %d good, %+v", good, n, total)
			}
		})
	}
}

// TestWholeWay reads and writes every kind of point through a real line.
func TestWholeWay(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing modbus.Framing
		line    func(testing.TB, *sim.Server) link.Line
	}{
		{"tcp", modbus.TCP, tcpLine},
		{"rtu over tcp", modbus.RTU, rtuOverTCPLine},
		{"serial", modbus.RTU, func(t testing.TB, s *sim.Server) link.Line { return serialLine(t, s, sim.Wire{}, "9600 8E1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := sim.New(1)
			u := server.Unit(17)
			u.MaxRegisters(20)
			u.Hole(sim.Holdings, 30, 30)
			u.Set(sim.Holdings, 25, 1, 2, 3, 4, 5)
			u.Set(sim.Discretes, 7, 1)
			d := modbus.New(c.line(t, server), c.framing, modbus.Options{})
			tags := []field.Tag{
				{Name: "coil", At: "coil 3", Write: true},
				{Name: "door", At: "discrete 7"},
				{Name: "setpoint", At: "holding 0", Type: "int16", Scale: 0.1, Write: true},
				{Name: "float", At: "holding 2", Type: "float32", Order: "CDAB", Write: true},
				{Name: "bit", At: "holding 4 bit 9", Write: true},
				{Name: "gone", At: "holding 30", Type: "uint16"},
				{Name: "far", At: "holding 29", Type: "uint16"},
			}
			station, err := d.Bind(field.Device{Name: "pump", Address: "17", Tags: tags, Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for tag, v := range map[string]field.Value{
				"coil": field.Bool(true), "setpoint": field.Float64(-12.3), "float": field.Float32(1.5), "bit": field.Bool(true),
			} {
				if err := station.(field.Writer).Write(t.Context(), tag, v); err != nil {
					t.Errorf("writing %s: %v", tag, err)
				}
			}
			want := []field.Value{field.Bool(true), field.Bool(true), field.Float64(-12.3), field.Float32(1.5), field.Bool(true), {}, field.Uint(5)}
			for range 2 {
				r, err := station.Read(t.Context(), field.MainGroup)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range r.Values {
					if q := r.QualityOf(i); v != want[i] || (q == field.Exception) != (tags[i].Name == "gone") {
						t.Errorf("%s is %v with quality %v, want %v", tags[i].Name, v, q, want[i])
					}
				}
			}
			if st := station.(*modbus.Station).Stats(); st.Refused != 1 || st.Timeouts+st.Garbage != 0 {
				t.Errorf("%+v", st)
			}
			if n := server.Garbage(); n != 0 {
				t.Errorf("the simulator could not read %d bytes of what we sent", n)
			}
		})
	}
}

// TestUnits: one socket, many units: what is asked of one is never told by another.
func TestUnits(t *testing.T) {
	server := sim.New(7)
	d := modbus.New(tcpLine(t, server), modbus.TCP, modbus.Options{})
	var stations []field.Station
	for unit := range byte(10) {
		server.Unit(unit+1).Set(sim.Inputs, 0, uint16(unit+1))
		s, err := d.Bind(field.Device{Name: "u", Address: fmt.Sprint(unit + 1), Timeout: 5 * time.Second, Tags: []field.Tag{{Name: "x", At: "input 0", Type: "uint16"}}})
		if err != nil {
			t.Fatal(err)
		}
		stations = append(stations, s)
	}
	for round := range 20 {
		for i, s := range stations {
			r, err := s.Read(t.Context(), field.MainGroup)
			if err != nil || r.Values[0] != field.Uint(uint64(i+1)) {
				t.Fatalf("round %d, unit %d: %v, %v", round, i+1, r.Values, err)
			}
		}
	}
}

// BenchmarkRead reads 125 registers through driver and line over loopback, beside a bare socket that moves the same
// bytes: the ratio is what both cost together.
func BenchmarkRead(b *testing.B) {
	server := sim.New(1)
	address := serveTCP(b, server.ServeTCP)
	server.Unit(1)
	var bare time.Duration
	b.Run("socket", func(b *testing.B) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		request := []byte{0, 0, 0, 0, 0, 6, 1, 4, 0, 0, 0, 125}
		answer := make([]byte, 9+250)
		for i := 0; b.Loop(); i++ {
			binary.BigEndian.PutUint16(request, uint16(i))
			if _, err := c.Write(request); err != nil {
				b.Fatal(err)
			}
			for n := 0; n < len(answer); {
				m, err := c.Read(answer[n:])
				if err != nil {
					b.Fatal(err)
				}
				n += m
			}
		}
		bare = b.Elapsed() / time.Duration(b.N)
	})
	b.Run("driver", func(b *testing.B) {
		l := opened(b, link.TCP(address, link.Options{Stream: true}))
		dev := field.Device{Name: "d", Address: "1"}
		for i := range 125 {
			dev.Tags = append(dev.Tags, field.Tag{Name: fmt.Sprint(i), At: fmt.Sprintf("input %d", i), Type: "uint16"})
		}
		s, err := modbus.New(l, modbus.TCP, modbus.Options{}).Bind(dev)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.Read(b.Context(), field.MainGroup); err != nil {
				b.Fatal(err)
			}
		}
		if bare > 0 {
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(bare), "×socket")
		}
	})
}

// BenchmarkWire polls over a pty at the wire's pace, with a turnaround of 5 ms, and reports how much of what the wire
// allows is used: 8 characters out, 5 and the data back, the turnaround and the silence of t3.5.
func BenchmarkWire(b *testing.B) {
	const turnaround = 5 * time.Millisecond
	for _, baud := range []int{9600, 115200} {
		for _, quantity := range []int{10, 125} {
			b.Run(fmt.Sprintf("%d/%d", baud, quantity), func(b *testing.B) {
				server := sim.New(1)
				server.Unit(1)
				l := serialLine(b, server, sim.Wire{Baud: baud, Bits: 10, Turnaround: turnaround}, fmt.Sprintf("%d 8N1", baud))
				dev := field.Device{Name: "d", Address: "1"}
				for i := range quantity {
					dev.Tags = append(dev.Tags, field.Tag{Name: fmt.Sprint(i), At: fmt.Sprintf("holding %d", i), Type: "uint16"})
				}
				s, err := modbus.New(l, modbus.RTU, modbus.Options{}).Bind(dev)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := s.Read(b.Context(), field.MainGroup); err != nil {
						b.Fatal(err)
					}
				}
				t := l.Timing()
				wire := time.Duration(13+2*quantity)*t.Char + max(t.Silence, turnaround) + t.Silence
				b.ReportMetric(100*float64(wire)*float64(b.N)/float64(b.Elapsed()), "%wire")
			})
		}
	}
}
