package modbus

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/testbench/ptyline"
	sim "edgegateway/testbench/sim/modbus"
)

// scan scans with a driver and gives what it found, and what the last step said.
func scan(t *testing.T, d *Driver, o field.ScanOptions) (found []field.Found, done, total, pauses int, err error) {
	t.Helper()
	ctx := field.WithPause(t.Context(), func() { pauses++ })
	err = d.Scan(ctx, o, func(f field.Found) { found = append(found, f) }, func(a, b int) {
		if a < done || a > b {
			t.Errorf("progress went from %d to %d of %d", done, a, b)
		}
		done, total = a, b
	})
	return found, done, total, pauses, err
}

func scanned(s *sim.Server) {
	s.Unit(3).Identify(map[byte]string{0: "Acme", 1: "M3", 2: "1.0"})
	s.Unit(9).ServerID([]byte("\x01\xFFPM-210"))
	s.Unit(9).Hole(sim.Holdings, 0, 0xFFFF) // it answers with an exception: it lives
	s.Unit(9).Set(sim.Inputs, 0, 1)
	inverter := s.Unit(12)
	inverter.Set(sim.Holdings, 40000, 0x5375, 0x6E53)
}

// TestScan finds what answers, and what it is, on TCP behind a gateway that reports absent units.
func TestScan(t *testing.T) {
	for _, framing := range []Framing{TCP, RTU, ASCII} {
		t.Run(framing.String(), func(t *testing.T) {
			s := sim.New(1)
			scanned(s)
			s.Absent(0x0B)
			d := New(overTCP(t, s, framing), framing, Options{})
			found, done, total, pauses, err := scan(t, d, field.ScanOptions{To: "20", Timeout: 5 * time.Second})
			if err != nil || done != 20 || total != 20 || pauses != 20 {
				t.Fatalf("%d of %d, %d pauses, %v", done, total, pauses, err)
			}
			want := []field.Found{
				{Address: "3", Identity: "Acme M3 1.0"}, {Address: "9", Identity: "PM-210"},
				{Address: "12", Identity: "(SunSpec)", Profile: "sunspec"},
			}
			if len(found) != len(want) {
				t.Fatalf("found %+v", found)
			}
			for i, w := range want {
				f := found[i]
				if f.Protocol != "modbus" || f.Address != w.Address || f.Identity != w.Identity || f.Profile != w.Profile {
					t.Errorf("found %+v, want %+v", f, w)
				}
			}
		})
	}
}

// TestScanOfOneThatIsDeaf: a device that answers at any address is told once, with that remark.
func TestScanOfOneThatIsDeaf(t *testing.T) {
	s := sim.New(1)
	for unit := range byte(247) {
		s.Unit(unit + 1)
	}
	found, done, total, _, err := scan(t, New(overTCP(t, s, TCP), TCP, Options{}), field.ScanOptions{Timeout: 5 * time.Second})
	if err != nil || len(found) != deaf || done != total || found[deaf-1].Detail["any_unit"] == "" {
		t.Errorf("%d found, %d of %d, %v", len(found), done, total, err)
	}
}

// TestScanOverModes: each mode is tried at each address, the line is in its own mode in every pause and afterwards.
func TestScanOverModes(t *testing.T) {
	pty, err := ptyline.New(t.TempDir(), "rs485")
	if err != nil {
		t.Fatal(err)
	}
	defer pty.Close()
	s := sim.New(1)
	s.Unit(2)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.ServeRTU(ctx, pty, sim.Wire{}) }()
	defer func() {
		stop()
		<-served
	}()
	own, _ := link.ParseMode("9600 8N1")
	line := link.Serial(pty.Name(), own, link.Options{})
	defer line.Close()
	var mu sync.Mutex
	var seen []string
	s.Watch(func(sim.Seen) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, line.Mode().String())
	})
	d := New(line, RTU, Options{})
	inPause := field.WithPause(t.Context(), func() {
		if line.Mode() != own {
			t.Errorf("in a pause the line is at %v", line.Mode())
		}
	})
	var found []field.Found
	err = d.Scan(inPause, field.ScanOptions{From: "2", To: "2", Modes: []string{"9600 8N1", "19200 8E1"}, Timeout: 10 * time.Second},
		func(f field.Found) { found = append(found, f) }, func(int, int) {})
	if err != nil || line.Mode() != own {
		t.Fatalf("%v, the line is at %v", err, line.Mode())
	}
	mu.Lock()
	defer mu.Unlock()
	for _, mode := range []string{"9600 8N1", "19200 8E1"} {
		if !slices.Contains(seen, mode) {
			t.Errorf("asked at %v, not at %s", seen, mode)
		}
	}
	if len(found) == 0 || found[0].Address != "2" { // a pty has no speed: the device may answer at both
		t.Errorf("found %+v", found)
	}
}

// TestScanComplains about options that cannot be meant, before anything is sent.
func TestScanComplains(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody is there
	d := New(link.TCP(ln.Addr().String(), link.Options{}), RTU, Options{})
	for _, o := range []field.ScanOptions{{From: "0"}, {To: "300"}, {From: "9", To: "3"}, {From: "x"}, {Modes: []string{"9600 8N1"}}} {
		_, _, _, _, err := scan(t, d, o)
		var bad *field.DeviceError
		if !errors.As(err, &bad) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, _, _, _, err := scan(t, d, field.ScanOptions{}); !errors.Is(err, field.ErrLine) {
		t.Errorf("without a line: %v", err)
	}
}
