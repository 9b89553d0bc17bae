package ble

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/godbus/dbus/v5"
)

// The waits between two tries to reach a device that we are subscribed to.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// keepSubscribed keeps the devices connected that are subscribed to. It ends with the context.
func (s *session) keepSubscribed(ctx context.Context) {
	type retry struct {
		at   time.Time
		wait time.Duration
	}
	retries := map[*Station]retry{}
	for _, st := range s.d.all() {
		if st.subscribes() {
			retries[st] = retry{}
		}
	}
	for len(retries) > 0 && ctx.Err() == nil {
		next := time.Now().Add(lastRetry)
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		for st, r := range retries {
			if s.isArmed(st) {
				retries[st] = retry{}
				continue
			}
			if now := time.Now(); !now.Before(r.at) {
				if err := s.arm(ctx, st); err != nil && ctx.Err() == nil {
					r.wait = min(max(2*r.wait, firstRetry), lastRetry)
					r.at = time.Now().Add(r.wait)
					retries[st] = r
					s.d.o.Log.Debug("a device could not be subscribed to", "device", st.name, "error", err, "again_in", r.wait)
				}
			}
			if r := retries[st]; !r.at.IsZero() && r.at.Before(next) {
				next = r.at
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *session) isArmed(st *Station) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[st.address]
	return p != nil && p.armed
}

// arm connects a device and subscribes to what is wanted of it.
func (s *session) arm(ctx context.Context, st *Station) error {
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	chars, err := s.reach(ctx, st)
	if err != nil {
		return err
	}
	wanted, missing := map[characteristic]bool{}, ""
	for _, g := range st.groups {
		for _, p := range g.points {
			if p.origin == fromNotices {
				wanted[p.char] = true
			}
		}
	}
	for c := range wanted {
		path, ok := chars[c]
		if !ok && c == batteryLevel() {
			s.armBattery(st)
			continue
		}
		if !ok {
			missing = c.uuid + " in a service " + c.service
			continue
		}
		s.mu.Lock()
		s.notices[path] = notice{st, c}
		s.mu.Unlock()
		if _, err := call(ctx, s.object(path), charIf+".StartNotify"); err != nil {
			return err
		}
	}
	if missing != "" { // it may be told late
		return fmt.Errorf("the device has no characteristic %s", missing)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[st.address]; p != nil && p.connected {
		p.armed = true
	}
	return nil
}

// armBattery has BlueZ's own account of the battery told as if it were the characteristic, from what it is now on.
func (s *session) armBattery(st *Station) {
	s.mu.Lock()
	if p := s.peers[st.address]; p != nil {
		s.notices[p.path] = notice{st, batteryLevel()}
	}
	s.mu.Unlock()
}

// dropNoticesLocked forgets the subscriptions of a device that was disconnected; the caller holds mu.
func (s *session) dropNoticesLocked(st *Station) {
	maps.DeleteFunc(s.notices, func(_ dbus.ObjectPath, n notice) bool { return n.station == st })
}

// notice takes what a characteristic says that we are subscribed to.
func (s *session) notice(path dbus.ObjectPath, changed properties) {
	s.mu.Lock()
	n, ours := s.notices[path]
	s.mu.Unlock()
	v, there := changed["Value"]
	level, battery := of[byte](changed, "Percentage")
	if !ours || !there && !battery {
		return
	}
	b, ok := v.Value().([]byte)
	if battery {
		b, ok = []byte{level}, true
	}
	if !ok {
		s.odd(1)
		return
	}
	now := time.Now()
	for _, r := range n.station.notified(n.char, b) {
		n.station.noted(r, now)
		s.emit(r)
	}
}
