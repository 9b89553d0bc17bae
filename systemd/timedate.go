package systemd

import (
	"context"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// ClockSynchronised asks systemd-timedated whether the kernel's clock is synchronised. The unit lets the daemon ask
// nobody else: the kernel answers that question by a system call that also sets the clock. The bus starts timedated
// for it, which may take a while; it goes away by itself.
func ClockSynchronised(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return false, fmt.Errorf("the system bus: %w", err)
	}
	defer conn.Close()
	var answer dbus.Variant
	err = conn.Object("org.freedesktop.timedate1", "/org/freedesktop/timedate1").
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.timedate1", "NTPSynchronized").Store(&answer)
	if err != nil {
		return false, fmt.Errorf("systemd-timedated: %w", err)
	}
	yes, ok := answer.Value().(bool)
	if !ok {
		return false, fmt.Errorf("systemd-timedated: NTPSynchronized is %v", answer)
	}
	return yes, nil
}
