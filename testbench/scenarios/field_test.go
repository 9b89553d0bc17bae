package scenarios

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/testbench/rig"
	"edgegateway/testbench/sim/modbus"
)

// witness is a unit on the controller's line whose one register counts its reads, so that each record tells which
// read it is of: what the daemon read and what came can be compared without asking the daemon.
type witness struct {
	mu   sync.Mutex
	seen []time.Time // index is the value that was read then
}

const (
	witnessUnit  = 1
	witnessTable = `[[device]]
name     = "witness"
line     = "plc"
protocol = "modbus"
address  = "1"
every    = "100ms"

[[tag]]
device = "witness"
name   = "reads"
at     = "input 0"
type   = "uint16"
`
)

func (w *witness) watch(r modbus.Seen) {
	if r.Unit == witnessUnit {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, r.At)
	}
}

func (w *witness) reads() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func (s *scenario) cmdPlant(ts *testscript.TestScript, args []string) (err error) {
	if s.plant, err = rig.NewPlant(s.dir); err != nil {
		return err
	}
	s.servers["plc"], s.servers["rs485"], s.servers["converter"] = s.plant.Controller, s.plant.Meters, s.plant.Converter
	s.witness = &witness{}
	s.plant.Controller.Unit(witnessUnit).Generate(modbus.Inputs, 0, 0, modbus.Count)
	s.plant.Controller.Watch(s.witness.watch)
	plc, converter := s.plant.Hosts()
	if s.lines["plc"], err = s.link(plc); err != nil {
		return err
	}
	if s.lines["converter"], err = s.link(converter); err != nil {
		return err
	}
	s.tables["plant"] = s.plant.Lines(s.lines["plc"].Address(), s.lines["converter"].Address()) + witnessTable
	return nil
}

func (s *scenario) cmdPair(ts *testscript.TestScript, args []string) (err error) {
	if s.pair, err = rig.NewPair(s.dir); err == nil {
		s.tables["pair"] = s.pair.Lines()
	}
	return err
}

// cmdUnits: unit n has proof values at inputs 0 to 7, and at inputs 8 and 9 one that also counts the unit's reads.
func (s *scenario) cmdUnits(ts *testscript.TestScript, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("units NAME tcp|rtu COUNT [every=…] [timeout=…] [baud=…]")
	}
	name, framing := args[0], args[1]
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	options := map[string]string{"every": "1s", "timeout": "1s", "baud": "0"}
	for _, a := range args[3:] {
		k, v, _ := strings.Cut(a, "=")
		options[k] = v
	}
	baud, err := strconv.Atoi(options["baud"])
	if err != nil {
		return err
	}

	server := modbus.New(uint64(len(s.servers) + 10))
	var b strings.Builder
	for id := 1; id <= count; id++ {
		u := server.Unit(byte(id))
		u.Generate(modbus.Inputs, 0, 7, modbus.Proof)
		u.Generate(modbus.Inputs, 8, 9, modbus.ProofCount)
		fmt.Fprintf(&b, "[[device]]\nname = \"%s-%d\"\nline = %q\nprotocol = \"modbus\"\naddress = \"%d\"\nevery = %q\n\n",
			name, id, name, id, options["every"])
		for a := range 8 {
			fmt.Fprintf(&b, "[[tag]]\ndevice = \"%s-%d\"\nname = \"p%d\"\nat = \"input %d\"\ntype = \"uint16\"\n\n", name, id, a, a)
		}
		fmt.Fprintf(&b, "[[tag]]\ndevice = \"%s-%d\"\nname = \"count\"\nat = \"input 8\"\ntype = \"uint32\"\n\n", name, id)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serve := server.ServeTCP
	if framing == "rtu" {
		wire := modbus.Wire{Baud: baud, Bits: 10, Turnaround: 5 * time.Millisecond}
		if baud == 0 {
			wire = modbus.Wire{}
		}
		serve = func(ctx context.Context, ln net.Listener) error { return server.ServeRTUOverTCP(ctx, ln, wire) }
	}
	ctx, cancel := context.WithCancel(s.ctx)
	before := s.field
	s.field = func() { before(); cancel() }
	s.wait.Go(func() { _ = serve(ctx, ln) })
	link, err := s.link(ln.Addr().String())
	if err != nil {
		return err
	}
	s.servers[name], s.lines[name] = server, link
	s.tables[name] = fmt.Sprintf("[[line]]\nname = %q\nhost = %q\nframing = %q\ntimeout = %q\n\n%s",
		name, link.Address(), framing, options["timeout"], b.String())
	return nil
}

func (s *scenario) cmdLine(ts *testscript.TestScript, args []string) error {
	if len(args) < 2 || s.lines[args[0]] == nil {
		return fmt.Errorf("line NAME FAULT: there is no such line in %q", args)
	}
	s.fault()
	return faulty(s.lines[args[0]], args[1], args[2:]...)
}

func (s *scenario) cmdUnplug(ts *testscript.TestScript, args []string) error {
	s.fault()
	return s.plant.Port.Unplug()
}

func (s *scenario) cmdReplug(ts *testscript.TestScript, args []string) error {
	s.fault()
	return s.plant.Port.Replug()
}

func (s *scenario) cmdUnit(ts *testscript.TestScript, args []string) error {
	if len(args) < 3 || s.servers[args[0]] == nil {
		return fmt.Errorf("unit SERVER ID WORD: there is no such server in %q", args)
	}
	id, err := strconv.ParseUint(args[1], 10, 8)
	if err != nil {
		return err
	}
	u := s.servers[args[0]].Unit(byte(id))
	switch args[2] {
	case "silent":
		s.fault()
		u.Inject(modbus.Fault{Kind: modbus.Silent})
		return nil
	case "answers":
		s.fault()
		u.Clear(modbus.Silent)
		return nil
	case "set", "wrote":
	default:
		return fmt.Errorf("a unit has no word %q", args[2])
	}
	if len(args) < 6 {
		return fmt.Errorf("unit SERVER ID %s TABLE ADDRESS VALUE…", args[2])
	}
	table, err := tableOf(args[3])
	if err != nil {
		return err
	}
	numbers := make([]uint16, 0, len(args)-4)
	for _, a := range args[4:] {
		n, err := strconv.ParseUint(a, 10, 16)
		if err != nil {
			return err
		}
		numbers = append(numbers, uint16(n))
	}
	if args[2] == "set" {
		u.Set(table, numbers[0], numbers[1:]...)
		return nil
	}
	writes := u.Writes()
	if len(writes) == 0 {
		return fmt.Errorf("nothing was written to unit %d", id)
	}
	if w := writes[len(writes)-1]; w.Table != table || w.Address != numbers[0] || !slices.Equal(w.Values, numbers[1:]) {
		return fmt.Errorf("the last write to unit %d was %+v", id, w)
	}
	return nil
}

func tableOf(name string) (modbus.Table, error) {
	for _, t := range []modbus.Table{modbus.Coils, modbus.Discretes, modbus.Inputs, modbus.Holdings} {
		if t.String() == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("there is no table %q", name)
}

func (s *scenario) cmdDisturb(ts *testscript.TestScript, args []string) error {
	if len(args) < 3 || s.servers[args[0]] == nil {
		return fmt.Errorf("disturb SERVER KIND CHANCE [DELAY]: there is no such server in %q", args)
	}
	kind, ok := modbus.ParseKind(args[1])
	if !ok {
		return fmt.Errorf("there is no fault %q", args[1])
	}
	f := modbus.Fault{Kind: kind}
	var err error
	if f.Chance, err = strconv.ParseFloat(args[2], 64); err != nil {
		return err
	}
	if len(args) > 3 {
		if f.Delay, err = time.ParseDuration(args[3]); err != nil {
			return err
		}
	}
	s.fault()
	s.servers[args[0]].Inject(f)
	return nil
}
