package interop

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus"
	"edgegateway/testbench/ptyline"
	sim "edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/tcpport"
)

// python is the system's own interpreter, where Debian's packages are.
const python = "/usr/bin/python3"

// needPymodbus skips where pymodbus or what its server wants is missing.
func needPymodbus(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import pymodbus.server, pymodbus.client").CombinedOutput(); err != nil {
		t.Skipf("pymodbus is not installed (Debian: apt install python3-pymodbus python3-serial python3-serial-asyncio): %v\n%s", err, out)
	}
}

// pymodbus starts the server and waits until it serves.
func pymodbus(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(python, append([]string{filepath.Join("testdata", "pymodbus_server.py")}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed is what it should be
	})
	if word, err := bufio.NewReader(out).ReadString('\n'); word != "ready\n" {
		t.Fatalf("the server said %q, %v\n%s", word, err, complaints.String())
	}
}

// TestTheDriverReadsPymodbus reads, writes, and finds out what it is.
func TestTheDriverReadsPymodbus(t *testing.T) {
	needPymodbus(t)
	t.Run("tcp", func(t *testing.T) {
		port, err := tcpport.Hold("")
		if err != nil {
			t.Fatal(err)
		}
		defer port.Close()
		_, number, _ := net.SplitHostPort(port.Address())
		pymodbus(t, "tcp", number)
		dial(t, port.Address())
		identify(t, link.TCP(port.Address(), link.Options{Stream: true}), modbus.TCP)
		drive(t, link.TCP(port.Address(), link.Options{Stream: true}), modbus.TCP)
	})
	for _, framing := range []modbus.Framing{modbus.RTU, modbus.ASCII} {
		t.Run(framing.String(), func(t *testing.T) {
			ours, theirs := newPort(t, "ours"), newPort(t, "theirs")
			run(t, func(ctx context.Context) error { return ptyline.Bridge(ctx, ours, theirs) })
			pymodbus(t, framing.String(), theirs.Name())
			mode, err := link.ParseMode("115200 8N1")
			if err != nil {
				t.Fatal(err)
			}
			identify(t, link.Serial(ours.Name(), mode, link.Options{}), framing)
			drive(t, link.Serial(ours.Name(), mode, link.Options{}), framing)
		})
	}
}

// dial waits until somebody listens: the server says that it is ready just before it does.
func dial(t *testing.T, address string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// identify scans for the server's unit and wants its own words for what it is.
func identify(t *testing.T, line link.Line, framing modbus.Framing) {
	t.Helper()
	defer line.Close()
	var found []field.Found
	err := modbus.New(line, framing, modbus.Options{}).Scan(t.Context(), field.ScanOptions{From: "7", To: "7", Timeout: 20 * time.Second},
		func(f field.Found) { found = append(found, f) }, func(int, int) {})
	if err != nil || len(found) != 1 || found[0].Detail["vendor"] != "Pymodbus" || found[0].Detail["revision"] != "3.0" {
		t.Errorf("found %+v, %v", found, err)
	}
}

// TestPymodbusReadsTheSimulator is the other way round, over every framing.
func TestPymodbusReadsTheSimulator(t *testing.T) {
	needPymodbus(t)
	want := strings.Join([]string{
		"holdings [11, 22, 33]", "inputs [44]", "coils [True, False, True, True]", "hole 2", "write False", "both [11, 22]",
		"mask False", "masked [23]", "identity ['Acme', 'M3', '1.0']", "server PM-21", "",
	}, "\n")
	for _, kind := range []string{"tcp", "rtu", "ascii"} {
		t.Run(kind, func(t *testing.T) {
			s := simulator()
			u := s.Unit(7)
			u.Set(sim.Holdings, 4, 0x12)
			u.Identify(map[byte]string{0: "Acme", 1: "M3", 2: "1.0"})
			u.ServerID([]byte("PM-210\xFF"))
			where := ""
			if kind == "tcp" {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				_, where, _ = net.SplitHostPort(ln.Addr().String())
				run(t, func(ctx context.Context) error { return s.ServeTCP(ctx, ln) })
			} else {
				line := newPort(t, "rs485")
				where = line.Name()
				run(t, func(ctx context.Context) error {
					if kind == "ascii" {
						return s.ServeASCII(ctx, line, sim.Wire{})
					}
					return s.ServeRTU(ctx, line, sim.Wire{})
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, python, filepath.Join("testdata", "pymodbus_client.py"), kind, where).Output()
			var failed *exec.ExitError
			if errors.As(err, &failed) {
				t.Fatalf("%v\n%s%s", err, out, failed.Stderr)
			}
			if string(out) != want {
				t.Errorf("it read\n%swant\n%s", out, want)
			}
		})
	}
}
