package ble

import (
	"context"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"

	"edgegateway/adapters/field"
)

// Where our own objects stand on the bus.
const (
	rootPath  = dbus.ObjectPath("/gatewayd/ble")
	agentPath = dbus.ObjectPath("/gatewayd/agent")
)

const (
	tries    = 5                      // to start a discovery that somebody else is just starting or ending
	between  = 500 * time.Millisecond // two of them, the first time; then twice as long, …
	modeIdle = "idle"                 // nobody is listened to: all that is wanted is read over connections
)

// listen begins to scan: passively where that works, else by discovery.
func (s *session) listen(ctx context.Context) error {
	if !slices.ContainsFunc(s.d.all(), (*Station).hearsAdverts) {
		s.setMode(modeIdle)
		return nil
	}
	if s.monitors != nil {
		err := s.monitors.begin(ctx)
		if err == nil {
			s.setMode(modePassive)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.d.o.Log.Info("passive scanning does not work here; asking the devices instead", "reason", err)
		s.monitors.end(ctx)
		s.monitors = nil
	}
	return s.discover(ctx)
}

func (s *session) setMode(mode string) {
	s.mu.Lock()
	s.mode = mode
	s.mu.Unlock()
	s.d.stats.count(func(t *Stats) { t.Mode = mode })
}

// demote falls back to discovery when BlueZ lets go of a monitor that worked.
func (s *session) demote(ctx context.Context, why string) error {
	if s.monitors == nil {
		return nil
	}
	s.d.o.Log.Info("passive scanning ended; asking the devices instead", "reason", why)
	s.monitors.end(ctx)
	s.monitors = nil
	return s.discover(ctx)
}

// discover starts discovery. Another client's discovery, or our own that is just ending, may be in the way for a moment.
func (s *session) discover(ctx context.Context) error {
	if err := s.startDiscovery(ctx); err != nil {
		return err
	}
	s.setMode(modeActive)
	return nil
}

func (s *session) startDiscovery(ctx context.Context) error {
	adapter := s.object(s.path)
	filter := map[string]dbus.Variant{"Transport": dbus.MakeVariant("le"), "DuplicateData": dbus.MakeVariant(true)}
	if _, err := shortly(ctx, adapter, adapterIf+".SetDiscoveryFilter", filter); err != nil {
		return lineError("the radio %s refuses to look for devices: %v", s.d.o.Adapter, err)
	}
	var err error
	for try := range tries {
		if _, err = shortly(ctx, adapter, adapterIf+".StartDiscovery"); err == nil {
			return nil
		}
		if !failed(err, "InProgress") {
			break
		}
		_, _ = shortly(ctx, adapter, adapterIf+".StopDiscovery") // it is ours, or it is not and nothing happens
		if err := pause(ctx, between<<try); err != nil {
			return err
		}
	}
	return lineError("the radio %s does not begin to look for devices: %v", s.d.o.Adapter, err)
}

func pause(ctx context.Context, d time.Duration) error {
	done := make(chan struct{})
	defer time.AfterFunc(d, func() { close(done) }).Stop()
	return field.Await(ctx, done)
}

// hold stops a discovery of ours while a connection is made, which few radios can do at the same time, and gives what
// begins it again.
func (s *session) hold(ctx context.Context) (release func()) {
	s.mu.Lock()
	s.paused++
	active := s.mode == modeActive
	s.mu.Unlock()
	if active {
		_, _ = shortly(ctx, s.object(s.path), adapterIf+".StopDiscovery") // it may not be running
	}
	return func() {
		s.mu.Lock()
		s.paused--
		again := s.mode == modeActive && s.paused == 0
		s.mu.Unlock()
		if !again {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := s.startDiscovery(ctx); err != nil { // the ladder sees to it, when nobody is heard
			s.d.o.Log.Warn("looking for devices did not begin again after a connection", "error", err)
		}
	}
}

// seek sees to it that discovery runs for a while, also where listening passively is enough otherwise.
func (s *session) seek(ctx context.Context) (release func(), err error) {
	s.mu.Lock()
	active := s.mode == modeActive
	s.mu.Unlock()
	if active {
		return func() {}, nil
	}
	if err := s.startDiscovery(ctx); err != nil {
		return func() {}, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_, _ = shortly(ctx, s.object(s.path), adapterIf+".StopDiscovery") // it may have been stopped for us
	}, nil
}
