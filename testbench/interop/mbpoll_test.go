package interop

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgegateway/testbench/ptyline"
	"edgegateway/testbench/sim/modbus"
)

// run runs f until the test ends, and reports its error.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newPort(t *testing.T, name string) *ptyline.Line {
	t.Helper()
	l, err := ptyline.New(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func simulator() *modbus.Server {
	s := modbus.New(1)
	u := s.Unit(7)
	u.Set(modbus.Holdings, 10, 11, 22, 33)
	u.Set(modbus.Inputs, 20, 44)
	hi, lo := modbus.Float32(230.25)
	u.Set(modbus.Inputs, 30, hi, lo)
	u.Set(modbus.Coils, 0, 1, 0, 1, 1)
	u.Set(modbus.Discretes, 5, 1)
	u.Hole(modbus.Holdings, 50, 59)
	return s
}

// mbpoll asks once and gives the values that it prints.
func mbpoll(t *testing.T, where, args string) (values []string, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// Wherever the device or host stands, options may follow it; values to be written must be last.
	words := append([]string{"-0", "-1", "-o", "5", "-a", "7"}, strings.Fields(where+" "+args)...)
	out, err := exec.CommandContext(ctx, "mbpoll", words...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("mbpoll %s: %v\n%s", words, err, out)
	}
	for _, m := range regexp.MustCompile(`(?m)^\[\d+\]:\s+(\S+)`).FindAllStringSubmatch(string(out), -1) {
		values = append(values, m[1])
	}
	return values, string(out)
}

func TestMbpollReadsTheSimulator(t *testing.T) {
	if _, err := exec.LookPath("mbpoll"); err != nil {
		t.Skip("mbpoll is not installed (Debian: apt install mbpoll)")
	}
	s := simulator()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	run(t, func(ctx context.Context) error { return s.ServeTCP(ctx, ln) })

	line := newPort(t, "rs485")
	run(t, func(ctx context.Context) error { return s.ServeRTU(ctx, line, modbus.Wire{Baud: 115200, Bits: 10}) })

	for name, where := range map[string]string{
		"tcp": "-m tcp -p " + port + " 127.0.0.1",
		"rtu": "-m rtu -b 115200 -P none " + line.Name(),
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				what, args string
				want       []string
			}{
				{"holding registers", "-t 4 -r 10 -c 3", []string{"11", "22", "33"}},
				{"an input register", "-t 3 -r 20", []string{"44"}},
				{"a float", "-t 3:float -B -r 30", []string{"230.25"}},
				{"coils", "-t 0 -r 0 -c 4", []string{"1", "0", "1", "1"}},
				{"a discrete input", "-t 1 -r 5", []string{"1"}},
				{"as many as there may be", "-t 4 -r 100 -c 125", strings.Fields(strings.Repeat("0 ", 125))},
			} {
				if got, out := mbpoll(t, where, c.args); !reflect.DeepEqual(got, c.want) {
					t.Errorf("%s: %v, want %v\n%s", c.what, got, c.want, out)
				}
			}
			if _, out := mbpoll(t, where, "-t 4 -r 50"); !strings.Contains(out, "Illegal data address") {
				t.Errorf("a hole:\n%s", out)
			}
			u, before := s.Unit(7), len(s.Unit(7).Writes())
			for _, args := range []string{"-t 4 -r 70 -- 9", "-t 4 -r 71 -- 10 11", "-t 0 -r 80 -- 1", "-t 0 -r 81 -- 1 0 1"} {
				if _, out := mbpoll(t, where, args); !strings.Contains(out, "Written") {
					t.Errorf("%s:\n%s", args, out)
				}
			}
			var wrote []string
			for _, w := range u.Writes()[before:] {
				wrote = append(wrote, fmt.Sprint(w.Function, " ", w.Table, " ", w.Address, " ", w.Values))
			}
			want := []string{"6 holding 70 [9]", "16 holding 71 [10 11]", "5 coil 80 [1]", "15 coil 81 [1 0 1]"}
			if !reflect.DeepEqual(wrote, want) {
				t.Errorf("the witness saw %q, want %q", wrote, want)
			}
		})
	}
	if s.Garbage() != 0 || s.Early() != 0 {
		t.Errorf("%d bytes of garbage, %d early requests", s.Garbage(), s.Early())
	}
}
