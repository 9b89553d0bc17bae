package radio

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/privatebus"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/sim/ble"
)

// patience bounds every wait of these tests; none of them takes a fraction of it on an idle machine.
const patience = time.Minute

const (
	cellarAddress = "54:48:E6:8F:80:A5"
	cellarKey     = "231d39c1d7cc1ab1aee224cd096db932"

	line = "[gateway]\nname = \"box\"\n\n[[line]]\nname  = \"radio\"\nradio = \"hci0\"\n"
)

// site is a daemon and the place that its radio is in.
type site struct {
	*rig.Daemon
	t   *testing.T
	air *rig.Air
}

// newSite lays out a daemon with a configuration, which nothing runs yet, and with the key of the device in the cellar.
func newSite(t *testing.T, config string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and runs the daemon")
	}
	air, err := rig.NewAir(0)
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(air.Close)
	dir := t.TempDir()
	binary, err := rig.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := rig.NewDaemon(binary, filepath.Join(dir, "box"), config)
	if err != nil {
		t.Fatal(err)
	}
	d.Env = []string{air.Env()}
	if err := os.WriteFile(filepath.Join(d.Dir, "credentials", "cellar-key"), []byte(cellarKey), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Kill)
	return &site{d, t, air}
}

// start starts the daemon and waits until its radio listens.
func (s *site) start() {
	s.t.Helper()
	if err := s.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.listens()
}

func (s *site) listens() {
	s.t.Helper()
	s.await("the radio listens", func(h *health.Status) bool {
		return len(h.Lines) == 1 && h.Lines[0].Radio != nil && h.Lines[0].Radio.Mode == "passive"
	})
}

// reload makes the daemon run another configuration.
func (s *site) reload(config string) {
	s.t.Helper()
	if err := s.Configure(config); err != nil {
		s.t.Fatal(err)
	}
	if out, err := s.cli("reload"); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

// stop stops the daemon as systemd does.
func (s *site) stop() {
	s.t.Helper()
	if _, err := s.Stop(); err != nil {
		s.t.Fatalf("%v\n%s", err, s.Log())
	}
}

// await waits until the status is as ok likes it.
func (s *site) await(what string, ok func(*health.Status) bool) health.Status {
	s.t.Helper()
	h, err := s.Await(s.t.Context(), patience, what, ok)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.Log())
	}
	return h
}

// cli runs a verb and gives what it printed.
func (s *site) cli(args ...string) (string, error) {
	var out strings.Builder
	err := s.CLI(s.t.Context(), &out, args...)
	return out.String(), err
}

// add puts a device on the air.
func (s *site) add(address, name string) *ble.Device {
	s.t.Helper()
	d, err := s.air.BlueZ.Add(address, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// say has a device advertise once; somebody must listen.
func (s *site) say(d *ble.Device, a ble.Advert) {
	s.t.Helper()
	if sent, err := d.Advertise(a); err != nil || !sent {
		s.t.Fatalf("nothing went out: %v", err)
	}
}

// speak has devices advertise ten times a second, until the test ends: each message is of the number of its turn.
func (s *site) speak(messages map[*ble.Device]func(turn uint16) ble.Advert) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for turn := uint16(0); ; turn++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for d, message := range messages {
				if _, err := d.Advertise(message(turn)); err != nil && ctx.Err() == nil {
					s.t.Error(err)
					return
				}
			}
		}
	})
	s.t.Cleanup(func() {
		cancel()
		wait.Wait()
	})
}
