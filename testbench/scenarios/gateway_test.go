package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/rig"
)

// plainConfig is the main file where a script brings none.
const plainConfig = `[gateway]
name = "` + gatewayName + `"

[platform]
servers = ["$PLATFORM"]

[buffer]
limit = "64MiB"
`

// run is one life of the daemon, looked at all the time.
type run struct {
	begun   time.Time
	watched chan struct{} // closed when nobody looks any more

	mu         sync.Mutex
	ended      time.Time // zero while it runs
	killed     bool
	last       health.Status
	window     int64  // the largest that was seen, of any platform
	connects   uint64 // over all platforms
	unbalanced string // the first status whose books did not add up
}

const lookEvery = 100 * time.Millisecond

// watch looks at the status until the process ends.
func (r *run) watch(ctx context.Context, d *rig.Daemon, ended <-chan struct{}) {
	defer close(r.watched)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if status, err := d.Status(ctx); err == nil {
			r.look(&status)
		}
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
}

func (r *run) look(status *health.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = *status
	connects := uint64(0)
	for _, p := range status.Platforms {
		r.window = max(r.window, p.Window)
		connects += p.Connects
	}
	r.connects = max(r.connects, connects)
	if !status.Balanced() && r.unbalanced == "" {
		r.unbalanced = fmt.Sprintf("%+v", status.Platforms)
	}
}

func (r *run) status() health.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// end notes how the run ended.
func (r *run) end(killed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.killed = time.Now(), killed
}

func (s *scenario) running() bool {
	if s.daemon == nil || s.daemon.Ended() == nil {
		return false
	}
	select {
	case <-s.daemon.Ended():
		return false
	default:
		return true
	}
}

func (s *scenario) cmdGateway(ts *testscript.TestScript, args []string) error {
	if len(args) == 0 {
		return errors.New("gateway start|stop|kill|kills")
	}
	limits := make([]time.Duration, 0, 2)
	for _, a := range args[1:] {
		d, err := time.ParseDuration(a)
		if err != nil {
			return err
		}
		limits = append(limits, d)
	}
	if args[0] != "start" && !s.running() {
		return errors.New("the daemon is not running")
	}
	switch args[0] {
	case "start":
		if len(limits) == 0 {
			limits = append(limits, 30*time.Second)
		}
		ready, err := s.start(ts)
		ts.Logf("ready %s after the process's start", ready.Round(time.Millisecond))
		if err == nil && ready > limits[0] {
			err = fmt.Errorf("ready after %s, and %s are allowed", ready, limits[0])
		}
		return err
	case "stop":
		if len(limits) == 0 {
			limits = append(limits, 5*time.Second)
		}
		s.runs[len(s.runs)-1].end(false)
		took, err := s.daemon.Stop()
		ts.Logf("stopped within %s", took.Round(time.Millisecond))
		if err == nil && took > limits[0] {
			err = fmt.Errorf("it took %s to stop, and %s are allowed", took, limits[0])
		}
		s.fault()
		return err
	case "kill":
		s.kill()
		return nil
	case "kills":
		if len(limits) != 2 {
			return errors.New("gateway kills MIN MAX")
		}
		for range *kills {
			life := limits[0] + rand.N(limits[1]-limits[0])
			if err := s.last(life); err != nil {
				return err
			}
			s.kill()
			ts.Logf("killed %s after it was ready", life.Round(time.Millisecond))
			if _, err := s.start(ts); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("gateway has no word %q", args[0])
}

func (s *scenario) kill() {
	s.runs[len(s.runs)-1].end(true)
	s.daemon.Kill()
	s.fault()
}

// start runs the daemon and tells how long it took until the control socket answered.
func (s *scenario) start(ts *testscript.TestScript) (time.Duration, error) {
	if s.running() {
		return 0, errors.New("the daemon is running")
	}
	if s.daemon == nil {
		if err := s.configure(ts); err != nil {
			return 0, err
		}
	}
	r := &run{begun: time.Now(), watched: make(chan struct{})}
	if err := s.daemon.Start(); err != nil {
		return 0, err
	}
	s.runs = append(s.runs, r)
	go r.watch(s.ctx, s.daemon, s.daemon.Ended())
	s.fault()
	_, err := s.daemon.Await(s.ctx, time.Minute, "the control socket answers", func(*health.Status) bool { return true })
	return time.Since(r.begun), err
}

// configure lays out the daemon's folders: the script's gatewayd.toml, or a plain one; the tables of the field; and
// the script's own drop-ins.
func (s *scenario) configure(ts *testscript.TestScript) error {
	expand := func(text string) string { return os.Expand(text, ts.Getenv) }
	config := plainConfig
	if text, err := os.ReadFile(filepath.Join(s.dir, "gatewayd.toml")); err == nil {
		config = string(text)
	}
	dropIns, err := filepath.Glob(filepath.Join(s.dir, "conf.d", "*.toml"))
	if err != nil {
		return err
	}
	for _, path := range dropIns {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.tables[strings.TrimSuffix(filepath.Base(path), ".toml")] = string(text)
	}
	if s.daemon, err = rig.NewDaemon(s.binary, s.box, expand(config)); err != nil {
		return err
	}
	folder := filepath.Join(s.box, "conf.d")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, text := range s.tables {
		if err := os.WriteFile(filepath.Join(folder, name+".toml"), []byte(expand(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cmdMark: what is counted from the last fault is counted from here.
func (s *scenario) cmdMark(ts *testscript.TestScript, args []string) error {
	s.fault()
	return nil
}

func (s *scenario) cmdFor(ts *testscript.TestScript, args []string) error {
	if len(args) != 1 {
		return errors.New("for DURATION")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	return s.last(d)
}

// last lets things be for a while; a daemon that ends meanwhile is an error.
func (s *scenario) last(d time.Duration) error {
	var ended <-chan struct{}
	if s.running() {
		ended = s.daemon.Ended()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ended:
		return errors.New("the daemon ended by itself")
	}
}
