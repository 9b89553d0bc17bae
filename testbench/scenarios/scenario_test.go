package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/testbench/rig"
	"edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/wan"
)

// key is under what a script's environment keeps its scenario.
type key struct{}

// scenario is all that one script has running. Its words are called one at a time.
type scenario struct {
	binary string
	dir    string // the script's own; box below it is the daemon's
	box    string

	ctx  context.Context // ends with the script
	stop context.CancelFunc
	wait sync.WaitGroup

	plant   *rig.Plant
	pair    *rig.Pair
	mixed   *rig.Mixed
	field   func()                    // switches units off
	servers map[string]*modbus.Server // by name
	lines   map[string]*wan.Link      // by name
	tables  map[string]string         // drop-ins of the configuration, by name
	witness *witness

	platforms []*platform
	authority *authority

	daemon *rig.Daemon
	runs   []*run
	mark   time.Time // of the last fault that was switched on or off
	off    time.Time // when the field was switched off for good
}

func newScenario(env *testscript.Env, binary string) error {
	s := &scenario{
		binary: binary, dir: env.WorkDir, box: filepath.Join(env.WorkDir, "box"),
		servers: map[string]*modbus.Server{}, lines: map[string]*wan.Link{}, tables: map[string]string{},
		field: func() {}, mark: time.Now(),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	env.Values[key{}] = s
	t := env.T()
	env.Defer(func() {
		if f, ok := t.(interface{ Failed() bool }); ok && f.Failed() {
			t.Log(s.report())
		}
		s.close()
	})
	env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("STATE_DIRECTORY", filepath.Join(s.box, "state"))
	env.Setenv("RUNTIME_DIRECTORY", filepath.Join(s.box, "run"))
	env.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(s.box, "credentials"))
	return os.MkdirAll(filepath.Join(s.box, "credentials"), 0o700)
}

// close ends everything, the daemon first.
func (s *scenario) close() {
	if s.running() {
		s.daemon.Kill()
	}
	for _, r := range s.runs {
		<-r.watched
	}
	s.stop()
	s.wait.Wait()
	for _, p := range s.platforms {
		if p.mosquitto != nil {
			p.mosquitto.Close()
		}
	}
	if s.plant != nil {
		s.plant.Close()
	}
	if s.pair != nil {
		s.pair.Close()
	}
	if s.mixed != nil {
		s.mixed.Close()
	}
	_ = os.RemoveAll(s.dir) // a store takes 16 MiB; what is left goes with the test
}

// fault notes that one was switched on or off just now.
func (s *scenario) fault() { s.mark = time.Now() }

// report is what somebody needs who looks for the cause.
func (s *scenario) report() string {
	var b strings.Builder
	if s.daemon != nil {
		lines := strings.Split(strings.TrimSpace(s.daemon.Log()), "\n")
		fmt.Fprintf(&b, "the daemon's log, its last lines:\n%s\n", strings.Join(lines[max(0, len(lines)-80):], "\n"))
	}
	for i, r := range s.runs {
		if status := r.status(); i == len(s.runs)-1 {
			doc, _ := json.MarshalIndent(status, "", " ")
			fmt.Fprintf(&b, "the last status of run %d:\n%s\n", i+1, doc)
		}
	}
	for _, p := range s.platforms {
		books := p.recorder.Books()
		doc, _ := json.MarshalIndent(books, "", " ")
		fmt.Fprintf(&b, "the books of %s:\n%s\n", p.name, doc)
	}
	return b.String()
}

func (s *scenario) platform(name string) (*platform, error) {
	for _, p := range s.platforms {
		if p.name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("there is no platform %q", name)
}

// named gives the platform that stands at the end of the arguments after the first n, else the first.
func (s *scenario) named(args []string, n int) (*platform, error) {
	switch {
	case len(args) < n || len(args) > n+1:
		return nil, fmt.Errorf("arguments %q: %d are needed, and a platform's name may follow", args, n)
	case len(args) > n:
		return s.platform(args[n])
	}
	return s.platform(first)
}

// link serves a link to the target until the script ends.
func (s *scenario) link(target string) (*wan.Link, error) {
	l, err := wan.New(target)
	if err != nil {
		return nil, err
	}
	s.wait.Go(func() { _ = l.Run(s.ctx) }) // one that fails shows as an outage that does not end
	return l, nil
}

// faulty does to a link what the words say.
func faulty(l *wan.Link, what string, args ...string) error {
	switch what {
	case "cut":
		l.Cut()
	case "restore":
		l.Restore()
	case "reset":
		l.Reset()
	case "blackhole":
		l.BlackHole()
	case "freeze":
		l.Freeze()
	case "half-close":
		direction := wan.Up
		if args[0] == "down" {
			direction = wan.Down
		}
		l.HalfClose(direction)
	case "delay":
		up, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		down, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		l.Delay(up, down)
	case "bandwidth":
		var up, down int
		if _, err := fmt.Sscan(strings.Join(args, " "), &up, &down); err != nil {
			return err
		}
		l.Bandwidth(up, down)
	default:
		return fmt.Errorf("a link has no fault %q", what)
	}
	return nil
}

// faultArgs is how many arguments a link's fault has.
func faultArgs(what string) int {
	switch what {
	case "half-close":
		return 1
	case "delay", "bandwidth":
		return 2
	}
	return 0
}
