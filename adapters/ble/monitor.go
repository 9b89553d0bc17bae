package ble

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/godbus/dbus/v5"

	"edgegateway/adapters/ble/advert"
)

// monitors is our AdvertisementMonitor: an object that BlueZ asks what we want to hear, and tells when it listens.
type monitors struct {
	session  *session
	patterns []pattern

	mu     sync.Mutex
	active chan struct{} // closed by the first Activate
	gone   bool
}

// begin registers the monitor and waits until BlueZ says that it works: that the registration succeeds proves nothing.
func (m *monitors) begin(ctx context.Context) error {
	s := m.session
	m.patterns = s.d.patterns()
	m.active = make(chan struct{})
	for _, e := range []struct {
		v    any
		path dbus.ObjectPath
		as   string
	}{{monitorRoot{m}, rootPath, objectsIf}, {monitor{m}, rootPath + "/monitor0", "org.bluez.AdvertisementMonitor1"}} {
		if err := s.conn.Export(e.v, e.path, e.as); err != nil {
			return err
		}
	}
	if _, err := shortly(ctx, s.object(s.path), monitorsIf+".RegisterMonitor", rootPath); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.d.o.Activation, errors.New("bluetoothd took the monitor, and never said that it works"))
	defer cancel()
	select {
	case <-m.active:
		return nil
	case why := <-s.released:
		return errors.New(why)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end takes the monitor back.
func (m *monitors) end(ctx context.Context) {
	m.mu.Lock()
	m.gone = true
	m.mu.Unlock()
	s := m.session
	_, _ = shortly(ctx, s.object(s.path), monitorsIf+".UnregisterMonitor", rootPath) // BlueZ may have let go of it
	_ = s.conn.Export(nil, rootPath, objectsIf)                                      // taking an export back does not fail
	_ = s.conn.Export(nil, rootPath+"/monitor0", "org.bluez.AdvertisementMonitor1")
}

// monitorRoot is what BlueZ asks for our monitors.
type monitorRoot struct{ m *monitors }

// GetManagedObjects implements org.freedesktop.DBus.ObjectManager.
func (r monitorRoot) GetManagedObjects() (objects, *dbus.Error) {
	return objects{rootPath + "/monitor0": {"org.bluez.AdvertisementMonitor1": {
		"Type":     dbus.MakeVariant("or_patterns"),
		"Patterns": dbus.MakeVariant(r.m.patterns),
	}}}, nil
}

// monitor implements org.bluez.AdvertisementMonitor1.
type monitor struct{ m *monitors }

// Activate says that the monitor works.
func (o monitor) Activate(sender dbus.Sender) *dbus.Error {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if string(sender) != o.m.session.owner {
		return dbus.MakeFailedError(errors.New("this is for bluetoothd"))
	}
	select {
	case <-o.m.active:
	default:
		close(o.m.active)
	}
	return nil
}

// Release says that BlueZ has let go of the monitor: the kernel may refuse it later than BlueZ took it.
func (o monitor) Release(sender dbus.Sender) *dbus.Error {
	o.m.mu.Lock()
	gone := o.m.gone
	o.m.mu.Unlock()
	if gone || string(sender) != o.m.session.owner {
		return nil
	}
	select {
	case o.m.session.released <- "bluetoothd let go of the monitor":
	default:
	}
	return nil
}

// DeviceFound and DeviceLost tell of devices that come into range and leave it. What they say comes as changes of the
// device's properties, so that nothing is to be done.
func (o monitor) DeviceFound(dbus.ObjectPath) *dbus.Error { return nil }

// DeviceLost implements org.bluez.AdvertisementMonitor1.
func (o monitor) DeviceLost(dbus.ObjectPath) *dbus.Error { return nil }

// patterns lists what our stations want to hear, each kind of field once.
func (d *Driver) patterns() (out []pattern) {
	var wanted []advert.Field
	want := func(f advert.Field) {
		if !slices.ContainsFunc(wanted, func(w advert.Field) bool { return w.Source == f.Source && w.ID == f.ID }) {
			wanted = append(wanted, f)
		}
	}
	for _, st := range d.all() {
		for _, g := range st.groups {
			for _, p := range g.points {
				switch p.origin {
				case fromBytes:
					want(advert.Field{Source: p.source, ID: p.id})
				case fromFormat, fromSignal:
					for _, f := range advert.Sources() {
						want(f)
					}
				}
			}
		}
	}
	for _, f := range wanted {
		out = append(out, patternOf(f))
	}
	return out
}
