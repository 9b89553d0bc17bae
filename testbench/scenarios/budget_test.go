package scenarios

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/ptyline"
	"edgegateway/testbench/rig"
)

func (s *scenario) cmdMixed(ts *testscript.TestScript, args []string) (err error) {
	if s.mixed, err = rig.NewMixed(s.dir); err == nil {
		s.servers["mixed"] = s.mixed.Modbus
		s.tables["mixed"] = s.mixed.Lines()
	}
	return err
}

// lateness is how long a byte may take through a pty, on average; above it nobody can say how long a line was busy.
const lateness = 500 * time.Microsecond

// watchMachine measures how long bytes take through a pty and who sleeps oversleeps, until the pty is closed.
func watchMachine(dir string) (pty *ptyline.Line, late func() time.Duration, err error) {
	pty, err = ptyline.New(dir, "watch")
	if err != nil {
		return nil, nil, err
	}
	far, err := os.OpenFile(pty.Name(), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, pty.Close())
	}
	var sum, n atomic.Int64
	go func() { // ends when the pty is unplugged
		defer far.Close()
		for b := []byte{1}; ; {
			begin := time.Now()
			time.Sleep(10 * time.Millisecond)
			if _, err := pty.Write(b); err != nil {
				return
			}
			if _, err := far.Read(b); err != nil {
				return
			}
			sum.Add(int64(time.Since(begin) - 10*time.Millisecond))
			n.Add(1)
		}
	}()
	return pty, func() time.Duration { return time.Duration(sum.Load() / max(1, n.Load())) }, nil
}

// cmdOccupancy holds a minute of the line against what was foretold. On a machine that is late with everything the
// simulators are too, and the line is busy with waiting for them: then it only must not be less busy.
func (s *scenario) cmdOccupancy(ts *testscript.TestScript, args []string) error {
	if len(args) != 2 || !s.running() {
		return fmt.Errorf("occupancy LINE PERCENT, of a running daemon")
	}
	within, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return err
	}
	pty, late, err := watchMachine(s.dir)
	if err != nil {
		return err
	}
	defer pty.Close()
	if err := s.last(time.Minute); err != nil {
		return err
	}
	status, err := s.daemon.Status(s.ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(status.Lines, func(l health.Line) bool { return l.Name == args[0] })
	if i < 0 {
		return fmt.Errorf("there is no line %q", args[0])
	}
	line := status.Lines[i]
	off := 100 * (line.Occupancy/line.Forecast - 1)
	ts.Logf("busy %.1f %%, foretold %.1f %%: %+.1f %%; this machine is %v late on average", 100*line.Occupancy, 100*line.Forecast, off, late())
	if off < -within || off > within && late() < lateness {
		return fmt.Errorf("the line is not as busy as foretold")
	}
	return nil
}

func (s *scenario) cmdMisses(ts *testscript.TestScript, args []string) error {
	if len(args) < 2 || !s.running() {
		return fmt.Errorf("misses DURATION DEVICE…, of a running daemon")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	missed := func() (n map[string]uint64, err error) {
		status, err := s.daemon.Status(s.ctx)
		n = map[string]uint64{}
		for _, device := range status.Devices {
			n[device.Name] = device.Missed
		}
		return n, err
	}
	before, err := missed()
	if err != nil {
		return err
	}
	if err := s.last(d); err != nil {
		return err
	}
	after, err := missed()
	for _, name := range args[1:] {
		if n := after[name] - before[name]; n > 0 && err == nil {
			err = fmt.Errorf("%s missed %d periods within %v", name, n, d)
		}
	}
	return err
}
