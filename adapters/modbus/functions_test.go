package modbus

import (
	"context"

	"net"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
	sim "edgegateway/testbench/sim/modbus"
)

// overTCP serves the simulator in one framing until the test ends, and gives a line to it.
func overTCP(t *testing.T, s *sim.Server, framing Framing) link.Line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		switch framing {
		case TCP:
			done <- s.ServeTCP(ctx, ln)
		case ASCII:
			done <- s.ServeASCIIOverTCP(ctx, ln, sim.Wire{})
		default:
			done <- s.ServeRTUOverTCP(ctx, ln, sim.Wire{})
		}
	}()
	line := link.TCP(ln.Addr().String(), link.Options{Stream: framing == TCP})
	t.Cleanup(func() {
		_ = line.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return line
}

// TestFunctions: queues, masked writes and identifications over every framing.
func TestFunctions(t *testing.T) {
	for _, framing := range []Framing{RTU, TCP, ASCII} {
		t.Run(framing.String(), func(t *testing.T) {
			s := sim.New(1)
			u := s.Unit(17)
			u.Queue(1246, 440, 4740)
			u.Set(sim.Holdings, 4, 0xABCD)
			u.ServerID([]byte("\x2A\xFFSDM630 v1.2\x00"))
			long := strings.Repeat("x", 200)
			u.Identify(map[byte]string{0: "Eastron", 1: long, 2: "V2.11", 5: "SDM630"})
			station, err := New(overTCP(t, s, framing), framing, Options{}).Bind(field.Device{
				Name: "d", Address: "17", Timeout: 10 * time.Second, Quirks: map[string]string{"write_mask": "true"},
				Tags: []field.Tag{
					{Name: "waiting", At: "fifo 1246", Type: "uint16"},
					{Name: "oldest", At: "fifo 1246 entry 0", Type: "int16", Scale: 0.1},
					{Name: "third", At: "fifo 1246 entry 2", Type: "int16"},
					{Name: "none", At: "fifo 7", Type: "int16"},
					{Name: "bit", At: "holding 4 bit 1", Write: true},
					{Name: "part", At: "holding 4", Type: "uint16", Mask: "0x0FF0", Write: true},
				}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := station.Read(t.Context(), field.MainGroup)
			if err != nil {
				t.Fatal(err)
			}
			want := []struct {
				v field.Value
				q field.Quality
			}{{field.Uint(2), field.Good}, {field.Float64(44), field.Good}, {field.Value{}, field.Invalid}, {field.Value{}, field.Exception},
				{field.Bool(false), field.Good}, {field.Uint(0x0BC0), field.Good}}
			for i, w := range want {
				if r.Values[i] != w.v || r.QualityOf(i) != w.q {
					t.Errorf("%s: %v (%v), want %v (%v)", r.Group.Points[i].Name, r.Values[i], r.QualityOf(i), w.v, w.q)
				}
			}
			d := station.(*Station)
			if err := d.Write(t.Context(), "bit", field.Bool(true)); err != nil {
				t.Error(err)
			}
			if err := d.Write(t.Context(), "part", field.Uint(0x0120)); err != nil {
				t.Error(err)
			}
			if got := u.Get(sim.Holdings, 4); got != 0xA12F {
				t.Errorf("the register is %#x, want 0xa12f", got)
			}
			for _, w := range u.Writes() {
				if w.Function != 22 {
					t.Errorf("written with function %d", w.Function)
				}
			}
			objects, err := d.identify(t.Context())
			if err != nil || objects["vendor"] != "Eastron" || objects["product"] != long || objects["revision"] != "V2.11" || objects["model"] != "SDM630" {
				t.Errorf("identity %v, %v", objects, err)
			}
			if id, err := d.serverID(t.Context()); err != nil || id != "*SDM630 v1.2" {
				t.Errorf("server id %q, %v", id, err)
			}
		})
	}
}

// TestASCIIOfPublishedFrames: the frame and the LRC are those of the facts, not of our codec.
func TestASCIIOfPublishedFrames(t *testing.T) {
	d := New(nil, ASCII, Options{})
	s := &Station{driver: d, unit: 17, packager: d.packager(17)}
	if got := string(s.request(register.Span{Space: register.Holding, Start: 107, Count: 3})); got != ":1103006B00037E\r\n" {
		t.Errorf("%q", got)
	}
}
