package ble

import (
	"context"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// agent answers BlueZ when a device of ours wants a passkey. It implements org.bluez.Agent1.
type agent struct{ session *session }

// registerAgent offers our agent where a device is to be paired.
func (s *session) registerAgent(ctx context.Context) error {
	pairs := false
	for _, st := range s.d.all() {
		pairs = pairs || st.quirks.pair
	}
	if !pairs {
		return nil
	}
	a := &agent{s}
	if err := s.conn.Export(a, agentPath, "org.bluez.Agent1"); err != nil {
		return err
	}
	if _, err := shortly(ctx, s.object("/org/bluez"), agentsIf+".RegisterAgent", agentPath, "KeyboardDisplay"); err != nil && !failed(err, "AlreadyExists") {
		return err
	}
	s.agent = a
	return nil
}

func rejected() *dbus.Error {
	return dbus.NewError("org.bluez.Error.Rejected", []any{"this gateway pairs with the devices of its configuration only"})
}

// passkey gives the digits for a device of ours.
func (a *agent) passkey(sender dbus.Sender, device dbus.ObjectPath) (string, *dbus.Error) {
	s := a.session
	address, ok := addressOf(s.path, device)
	if !ok || string(sender) != s.owner {
		return "", rejected()
	}
	s.d.mu.Lock()
	st := s.d.stations[address]
	s.d.mu.Unlock()
	if st == nil || st.quirks.passkey == "" {
		return "", rejected()
	}
	text, err := s.d.secret(st.quirks.passkey)
	if err != nil {
		s.d.o.Log.Warn("the passkey of a device cannot be read", "device", st.name, "credential", st.quirks.passkey, "error", err)
		return "", rejected()
	}
	return strings.TrimSpace(string(text)), nil
}

// number is passkey as a number of at most six digits.
func (a *agent) number(sender dbus.Sender, device dbus.ObjectPath) (uint32, *dbus.Error) {
	text, e := a.passkey(sender, device)
	if e != nil {
		return 0, e
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > 999999 {
		a.session.d.o.Log.Warn("a passkey has one to six digits", "device", string(device))
		return 0, rejected()
	}
	return uint32(n), nil
}

// RequestPasskey gives the passkey that stands on the device.
func (a *agent) RequestPasskey(sender dbus.Sender, device dbus.ObjectPath) (uint32, *dbus.Error) {
	return a.number(sender, device)
}

// RequestPinCode gives the same for old devices.
func (a *agent) RequestPinCode(sender dbus.Sender, device dbus.ObjectPath) (string, *dbus.Error) {
	return a.passkey(sender, device)
}

// RequestConfirmation compares: nobody looks at a display here, so that the number must be the one that we were given.
func (a *agent) RequestConfirmation(sender dbus.Sender, device dbus.ObjectPath, passkey uint32) *dbus.Error {
	if want, e := a.number(sender, device); e != nil {
		return e
	} else if want != passkey {
		return rejected()
	}
	return nil
}

// RequestAuthorization allows a pairing without a passkey for devices of ours that are to be paired.
func (a *agent) RequestAuthorization(sender dbus.Sender, device dbus.ObjectPath) *dbus.Error {
	return a.AuthorizeService(sender, device, "")
}

// AuthorizeService implements org.bluez.Agent1.
func (a *agent) AuthorizeService(sender dbus.Sender, device dbus.ObjectPath, _ string) *dbus.Error {
	address, ok := addressOf(a.session.path, device)
	a.session.d.mu.Lock()
	st := a.session.d.stations[address]
	a.session.d.mu.Unlock()
	if !ok || string(sender) != a.session.owner || st == nil || !st.quirks.pair {
		return rejected()
	}
	return nil
}

// DisplayPasskey implements org.bluez.Agent1: there is no display.
func (a *agent) DisplayPasskey(dbus.ObjectPath, uint32, uint16) *dbus.Error { return nil }

// DisplayPinCode implements org.bluez.Agent1: there is no display.
func (a *agent) DisplayPinCode(dbus.ObjectPath, string) *dbus.Error { return nil }

// Release implements org.bluez.Agent1.
func (a *agent) Release() *dbus.Error { return nil }

// Cancel implements org.bluez.Agent1.
func (a *agent) Cancel() *dbus.Error { return nil }
