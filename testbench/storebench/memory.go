package storebench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgegateway/buffer"
	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/rig"
)

const (
	backlogReadings = 10_000_000
	reopenReadings  = 5_000_000
	boxLimit        = 64 << 20
	memoryLasts     = 30 * time.Second
)

// memory runs the real daemon at 1,000 tags a second, with nothing and with a large backlog, and in a small box.
func memory(ctx context.Context, dir string, w io.Writer) error {
	binary, err := rig.Build(ctx, dir)
	if err != nil {
		return err
	}
	full := filepath.Join(dir, "full", "state", "buffer")
	if err := os.MkdirAll(full, 0o700); err != nil {
		return err
	}
	opening, err := fillBacklog(ctx, full)
	if err != nil {
		return err
	}
	table(w, "", "measured", "goal", "")
	row(w, fmt.Sprintf("opening a backlog of %d million readings", reopenReadings/1_000_000), opening.Round(time.Millisecond).String(), "< 1 s",
		judge(opening < time.Second))

	idle, err := runDaemon(ctx, binary, filepath.Join(dir, "idle"), daemonRun{})
	if err != nil {
		return err
	}
	row(w, "the daemon idle: resident, and of it anonymous", mib(idle.resident)+", "+mib(idle.anon), "≤ 40.0 MiB", judge(idle.resident <= 40<<20))
	empty, err := runDaemon(ctx, binary, filepath.Join(dir, "empty"), daemonRun{devices: 10})
	if err != nil {
		return err
	}
	row(w, "1,000 tags a second in an outage, no backlog: anonymous", mib(empty.anon), "", "")
	loaded, err := runDaemon(ctx, binary, filepath.Join(dir, "full"), daemonRun{devices: 10})
	if err != nil {
		return err
	}
	row(w, "the same with 10 million readings waiting: anonymous", mib(loaded.anon), "< 15 MiB more", judge(loaded.anon-empty.anon < 15<<20))
	boxed, err := runDaemon(ctx, binary, filepath.Join(dir, "full"), daemonRun{devices: 10, boxed: true, drains: true})
	if errors.Is(err, errNoCgroup) {
		row(w, "in a box of 64 MB", err.Error(), "", "not run")
		return nil
	}
	if err != nil {
		return err
	}
	row(w, "the same in a cgroup of 64 MB, first in the outage, then draining: most, and hits of the limit",
		fmt.Sprintf("%s, %d", mib(boxed.most), boxed.hits), "0 hits", judge(boxed.hits == 0))
	row(w, "drained in that", fmt.Sprintf("%d records", boxed.delivered), "", "")
	return nil
}

// fillBacklog makes the backlog, and on the way measures how long half of it takes to open.
func fillBacklog(ctx context.Context, folder string) (opening time.Duration, err error) {
	data := newReference()
	for _, n := range []int{reopenReadings, backlogReadings - reopenReadings} {
		s, err := openStore(buffer.Options{Dir: folder})
		if err != nil {
			return 0, err
		}
		if err := s.fill(ctx, data, n/quantities); err != nil {
			return 0, err
		}
		if err := s.close(); err != nil {
			return 0, err
		}
		if opening == 0 {
			begin := time.Now()
			if s, err = openStore(buffer.Options{Dir: folder}); err != nil {
				return 0, err
			}
			opening = time.Since(begin)
			if got, _ := s.blocks(); got != reopenReadings/quantities {
				return 0, fmt.Errorf("%d records were found", got)
			}
			if err := s.close(); err != nil {
				return 0, err
			}
		}
	}
	return opening, nil
}

// daemonRun says what the daemon is put through.
type daemonRun struct {
	devices int  // of a hundred tags, read every second
	boxed   bool // in a cgroup of boxLimit
	drains  bool // the platform is there for the second half
}

type use struct {
	resident, anon int64
	most           int64 // that the cgroup counted
	hits           int64 // of its limit
	delivered      uint64
}

func runDaemon(ctx context.Context, binary, dir string, run daemonRun) (u use, err error) {
	farm, err := rig.NewFarm(run.devices)
	if err != nil {
		return u, err
	}
	defer farm.Close()
	b, err := broker.New(broker.Options{})
	if err != nil {
		return u, err
	}
	address := b.Address()
	stop := func() {}
	defer func() { stop() }()
	d, err := rig.NewDaemon(binary, dir, "")
	if err != nil {
		return u, err
	}
	if err := farm.Configure(d, address, time.Second); err != nil {
		return u, err
	}
	if err := d.Start(); err != nil {
		return u, err
	}
	defer d.Kill()
	var box *cgroup
	if run.boxed {
		if box, err = newCgroup(boxLimit); err != nil {
			return u, err
		}
		defer box.remove()
		if err := box.add(d.Pid()); err != nil {
			return u, err
		}
	}
	if _, err := d.Await(ctx, time.Minute, "it runs", func(s *health.Status) bool { return s.Buffer.Durable }); err != nil {
		return u, fmt.Errorf("%w\n%s", err, d.Log())
	}
	if err := pause(ctx, int(memoryLasts.Seconds())); err != nil {
		return u, err
	}
	if run.drains {
		serve, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.Run(serve)
		}()
		stop = func() { cancel(); <-done }
		if err := pause(ctx, int(memoryLasts.Seconds())); err != nil {
			return u, err
		}
	}
	status, err := d.Status(ctx)
	if err != nil {
		return u, fmt.Errorf("%w\n%s", err, d.Log())
	}
	u.delivered = rig.Sum(&status).Delivered
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
	if err != nil {
		return u, err
	}
	u.resident, u.anon = kib(text, "VmRSS"), kib(text, "RssAnon")
	if box != nil {
		if u.most, u.hits, err = box.counts(); err != nil {
			return u, err
		}
	}
	_, err = d.Stop()
	return u, err
}

// kib reads a figure of /proc/PID/status, in bytes.
func kib(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
