package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	bus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// Manager asks the machine's service manager over the system bus (org.freedesktop.systemd1). Its zero value is ready
// for use, from any goroutine. What it may do is for polkit to say: packaging/polkit.rules grants the daemon's
// user the restart of a few units and the reboot, and nothing else.
type Manager struct{}

// Unit is how one unit is.
type Unit struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Load        string `json:"load"`   // "loaded", "not-found", "masked", …
	Active      string `json:"active"` // "active", "inactive", "failed", "activating", …
	Sub         string `json:"sub"`    // "running", "exited", "dead", "auto-restart", …
	Since       int64  `json:"since,omitempty"`
	Result      string `json:"result,omitempty"` // of a service's last run: "success", "exit-code", "watchdog", …
	Restarts    uint32 `json:"restarts"`         // of a service, by itself, since it was last started by somebody
	PID         uint32 `json:"pid,omitempty"`
}

// What hinders a request to the service manager.
var (
	ErrNoManager = errors.New("the service manager can't be reached over the system bus")
	ErrNoUnit    = errors.New("there is no such unit")
	ErrForbidden = errors.New("polkit does not allow it")
	ErrJob       = errors.New("the service manager could not do it")
)

// busTimeout bounds one conversation with the bus, a job's duration apart.
const busTimeout = 10 * time.Second

// Status tells how a unit is. One that does not exist is no error: Load says so.
func (Manager) Status(ctx context.Context, name string) (Unit, error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	conn, err := connect(ctx)
	if err != nil {
		return Unit{}, err
	}
	defer conn.Close()
	p, err := conn.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, fmt.Errorf("unit %s: %w", name, judge(err))
	}
	u := Unit{Name: name}
	text := func(key string) string { s, _ := p[key].(string); return s }
	u.Description, u.Load, u.Active, u.Sub, u.Result = text("Description"), text("LoadState"), text("ActiveState"), text("SubState"), text("Result")
	u.Restarts, _ = p["NRestarts"].(uint32)
	u.PID, _ = p["MainPID"].(uint32)
	if micros, _ := p["StateChangeTimestamp"].(uint64); micros > 0 {
		u.Since = int64(micros / 1000)
	}
	return u, nil
}

// Restart restarts a unit, or starts one that does not run, and returns when that has succeeded or failed.
func (Manager) Restart(ctx context.Context, name string) error {
	return job(ctx, "restart "+name, func(conn *bus.Conn, done chan<- string) (int, error) {
		return conn.RestartUnitContext(ctx, name, "replace", done)
	})
}

// Reboot restarts the machine. It returns once that is under way; the caller is among those that will be stopped.
func (Manager) Reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err = conn.StartUnitContext(ctx, "reboot.target", "replace-irreversibly", nil); err != nil {
		return fmt.Errorf("reboot: %w", judge(err))
	}
	return nil
}

// job has the manager do something and waits for its end.
func job(ctx context.Context, what string, begin func(*bus.Conn, chan<- string) (int, error)) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	done := make(chan string, 1)
	if _, err := begin(conn, done); err != nil {
		return fmt.Errorf("%s: %w", what, judge(err))
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("%s: %w: the job ended with %q; its journal tells why", what, ErrJob, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: still under way: %w", what, ctx.Err())
	}
}

func connect(ctx context.Context) (*bus.Conn, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoManager, err)
	}
	return conn, nil
}

// dial takes the manager's own socket where we may: root is believed there, and on the bus only where polkit is
// installed or root has all its capabilities, which the updater's unit does not.
func dial(ctx context.Context) (*bus.Conn, error) {
	if os.Geteuid() == 0 && os.Getenv("DBUS_SYSTEM_BUS_ADDRESS") == "" {
		if conn, err := bus.NewSystemdConnectionContext(ctx); err == nil {
			return conn, nil
		}
	}
	return bus.NewSystemConnectionContext(ctx)
}

// judge gives a bus error a word of ours.
func judge(err error) error {
	var e dbus.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Name {
	case "org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.LoadFailed":
		return fmt.Errorf("%w: %w", ErrNoUnit, err)
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
		"org.freedesktop.DBus.Error.AuthFailed":
		return fmt.Errorf("%w: is polkit installed, and the unit named in its rule (60-gatewayd.rules)? %w", ErrForbidden, err)
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
		return fmt.Errorf("%w: %w", ErrNoManager, err)
	}
	return err
}
