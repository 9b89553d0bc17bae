package ble

import (
	"context"
	"fmt"
	"time"

	"edgegateway/adapters/field"
)

// ladder is how far the recovery of a radio has come on which nobody is heard.
type ladder struct {
	step  int       // that was done last; 0 for none
	since time.Time // when
	round int       // how often all steps were in vain
}

// The steps of recovery, each when the one before did not help.
const (
	stepScan = iota + 1
	stepAdapter
	stepService
	stepGiveUp
)

// mostRounds bounds how long a radio in a silent place is left alone: 64 times Quiet.
const mostRounds = 6

// doubted says that all recovery was in vain, so that only hearing somebody proves that the radio works.
func (d *Driver) doubted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ladder.round > 0
}

// awake notes that somebody was heard.
func (s *session) awake(now time.Time) {
	s.heardAt = now
	s.d.mu.Lock()
	was := s.d.ladder
	s.d.ladder = ladder{}
	s.d.mu.Unlock()
	if was == (ladder{}) {
		return
	}
	s.d.stats.count(func(t *Stats) { t.Trouble = "" })
	s.d.o.Log.Info("the radio hears again", "adapter", s.d.o.Adapter)
	if was.round > 0 {
		s.emit(field.Record{})
	}
}

// revive takes the next step of recovery when nobody was heard for too long.
func (s *session) revive(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	mode, paused := s.mode, s.paused > 0
	s.mu.Unlock()
	if paused {
		s.heardAt = now // we are the ones who do not listen
	}
	if mode == modeIdle || paused {
		return nil
	}
	s.d.mu.Lock()
	l := &s.d.ladder
	patience := s.d.o.Quiet << min(l.round, mostRounds)
	last := s.heardAt
	if l.since.After(last) {
		last = l.since
	}
	due := now.Sub(last) >= patience
	if due {
		l.step++
		l.since = now
	}
	step := l.step
	s.d.mu.Unlock()
	if !due {
		return nil
	}
	quiet := now.Sub(s.heardAt).Round(time.Second)
	s.say("nobody is heard for %s", quiet)
	switch step {
	case stepScan:
		return s.rescan(ctx)
	case stepAdapter:
		return s.cycle(ctx)
	case stepService:
		return s.restart(ctx)
	}
	s.d.mu.Lock()
	s.d.ladder = ladder{round: l.round + 1}
	s.d.mu.Unlock()
	return lineError("nobody is heard on %s, and neither a new scan nor switching it off and on%s helped: check the antenna, try another adapter, "+
		"and see whether any device is in range", s.d.o.Adapter, map[bool]string{true: " nor a restart of bluetoothd"}[s.d.o.Restart])
}

func (s *session) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.d.stats.count(func(t *Stats) { t.Trouble = text })
	s.d.o.Log.Warn(text, "adapter", s.d.o.Adapter)
}

// rescan is the first step: the scan ends and begins anew.
func (s *session) rescan(ctx context.Context) error {
	s.d.stats.count(func(t *Stats) { t.Scans++ })
	if s.monitors != nil {
		s.monitors.end(ctx)
		s.monitors = &monitors{session: s}
		return s.listen(ctx)
	}
	s.mu.Lock()
	s.cycling = true
	s.mu.Unlock()
	_, _ = shortly(ctx, s.object(s.path), adapterIf+".StopDiscovery") // it may have ended
	err := s.discover(ctx)
	s.mu.Lock()
	s.cycling = false
	s.mu.Unlock()
	return err
}

// cycle is the second step: the adapter is switched off and on.
func (s *session) cycle(ctx context.Context) error {
	s.d.stats.count(func(t *Stats) { t.Cycles++ })
	s.mu.Lock()
	s.cycling = true
	s.mu.Unlock()
	if err := s.power(ctx, false); err != nil {
		s.d.o.Log.Warn("the radio could not be switched off", "error", err)
	}
	if err := s.power(ctx, true); err != nil {
		return err
	}
	// What is told of the off and on stands in the mailbox behind us; a session that begins anew does not see it.
	return lineError("the radio %s was switched off and on, for nobody was heard", s.d.o.Adapter)
}

// restart is the third step: bluetoothd is restarted, where that is allowed.
func (s *session) restart(ctx context.Context) error {
	if !s.d.o.Restart {
		return nil
	}
	s.d.stats.count(func(t *Stats) { t.Restarts++ })
	manager := s.conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	if _, err := shortly(ctx, manager, "org.freedesktop.systemd1.Manager.RestartUnit", "bluetooth.service", "replace"); err != nil {
		s.d.o.Log.Warn("bluetoothd could not be restarted", "error", err)
	}
	return nil
}
