package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"edgegateway/adapters/field"
)

// Stats is an uplink at one moment. Counters count since New.
type Stats struct {
	Connected bool
	Cut       bool      // by a drill
	Server    string    // in use, or last tried
	Since     time.Time // of Connected being what it is; zero before the first attempt ended
	Attempts  uint64    // to connect
	Sessions  uint64    // that the broker accepted
	LastError string    // of the last attempt or session, with a hint; "" while all is well

	Messages   uint64 // acknowledged by the broker, births included
	Bytes      uint64 // of their payloads
	Records    uint64 // acknowledged
	Readings   uint64 // acknowledged: the values in those records
	Backfilled uint64 // acknowledged records that had not left at once
	Rejected   uint64 // records given up as poison
	Repeats    uint64 // records that were out when a connection ended, and leave again
	Commands   uint64 // that came down

	InFlight     int           // bytes
	Window       int           // bytes that may be in flight
	AckDelay     time.Duration // smoothed, from hand-over to PUBACK
	BackfillRate float64       // records a second, over the last seconds
}

// Stats may be called from anywhere.
func (u *Uplink) Stats() Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.stats
	s.BackfillRate = u.meter.rate(time.Now())
	return s
}

// update changes the stats under their lock.
func (u *Uplink) update(f func(*Stats)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.stats)
}

// meter measures a rate over about a second.
type meter struct {
	since time.Time
	n     int
	last  float64
}

const meterPeriod = time.Second

func (m *meter) add(n int, now time.Time) {
	if m.since.IsZero() {
		m.since = now
	}
	if d := now.Sub(m.since); d >= meterPeriod {
		m.last, m.n, m.since = float64(m.n)/d.Seconds(), 0, now
	}
	m.n += n
}

func (m *meter) rate(now time.Time) float64 {
	d := now.Sub(m.since)
	switch {
	case m.since.IsZero() || d > 5*meterPeriod:
		return 0
	case d >= meterPeriod || m.last == 0:
		return float64(m.n) / max(d.Seconds(), meterPeriod.Seconds())
	}
	return m.last
}

// repeatLog is after how many failures in a row with the same words the log hears of it again.
const repeatLog = 100

// failed notes an attempt that came to nothing. The log has it when the words change, and now and then after that.
func (u *Uplink) failed(s server, err error) {
	text := words(err)
	level := slog.LevelWarn
	u.update(func(st *Stats) {
		if st.LastError == text && st.Attempts%repeatLog != 0 {
			level = slog.LevelDebug
		}
		st.LastError = text
		if st.Since.IsZero() {
			st.Since = time.Now()
		}
	})
	u.log.Log(context.Background(), level, "cannot connect to the platform", "server", s.url, "error", err, "hint", hint(err))
}

// takeoverLosses is after how many quick losses in a row we say that the client id may be used twice.
const takeoverLosses = 3

// noteLoss tells the log of a lost session, and people of a client id that seems to be used twice.
func (u *Uplink) noteLoss(end sessionEnd, quick bool) {
	u.log.Warn("the connection to the platform is lost", "server", end.server, "lasted", end.lasted.Round(time.Millisecond),
		"error", end.cause, "hint", hint(end.cause), "records_to_repeat", end.repeats)
	if !quick {
		u.quick = 0
		return
	}
	u.quick++
	if u.quick == takeoverLosses && u.trial.strikes < 2 {
		u.tell("config", fmt.Sprintf("%s closed the connection %d times within seconds of accepting it: another box may use the client id %q too (a copied image?); give each gateway its own name, or look into the broker's log",
			end.server, takeoverLosses, end.client))
	}
}

// tell says something to people: an event and a line in the log.
func (u *Uplink) tell(kind, text string) {
	u.log.Warn(text)
	if u.opts.Event != nil {
		u.opts.Event(field.Event{Kind: kind, Subject: u.opts.Name, Text: text})
	}
}
