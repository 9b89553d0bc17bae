package systemd

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"edgegateway/testbench/privatebus"
	"edgegateway/testbench/sim/servicemanager"
)

// simulated gives the package a bus of its own with a service manager on it.
func simulated(t *testing.T) *servicemanager.Manager {
	t.Helper()
	bus, err := privatebus.Start(t.TempDir())
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Stop)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	m, err := servicemanager.New(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	for name, u := range map[string]servicemanager.Unit{
		"bluetooth.service":          {Active: "failed", Sub: "failed", PID: 7, Restarts: 3},
		"broken.service":             {Fails: true},
		"ssh.service":                {Active: "active", Sub: "running", Denied: true},
		"stuck.service":              {Hangs: true},
		"gateway-0@eth\\x2d0.socket": {Active: "active", Sub: "listening"},
	} {
		if err := m.Set(name, u); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestUnits(t *testing.T) {
	sim := simulated(t)
	ctx := t.Context()
	var m Manager
	u, err := m.Status(ctx, "bluetooth.service")
	want := Unit{Name: "bluetooth.service", Description: "simulated bluetooth.service", Load: "loaded", Active: "failed", Sub: "failed",
		Since: 1764500000000, Result: "success", Restarts: 3, PID: 7}
	if err != nil || u != want {
		t.Errorf("status: %+v, %v\nwant    %+v", u, err, want)
	}
	if u, err := m.Status(ctx, "gateway-0@eth\\x2d0.socket"); err != nil || u.Sub != "listening" {
		t.Errorf("a name that needs escaping: %+v, %v", u, err)
	}
	if err := m.Restart(ctx, "bluetooth.service"); err != nil {
		t.Errorf("restart: %v", err)
	}
	if u, err = m.Status(ctx, "bluetooth.service"); err != nil || u.Active != "active" || u.PID != 8 {
		t.Errorf("after the restart: %+v, %v", u, err)
	}
	for name, want := range map[string]error{"broken.service": ErrJob, "ssh.service": ErrForbidden, "nothere.service": ErrNoUnit} {
		if err := m.Restart(ctx, name); !errors.Is(err, want) {
			t.Errorf("restart %s: %v, want %v", name, err, want)
		}
	}
	given, giveUp := context.WithCancel(ctx)
	defer giveUp()
	ended := make(chan error, 1)
	go func() { ended <- m.Restart(given, "stuck.service") }()
	for asked := false; !asked; asked = slices.Contains(sim.Asked(), "restart stuck.service replace") {
		select {
		case err := <-ended:
			t.Fatalf("a job that never ends: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	giveUp()
	if err := <-ended; err == nil {
		t.Error("a job that never ends is done")
	}
	if err := m.Reboot(ctx); err != nil {
		t.Errorf("reboot: %v", err)
	}
	asked := slices.Sorted(slices.Values(sim.Asked()))
	if want := []string{"restart bluetooth.service replace", "restart broken.service replace", "restart stuck.service replace",
		"start reboot.target replace-irreversibly"}; !slices.Equal(asked, want) {
		t.Errorf("the manager was asked: %q, want %q", asked, want)
	}
}

func TestUnitsWithoutAManager(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	if err := (Manager{}).Restart(t.Context(), "bluetooth.service"); !errors.Is(err, ErrNoManager) {
		t.Errorf("without a bus: %v", err)
	}
	bus, err := privatebus.Start(t.TempDir())
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	if _, err := (Manager{}).Status(t.Context(), "bluetooth.service"); !errors.Is(err, ErrNoManager) {
		t.Errorf("with a bus and nobody on it: %v", err)
	}
}
