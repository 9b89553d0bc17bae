package interop

import (
	"bufio"
	"context"
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
	"edgegateway/testbench/tcpport"
)

// libmodbus compiles the server and starts it.
func libmodbus(t *testing.T, args ...string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("there is no C compiler (Debian: apt install gcc libc6-dev)")
	}
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "libmodbus").Output()
	if err != nil {
		t.Skipf("libmodbus or pkg-config is not installed (Debian: apt install pkg-config libmodbus-dev): %v", err)
	}
	server := filepath.Join(t.TempDir(), "server")
	compile := append([]string{"-o", server, filepath.Join("testdata", "server.c")}, strings.Fields(string(flags))...)
	if out, err := exec.Command(cc, compile...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(server, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed is what it should be
	})
	if word, err := bufio.NewReader(out).ReadString('\n'); word != "ready\n" {
		t.Fatalf("the server said %q, %v", word, err)
	}
}

func TestTheDriverReadsLibmodbus(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		port, err := tcpport.Hold("")
		if err != nil {
			t.Fatal(err)
		}
		defer port.Close()
		_, number, _ := net.SplitHostPort(port.Address())
		libmodbus(t, "tcp", number)
		drive(t, link.TCP(port.Address(), link.Options{Stream: true}), modbus.TCP)
	})
	t.Run("rtu", func(t *testing.T) {
		ours, theirs := newPort(t, "ours"), newPort(t, "theirs")
		run(t, func(ctx context.Context) error { return ptyline.Bridge(ctx, ours, theirs) })
		libmodbus(t, "rtu", theirs.Name())
		mode, err := link.ParseMode("115200 8N1")
		if err != nil {
			t.Fatal(err)
		}
		drive(t, link.Serial(ours.Name(), mode, link.Options{}), modbus.RTU)
	})
}

// drive reads and writes what server.c holds.
func drive(t *testing.T, line link.Line, framing modbus.Framing) {
	t.Helper()
	defer line.Close()
	driver := modbus.New(line, framing, modbus.Options{Timeout: 5 * time.Second})
	bound, err := driver.Bind(field.Device{
		Name: "libmodbus", Protocol: "modbus", Address: "7",
		Tags: []field.Tag{
			{Name: "register", At: "holding 3", Type: "uint16", Write: true},
			{Name: "input", At: "input 99", Type: "uint16"},
			{Name: "level", At: "holding 20", Type: "float32", Write: true},
			{Name: "coil", At: "coil 3", Type: "bool", Write: true},
			{Name: "discrete", At: "discrete 4", Type: "bool"},
			{Name: "beyond", At: "input 100", Type: "uint16"}, // the server has 0 to 99
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	station := bound
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	expect := func(want map[string]field.Value) {
		t.Helper()
		record, err := station.Read(ctx, field.MainGroup)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range record.Group.Points {
			if p.Name == "beyond" {
				if q := record.QualityOf(i); q != field.Exception {
					t.Errorf("beyond the end: %v", q)
				}
				continue
			}
			if got := record.Values[i]; got != want[p.Name] || record.QualityOf(i) != field.Good {
				t.Errorf("%s: %v (%v), want %v", p.Name, got, record.QualityOf(i), want[p.Name])
			}
		}
	}
	values := map[string]field.Value{
		"register": field.Uint(3*257 + 1), "input": field.Uint(99*257 + 1), "level": field.Float32(230.25),
		"coil": field.Bool(true), "discrete": field.Bool(false),
	}
	expect(values)
	written := map[string]field.Value{
		"register": field.Uint(4711), "level": field.Float32(-1.5), "coil": field.Bool(false),
	}
	for tag, v := range written {
		if err := station.(field.Writer).Write(ctx, tag, v); err != nil {
			t.Errorf("write %s: %v", tag, err)
		}
		values[tag] = v
	}
	for range 20 {
		expect(values)
	}
}
