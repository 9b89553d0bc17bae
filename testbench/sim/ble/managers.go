package ble

import (
	"fmt"

	"github.com/godbus/dbus/v5"
)

// adverts is AdvertisementMonitorManager1.
type adverts struct{ b *BlueZ }

// RegisterMonitor asks who registers for the monitors, and activates them.
func (a adverts) RegisterMonitor(sender dbus.Sender, root dbus.ObjectPath) *dbus.Error {
	b := a.b
	b.called("RegisterMonitor")
	b.mu.Lock()
	f, conn, taken := b.faults, b.conn, b.monitor != ""
	if f.RepairedBy == ByScan && b.calls["RegisterMonitor"] > 1 {
		b.faults.Quiet = false
	}
	b.mu.Unlock()
	switch {
	case f.NoMonitors:
		return dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", nil)
	case taken:
		return blueError("AlreadyExists", "Already Exists")
	}
	go func() { // the answer comes first, then the questions
		var all map[dbus.ObjectPath]map[string]vardict
		if err := conn.Object(string(sender), root).Call("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0).Store(&all); err != nil || f.Silent {
			return
		}
		for path, o := range all {
			if o["org.bluez.AdvertisementMonitor1"]["Type"].Value() != "or_patterns" {
				continue
			}
			b.mu.Lock()
			b.monitor, b.root = string(sender), root
			b.mu.Unlock()
			conn.Object(string(sender), path).Call("org.bluez.AdvertisementMonitor1.Activate", 0)
			if f.Released {
				b.mu.Lock()
				b.monitor = ""
				b.mu.Unlock()
				conn.Object(string(sender), path).Call("org.bluez.AdvertisementMonitor1.Release", 0)
			}
		}
	}()
	return nil
}

// UnregisterMonitor implements org.bluez.AdvertisementMonitorManager1.
func (a adverts) UnregisterMonitor(dbus.ObjectPath) *dbus.Error {
	a.b.called("UnregisterMonitor")
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.monitor = ""
	return nil
}

// agents is AgentManager1.
type agents struct{ b *BlueZ }

// RegisterAgent implements org.bluez.AgentManager1.
func (a agents) RegisterAgent(sender dbus.Sender, path dbus.ObjectPath, _ string) *dbus.Error {
	a.b.called("RegisterAgent")
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.agent = string(sender) + " " + string(path)
	return nil
}

// manager is systemd's.
type manager struct{ b *BlueZ }

// RestartUnit restarts bluetoothd, and nothing else.
func (m manager) RestartUnit(unit, _ string) (dbus.ObjectPath, *dbus.Error) {
	m.b.called("RestartUnit")
	m.b.mu.Lock()
	refuse := m.b.faults.NoRestart || unit != "bluetooth.service"
	m.b.mu.Unlock()
	if refuse {
		return "", dbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"Access denied"})
	}
	if err := m.b.Restart(); err != nil {
		return "", dbus.MakeFailedError(err)
	}
	return "/org/freedesktop/systemd1/job/1", nil
}

// props is Properties, for every object.
type props struct{ b *BlueZ }

// Get implements org.freedesktop.DBus.Properties.
func (p props) Get(m dbus.Message, kind, name string) (dbus.Variant, *dbus.Error) {
	path, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for _, d := range p.b.devices {
		if d.path() == path && kind == "org.bluez.Battery1" && name == "Percentage" && d.battery > 0 && d.connected {
			return dbus.MakeVariant(d.battery), nil
		}
	}
	v, ok := p.b.adapterLocked()[name]
	if kind != "org.bluez.Adapter1" || !ok {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{fmt.Sprintf("No such property %q", name)})
	}
	return v, nil
}

// Set implements org.freedesktop.DBus.Properties: Powered of the adapter, Trusted of a device.
func (p props) Set(m dbus.Message, kind, name string, v dbus.Variant) *dbus.Error {
	b := p.b
	on, _ := v.Value().(bool)
	switch {
	case kind == "org.bluez.Adapter1" && name == "Powered":
		b.called("Powered")
		b.mu.Lock()
		blocked := b.faults.Blocked
		b.mu.Unlock()
		if blocked && on {
			return blueError("Blocked", "Blocked through rfkill")
		}
		_ = b.power(on)
		return nil
	case kind == "org.bluez.Device1" && name == "Trusted":
		path, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, d := range b.devices {
			if d.path() == path {
				d.trusted = on
			}
		}
		return nil
	}
	return dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{"No such property"})
}
