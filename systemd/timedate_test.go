package systemd

import (
	"errors"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"edgegateway/testbench/privatebus"
)

func TestClockSynchronised(t *testing.T) {
	bus, err := privatebus.Start(t.TempDir())
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Stop)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	if yes, err := ClockSynchronised(t.Context()); err == nil {
		t.Errorf("with nobody to ask the answer is %t", yes)
	}
	conn, err := dbus.Connect(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	properties, err := prop.Export(conn, "/org/freedesktop/timedate1", prop.Map{"org.freedesktop.timedate1": {"NTPSynchronized": {Value: false}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.timedate1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true} {
		properties.SetMust("org.freedesktop.timedate1", "NTPSynchronized", want)
		if got, err := ClockSynchronised(t.Context()); got != want || err != nil {
			t.Errorf("%t, %v; want %t", got, err, want)
		}
	}
}
