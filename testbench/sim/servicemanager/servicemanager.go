// Package servicemanager is a service manager on a D-Bus: as much of org.freedesktop.systemd1 as a client needs that
// looks at units, restarts them and reboots, with the failures that the real one has.
//
// It promises the real one's order of things: a request gives a job's path, and JobRemoved follows with its result.
// What it was asked to do is kept in Asked. It has no code of the house under test.
package servicemanager

import (
	"fmt"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	busName  = "org.freedesktop.systemd1"
	root     = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager  = busName + ".Manager"
	property = "org.freedesktop.DBus.Properties"
)

// Unit is a unit that the manager has.
type Unit struct {
	Active, Sub string
	PID         uint32
	Restarts    uint32
	Fails       bool // jobs of it end with "failed"
	Denied      bool // polkit says no
	Hangs       bool // jobs of it never end
}

// Manager is a simulated service manager. Make it with New.
type Manager struct {
	conn *dbus.Conn

	mu    sync.Mutex
	units map[string]*Unit
	asked []string
	jobs  int
}

// New takes the manager's name on the bus at the address.
func New(address string) (*Manager, error) {
	conn, err := dbus.Connect(address)
	if err != nil {
		return nil, err
	}
	m := &Manager{conn: conn, units: map[string]*Unit{"reboot.target": {Active: "inactive", Sub: "dead"}}}
	if err := conn.Export(calls{m}, root, manager); err != nil {
		conn.Close()
		return nil, err
	}
	reply, err := conn.RequestName(busName, dbus.NameFlagDoNotQueue)
	if err == nil && reply != dbus.RequestNameReplyPrimaryOwner {
		err = fmt.Errorf("the name %s is taken", busName)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

// Close leaves the bus.
func (m *Manager) Close() { m.conn.Close() }

// Set adds or changes a unit.
func (m *Manager) Set(name string, u Unit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units[name] = &u
	return m.conn.Export(properties{m, name}, unitPath(name), property)
}

// Asked lists what was asked for and done or begun, in order: "restart bluetooth.service replace".
func (m *Manager) Asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.asked...)
}

// begin makes a job of a request.
func (m *Manager) begin(verb, name, mode string) (dbus.ObjectPath, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.units[name]
	switch {
	case u == nil:
		return "", dbus.NewError(busName+".NoSuchUnit", []any{fmt.Sprintf("Unit %s not found.", name)})
	case u.Denied:
		return "", dbus.NewError("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", []any{"Interactive authentication required."})
	}
	m.asked = append(m.asked, verb+" "+name+" "+mode)
	m.jobs++
	id := uint32(m.jobs)
	path := dbus.ObjectPath(fmt.Sprintf("%s/job/%d", root, id))
	result := "done"
	if u.Fails {
		result, u.Active, u.Sub = "failed", "failed", "failed"
	} else {
		u.Active, u.Sub, u.PID = "active", "running", u.PID+1
	}
	if !u.Hangs {
		go func() { _ = m.conn.Emit(root, manager+".JobRemoved", id, path, name, result) }() // after the reply, or before it: both happen
	}
	return path, nil
}

// calls are the methods of org.freedesktop.systemd1.Manager.
type calls struct{ m *Manager }

func (c calls) RestartUnit(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	return c.m.begin("restart", name, mode)
}

func (c calls) StartUnit(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	return c.m.begin("start", name, mode)
}

// properties is org.freedesktop.DBus.Properties of one unit.
type properties struct {
	m    *Manager
	name string
}

func (p properties) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	u := p.m.units[p.name]
	return map[string]dbus.Variant{
		"Id": dbus.MakeVariant(p.name), "Description": dbus.MakeVariant("simulated " + p.name), "LoadState": dbus.MakeVariant("loaded"),
		"ActiveState": dbus.MakeVariant(u.Active), "SubState": dbus.MakeVariant(u.Sub), "Result": dbus.MakeVariant("success"),
		"NRestarts": dbus.MakeVariant(u.Restarts), "MainPID": dbus.MakeVariant(u.PID),
		"StateChangeTimestamp": dbus.MakeVariant(uint64(1764500000000000)),
	}, nil
}

// unitPath is the object of a unit: every byte that is no letter or digit is written _xx; so is a digit that comes first.
func unitPath(name string) dbus.ObjectPath {
	var b strings.Builder
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if letter || i > 0 && c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return root + "/unit/" + dbus.ObjectPath(b.String())
}
