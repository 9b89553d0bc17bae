package ble

import (
	"context"
	"maps"
	"strings"

	"github.com/godbus/dbus/v5"

	"edgegateway/adapters/field"
)

// peer is a device of ours that BlueZ has an object for. session.mu guards it.
type peer struct {
	path                        dbus.ObjectPath
	connected, resolved, paired bool
	ours                        bool // we use the connection, and let it go
	armed                       bool // we are subscribed to what is wanted of it
	drops                       int  // how often a connection ended
}

// part is a service of a device, or a characteristic of a service.
type part struct {
	uuid   string
	parent dbus.ObjectPath
}

// know notes a device of ours that BlueZ has an object for.
func (s *session) know(path dbus.ObjectPath, p properties) {
	address, ok := addressOf(s.path, path)
	if !ok {
		return
	}
	s.d.mu.Lock()
	ours := s.d.stations[address] != nil
	s.d.mu.Unlock()
	if !ours {
		return
	}
	s.update(address, path, p)
}

// update takes what changed of a device of ours, and wakes who waits for it.
func (s *session) update(address string, path dbus.ObjectPath, changed properties) {
	s.d.mu.Lock()
	st := s.d.stations[address]
	s.d.mu.Unlock()
	if st == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[address]
	if p == nil {
		p = &peer{path: path}
		s.peers[address] = p
		s.stirLocked()
	}
	was := *p
	if v, ok := of[bool](changed, "Connected"); ok {
		p.connected = v
		if !v {
			p.drops++
			p.armed, p.resolved, p.ours = false, false, false
			s.dropNoticesLocked(st)
		}
	}
	if v, ok := of[bool](changed, "ServicesResolved"); ok {
		p.resolved = v
	}
	if v, ok := of[bool](changed, "Paired"); ok {
		p.paired = v
	}
	if was != *p {
		st.mu.Lock()
		st.book.Connected = p.connected
		st.mu.Unlock()
		s.stirLocked()
	}
}

// forget notes that BlueZ has no object for a device any more.
func (s *session) forget(path dbus.ObjectPath) {
	s.strangers.left(path)
	n := s.strangers.order.Len()
	s.d.stats.count(func(t *Stats) { t.Strangers = n })
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.peers, func(_ string, p *peer) bool { return p.path == path })
	below := func(p dbus.ObjectPath) bool { return strings.HasPrefix(string(p), string(path)+"/") }
	maps.DeleteFunc(s.notices, func(p dbus.ObjectPath, _ notice) bool { return below(p) })
	maps.DeleteFunc(s.services, func(p dbus.ObjectPath, _ part) bool { return below(p) })
	maps.DeleteFunc(s.chars, func(p dbus.ObjectPath, _ part) bool { return below(p) })
	s.stirLocked()
}

// stirLocked wakes who waits for a peer; the caller holds mu.
func (s *session) stirLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// until waits until ok, which is called with mu held, says so.
func (s *session) until(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		done, changed := ok(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		if err := field.Await(ctx, changed); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
