package ble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"edgegateway/adapters/field"
)

// notice says whose characteristic an object is.
type notice struct {
	station *Station
	char    characteristic
}

// characteristics are the objects of a connected device's characteristics.
type characteristics map[characteristic]dbus.ObjectPath

// reach connects a device, pairs where that is wanted, and finds its characteristics. One connection is made at a time.
func (s *session) reach(ctx context.Context, st *Station) (characteristics, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.gate }()
	path, err := s.find(ctx, st)
	if err != nil {
		return nil, err
	}
	release := s.hold(ctx)
	defer release()
	if err := s.connectPeer(ctx, st, path); err != nil {
		s.d.stats.count(func(t *Stats) { t.Failures++ })
		s.let(ctx, st, path) // a try that was given up may succeed late, and nobody would let the device go
		return nil, err
	}
	s.d.stats.count(func(t *Stats) { t.Connects++ })
	return s.resolve(path), nil
}

// enter waits for its turn to make a connection.
func (s *session) enter(ctx context.Context) error {
	for {
		select {
		case s.gate <- struct{}{}:
			return nil
		default:
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("another connection is being made: %w", err)
		}
	}
}

// find waits until BlueZ knows the device, and looks for it where it does not.
func (s *session) find(ctx context.Context, st *Station) (path dbus.ObjectPath, err error) {
	known := func() bool {
		p := s.peers[st.address]
		if p != nil {
			path = p.path
		}
		return p != nil
	}
	s.mu.Lock()
	there := known()
	s.mu.Unlock()
	if there {
		return path, nil
	}
	release, err := s.seek(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	if err := s.until(ctx, known); err != nil {
		return "", fmt.Errorf("it is not in range: nothing was heard of it (%w)", err)
	}
	return path, nil
}

// connectPeer connects, and pairs before that where the device wants it.
func (s *session) connectPeer(ctx context.Context, st *Station, path dbus.ObjectPath) error {
	device := s.object(path)
	s.mu.Lock()
	p := s.peers[st.address]
	state := peer{}
	if p != nil {
		state = *p
	}
	s.mu.Unlock()
	if st.quirks.pair && !state.paired {
		if err := s.pair(ctx, st, device); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if p != nil {
		p.ours = true
	}
	s.mu.Unlock()
	if !state.connected {
		if _, err := call(ctx, device, deviceIf+".Connect"); err != nil && !failed(err, "AlreadyConnected") {
			return fmt.Errorf("%w: no connection to it could be made: %v", silent(ctx), err)
		}
	}
	dropped := false
	err := s.until(ctx, func() bool {
		p := s.peers[st.address]
		dropped = p == nil || p.drops > state.drops
		return dropped || p.resolved
	})
	switch {
	case err != nil:
		return fmt.Errorf("it is connected, and does not tell what it has: %w", err)
	case dropped:
		return fmt.Errorf("%w: the connection to it ended at once", field.ErrSilent)
	}
	return nil
}

// silent is field.ErrSilent, or the context's own error once that is over.
func silent(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return field.ErrSilent
}

// pair pairs with the passkey that our agent gives.
func (s *session) pair(ctx context.Context, st *Station, device dbus.BusObject) error {
	if s.agent == nil {
		return fmt.Errorf("%w: it wants to be paired, and bluetoothd took no agent of ours", field.ErrSilent)
	}
	_, err := call(ctx, device, deviceIf+".Pair")
	switch {
	case err == nil || failed(err, "AlreadyExists"):
	case failed(err, "AuthenticationFailed") || failed(err, "AuthenticationRejected") || failed(err, "AuthenticationCanceled"):
		return fmt.Errorf("%w: pairing was refused: is the passkey in the credential %q the device's own, and is the device ready to be paired?",
			field.ErrSilent, st.quirks.passkey)
	default:
		return fmt.Errorf("%w: pairing failed: %v", silent(ctx), err)
	}
	_, err = shortly(ctx, device, propsIf+".Set", deviceIf, "Trusted", dbus.MakeVariant(true))
	return err
}

// resolve gives the characteristics of a device, as far as BlueZ told of them.
func (s *session) resolve(path dbus.ObjectPath) characteristics {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := characteristics{}
	for at, c := range s.chars {
		if service, ok := s.services[c.parent]; ok && service.parent == path {
			found[characteristic{service.uuid, c.uuid}] = at
		}
	}
	return found
}

// learn notes a service or a characteristic of a device of ours.
func (s *session) learn(path dbus.ObjectPath, o map[string]properties) {
	for _, kind := range [...]struct {
		name, parent string
		into         map[dbus.ObjectPath]part
	}{{serviceIf, "Device", s.services}, {charIf, "Service", s.chars}} {
		p, there := o[kind.name]
		if !there {
			continue
		}
		parent, ok := of[dbus.ObjectPath](p, kind.parent)
		uuid, ok2 := of[string](p, "UUID")
		if !ok || !ok2 {
			s.odd(1)
			continue
		}
		if !s.ours(path) {
			continue
		}
		s.mu.Lock()
		kind.into[path] = part{uuid, parent}
		s.mu.Unlock()
	}
}

// ours says whether an object is a part of a device of ours.
func (s *session) ours(path dbus.ObjectPath) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if strings.HasPrefix(string(path), string(p.path)+"/") {
			return true
		}
	}
	return false
}

// unlearn forgets a service or a characteristic.
func (s *session) unlearn(path dbus.ObjectPath) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.services, path)
	delete(s.chars, path)
	delete(s.notices, path)
}

// letTime bounds how long a device is waited for that is let go.
const letTime = 5 * time.Second

// let disconnects a device, and waits until that is known: the next request must not take the old connection for its own.
func (s *session) let(ctx context.Context, st *Station, path dbus.ObjectPath) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letTime)
	defer cancel()
	if _, err := call(ctx, s.object(path), deviceIf+".Disconnect"); err != nil {
		return // it is gone already
	}
	_ = s.until(ctx, func() bool { // what is not told in time the next connection will see
		p := s.peers[st.address]
		return p == nil || !p.connected
	})
}

// done lets a device go after a request, unless something else wants the connection.
func (s *session) done(ctx context.Context, st *Station) {
	if st.quirks.keep || st.subscribes() {
		return
	}
	s.mu.Lock()
	p := s.peers[st.address]
	var path dbus.ObjectPath
	if p != nil && p.ours {
		path = p.path
	}
	s.mu.Unlock()
	if path != "" {
		s.let(ctx, st, path)
	}
}

// with connects a device for a request, and lets it go afterwards.
func (s *session) with(ctx context.Context, st *Station, do func(characteristics) error) error {
	chars, err := s.reach(ctx, st)
	if err != nil {
		return err
	}
	defer s.done(ctx, st)
	return do(chars)
}

func (s *session) probe(ctx context.Context, st *Station) error {
	return s.with(ctx, st, func(characteristics) error { return nil })
}

// read reads a group: each characteristic once, whatever many tags it has.
func (s *session) read(ctx context.Context, st *Station, g *group) (field.Record, error) {
	r := g.blank(field.Timeout)
	err := s.with(ctx, st, func(chars characteristics) error {
		type answer struct {
			b   []byte
			err error
		}
		got := map[characteristic]answer{}
		var failure error
		answered := false
		for i, p := range g.points {
			a, asked := got[p.char]
			if !asked {
				a.b, a.err = s.readChar(ctx, st, chars, p.char)
				got[p.char] = a
			}
			var refused *field.ExceptionError
			switch {
			case a.err == nil:
				r.Values[i], r.Quality[i] = p.decode(a.b)
				answered = true
			case errors.As(a.err, &refused):
				r.Quality[i] = field.Exception
				answered = true
			default:
				failure = a.err
			}
			if ctx.Err() != nil {
				break
			}
		}
		if answered {
			return nil
		}
		return failure
	})
	if err == nil {
		st.noted(r, time.Now())
	}
	return r, err
}

// readChar reads one characteristic. That the device does not have it, or does not give it, is a *field.ExceptionError.
func (s *session) readChar(ctx context.Context, st *Station, chars characteristics, c characteristic) ([]byte, error) {
	path, ok := chars[c]
	if !ok && c == batteryLevel() {
		return s.readBattery(ctx, st)
	}
	if !ok {
		return nil, &field.ExceptionError{Name: "it has no characteristic " + c.uuid + " in a service " + c.service}
	}
	body, err := call(ctx, s.object(path), charIf+".ReadValue", map[string]dbus.Variant{})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	var b []byte
	if err := dbus.Store(body, &b); err != nil {
		s.odd(1)
		return nil, &field.ExceptionError{Name: "bluetoothd gave no bytes"}
	}
	return b, nil
}

// batteryLevel is the characteristic that BlueZ keeps for itself since version 5.48, and tells of as a property of the device.
func batteryLevel() characteristic {
	return characteristic{fmt.Sprintf(baseUUID, 0x180F), fmt.Sprintf(baseUUID, 0x2A19)}
}

// readBattery asks BlueZ for the battery's level.
func (s *session) readBattery(ctx context.Context, st *Station) ([]byte, error) {
	s.mu.Lock()
	p := s.peers[st.address]
	var path dbus.ObjectPath
	if p != nil {
		path = p.path
	}
	s.mu.Unlock()
	body, err := shortly(ctx, s.object(path), propsIf+".Get", batteryIf, "Percentage")
	if err != nil {
		return nil, &field.ExceptionError{Name: "it has no battery level that bluetoothd knows: " + err.Error()}
	}
	v, _ := body[0].(dbus.Variant)
	level, ok := v.Value().(byte)
	if !ok {
		s.odd(1)
		return nil, &field.ExceptionError{Name: "bluetoothd gave no battery level"}
	}
	return []byte{level}, nil
}

// refusal parts what the device refused from what did not reach it.
func refusal(ctx context.Context, err error) error {
	for _, name := range [...]string{"NotPermitted", "NotAuthorized", "NotSupported", "InvalidValueLength", "InvalidOffset", "ImproperlyConfigured"} {
		if failed(err, name) {
			return &field.ExceptionError{Name: err.Error()}
		}
	}
	return fmt.Errorf("%w: %v", silent(ctx), err)
}

func (s *session) write(ctx context.Context, st *Station, c characteristic, b []byte) error {
	return s.with(ctx, st, func(chars characteristics) error {
		path, ok := chars[c]
		if !ok {
			return &field.ExceptionError{Name: "it has no characteristic " + c.uuid + " in a service " + c.service}
		}
		_, err := call(ctx, s.object(path), charIf+".WriteValue", b, map[string]dbus.Variant{"type": dbus.MakeVariant("request")})
		if err != nil {
			return refusal(ctx, err)
		}
		return nil
	})
}
