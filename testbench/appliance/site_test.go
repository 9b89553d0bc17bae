package appliance_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/appliance"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/sim/modbus"
)

var (
	boot = flag.Bool("boot", false, "boot the machine: minutes, QEMU and root")
	arch = flag.String("arch", "amd64", "the machine's architecture: amd64 or arm64")
)

// patience bounds every wait for the machine. It is far beyond what any of them takes: without KVM, and with two cores
// for many, a machine may be a hundred times slower than one's own.
const patience = 15 * time.Minute

// hostAddress is this machine, as the guest sees it.
const hostAddress = "10.0.2.2"

// name is the gateway's.
const name = "appliance-gw"

// site is a machine with a gateway in it, its field and its platform.
type site struct {
	t        *testing.T
	ctx      context.Context
	machine  *appliance.Machine
	platform *broker.Broker
	recorder *consumer.Recorder
	plc      string // address of the controller on Modbus TCP
	running  sync.WaitGroup

	mu      sync.Mutex
	records map[string]int                        // by device
	last    map[string]string                     // device → trust of the newest record that was no backfill
	trusts  map[string]int                        // records by trust
	values  map[string]map[string]json.RawMessage // device → values of the newest record
	waiting chan struct{}                         // closed and replaced when a record comes
}

func newSite(t *testing.T, ctx context.Context) *site {
	t.Helper()
	m, err := appliance.New(ctx, *arch)
	if errors.Is(err, appliance.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, ctx: ctx, machine: m, records: map[string]int{}, last: map[string]string{}, trusts: map[string]int{},
		values: map[string]map[string]json.RawMessage{}, waiting: make(chan struct{})}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		s.running.Wait()
	})
	s.recorder = consumer.New(consumer.Options{Prefix: "gw/" + name, FromStart: true, Record: s.took})
	if s.platform, err = broker.New(broker.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.platform.Tap("#", func(m broker.Message) { s.recorder.Take(m.Topic, m.Payload, m.Retained) }); err != nil {
		t.Fatal(err)
	}
	s.running.Go(func() { _ = s.platform.Run(ctx) }) // it ends with the test
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	s.plc = net.JoinHostPort(hostAddress, port)
	s.running.Go(func() { _ = field(1).ServeTCP(ctx, ln) })
	s.running.Go(func() { s.plug(ctx, "rs485", field(2)) })
	return s
}

// field is a device with 20 float32 values from input 0 on.
func field(seed uint64) *modbus.Server {
	s := modbus.New(seed)
	s.Unit(1).Generate(modbus.Inputs, 0, 39, modbus.Wave(230, 3, time.Minute))
	return s
}

// plug serves a device on one of the machine's serial ports until the context ends, over the machine's restarts.
func (s *site) plug(ctx context.Context, port string, device *modbus.Server) {
	var dialer net.Dialer
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "unix", s.machine.Socket(port))
		if err == nil {
			_ = device.ServeRTU(ctx, conn, modbus.Wire{Baud: 9600, Bits: 10, Turnaround: 5 * time.Millisecond}) // the machine may go at any time
			conn.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *site) took(r consumer.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.Values) > 0 {
		s.records[r.Device]++
		s.trusts[r.Trust]++
		s.values[r.Device] = r.Values
		if !r.Backfill {
			s.last[r.Device] = r.Trust
		}
	}
	close(s.waiting)
	s.waiting = make(chan struct{})
}

// count is how many records with values a device has sent.
func (s *site) count(device string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[device]
}

// reach waits until so many more records of each device came, and tells how long that took.
func (s *site) reach(t *testing.T, more int, devices ...string) time.Duration {
	t.Helper()
	begin := time.Now()
	want := map[string]int{}
	for _, d := range devices {
		want[d] = s.count(d) + more
	}
	s.await(t, fmt.Sprintf("%d more records of %v", more, devices), func() bool {
		for d, n := range want {
			if s.records[d] < n {
				return false
			}
		}
		return true
	})
	return time.Since(begin)
}

// await waits until ok, which is called with the records locked, whenever one came.
func (s *site) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		s.mu.Lock()
		done, changed := ok(), s.waiting
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			s.mu.Lock()
			t.Errorf("records so far: %v, newest: %v", s.records, s.last)
			s.mu.Unlock()
			s.diagnose(t)
			t.Fatalf("not within %s: %s", patience, what)
		case <-s.ctx.Done():
			t.Fatalf("%s: %v", what, s.ctx.Err())
		}
	}
}

// diagnose prints what the machine knows.
func (s *site) diagnose(t *testing.T) {
	t.Helper()
	for _, command := range []string{"systemctl status --no-pager -l gatewayd", "gatewayd status", "journalctl --no-pager -n 60", "ls -l /dev/serial/by-id /dev/ttyS1 /dev/ttyUSB*"} {
		out, err := s.machine.Run(s.ctx, time.Minute, "sh", "-c", command)
		t.Logf("%s (%v)\n%s", command, err, out)
	}
}

// sh runs a line of shell in the guest, which must succeed.
func (s *site) sh(t *testing.T, line string) string {
	t.Helper()
	out, err := s.machine.Run(s.ctx, patience, "sh", "-ec", line)
	if err != nil {
		s.diagnose(t)
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// until repeats a line of shell in the guest until it succeeds.
func (s *site) until(t *testing.T, what, line string) time.Duration {
	t.Helper()
	begin := time.Now()
	out, err := s.machine.Run(s.ctx, patience, "sh", "-c", "until "+line+"; do sleep 0.2; done")
	if err != nil {
		s.diagnose(t)
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	return time.Since(begin)
}

// configure writes the gateway's configuration, with more lines and devices after the first two.
func (s *site) configure(t *testing.T, more string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.platform.Address())
	text := fmt.Sprintf("[gateway]\nname = %q\n\n[platform]\nservers = [%q]\n\n[buffer]\nlimit = \"64MiB\"\n\n", name, "mqtt://"+net.JoinHostPort(hostAddress, port)) +
		fmt.Sprintf("[[line]]\nname = \"plc\"\nhost = %q\n\n", s.plc) + device("pump", "plc", 20) +
		fmt.Sprintf("[[line]]\nname = \"rs485\"\nport = %q\nmode = \"9600 8N1\"\n\n", s.machine.Serial()) + device("meter", "rs485", 4) + more
	if err := s.machine.Put(s.ctx, "/etc/gatewayd/gatewayd.toml", "0640", []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// device is the configuration of a device with so many tags.
func device(name, line string, tags int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[device]]\nname = %q\nline = %q\nprotocol = \"modbus\"\naddress = \"1\"\nevery = \"1s\"\n\n", name, line)
	for i := range tags {
		fmt.Fprintf(&b, "[[tag]]\ndevice = %q\nname = \"v%d\"\nat = \"input %d\"\ntype = \"float32\"\n\n", name, i, 2*i)
	}
	return b.String()
}

// status asks the gateway itself.
func (s *site) status(t *testing.T) health.Status {
	t.Helper()
	out, err := s.machine.Run(s.ctx, time.Minute, "sh", "-c", "gatewayd status --json || [ $? = 1 ]") // 1: something is wrong, and it says what
	var st health.Status
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	if err != nil {
		s.diagnose(t)
		t.Fatalf("gatewayd status: %v\n%s", err, out)
	}
	return st
}

// books holds the platform's books against the contract: no gap without an explanation, nothing that breaks it.
func (s *site) books(t *testing.T) {
	t.Helper()
	b := s.recorder.Books()
	t.Logf("books: %d records, %d as backfill, %d repeats dropped, %d numbers explained, %d declared lost, in %d messages",
		b.Unique, b.Backfilled, b.Repeats, b.Explained, b.Declared, b.Messages)
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	if b.Declared > 0 {
		t.Errorf("%d records were declared lost", b.Declared)
	}
}

// packages builds the .deb of this tree, and one that is newer.
func packages(t *testing.T, ctx context.Context) (older, newer string) {
	t.Helper()
	dir := t.TempDir()
	for _, version := range []string{"0.9.0", "0.9.1"} {
		cmd := exec.CommandContext(ctx, filepath.Join("..", "..", "packaging", "build"), "-o", dir, "-v", version, "-a", *arch, "-p", "deb")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("packaging/build: %v\n%s", err, out)
		}
	}
	found := func(version string) string {
		names, err := filepath.Glob(filepath.Join(dir, "gatewayd_"+version+"-*.deb"))
		if err != nil || len(names) != 1 {
			t.Fatalf("packaging/build made %q for %s (%v)", names, version, err)
		}
		return names[0]
	}
	return found("0.9.0"), found("0.9.1")
}

// send puts a file of this machine into the guest.
func (s *site) send(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = s.machine.Put(s.ctx, to, "0644", text)
	}
	if err != nil {
		t.Fatal(err)
	}
}
