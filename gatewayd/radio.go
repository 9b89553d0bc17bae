package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/ble"
	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/health"
)

// bleProtocol is the protocol that radios carry.
const bleProtocol = "ble"

// radio is a line that is no wire: what is asked of a wire it does not have.
type radio struct {
	driver *ble.Driver
	trace  link.Trace
}

// openRadio makes the radio that is configured. Nothing is touched before somebody listens.
func openRadio(l config.Line, creds secrets, log *slog.Logger) *radio {
	return &radio{driver: ble.New(ble.Options{
		Adapter: l.Radio, Active: l.Scan == config.ScanActive, Restart: l.RestartService, Connect: l.Timeout, Log: log.With("line", l.Name),
		Secret: func(name string) ([]byte, error) { return os.ReadFile(creds(name)) },
	})}
}

// keysOn is a digest of the keys that a radio's devices encrypt with, which the driver reads when it begins to listen.
func keysOn(c *config.Config, line string, creds secrets) string {
	var files []string
	for _, d := range c.On(line) {
		if name := d.Quirks["key"]; name != "" {
			files = append(files, creds(name))
		}
	}
	return digestOf(files)
}

// Exchange implements link.Line: there is nothing to exchange bytes with.
func (r *radio) Exchange(context.Context, []byte, time.Duration, link.Framer) ([]byte, error) {
	return nil, &link.DownError{Line: "the radio", Err: errors.New("a radio carries no frames of wired protocols")}
}

// Timing implements link.Line.
func (r *radio) Timing() link.Timing { return link.Timing{} }

// Close implements link.Line: the radio is let go of when nobody listens any more.
func (r *radio) Close() error { return nil }

// Trace implements wire; what is heard is traced by traceRadio.
func (r *radio) Trace() *link.Trace { return &r.trace }

// Stats implements wire.
func (r *radio) Stats() link.Stats {
	s := r.driver.Stats()
	return link.Stats{Up: s.Listening, LastError: s.Trouble, Exchanges: s.Connects + s.Failures, Timeouts: s.Failures,
		Garbage: s.Truncated + s.Unknown + s.Key + s.Replayed + s.Plain + s.Odd}
}

// remember makes a radio go on where the devices' counts stand.
func (d *daemon) remember(l *line) {
	if r, ok := l.wire.(*radio); ok {
		r.driver.Remember(d.counts)
	}
}

// forgetCounts forgets how far devices have counted that left the configuration, once it is sure to hold.
func (d *daemon) forgetCounts() {
	if d.kept.Trial() != nil {
		return
	}
	c := d.here().config
	d.counts.Forget(func(name string) bool {
		named := func(dev config.Device) bool { return dev.Name == name }
		return slices.ContainsFunc(c.Devices, named) || slices.ContainsFunc(c.Faulty, named)
	})
}

// hears says whether anything of a station comes unasked.
func hears(s field.Station) bool {
	h, ok := s.(field.Hearer)
	if !ok {
		return false
	}
	for _, g := range s.Groups() {
		if h.Hears(g.Name) {
			return true
		}
	}
	return false
}

// radioHealth adds to a line and its devices what only a radio knows.
func (l *line) radioHealth(out *health.Line, devices []health.Device) {
	r, ok := l.wire.(*radio)
	if !ok {
		return
	}
	s := r.driver.Stats()
	out.Radio = &health.Radio{
		Adapter: s.Adapter, Address: s.Address, Mode: s.Mode, Heard: moment(s.Heard), Trouble: s.Trouble, Adverts: s.Adverts, Repeats: s.Repeats, Strangers: s.Strangers, Forgotten: s.Forgotten,
		Dropped: s.Dropped, Odd: s.Odd, Truncated: s.Truncated, Unknown: s.Unknown, Key: s.Key, Replayed: s.Replayed, Plain: s.Plain,
		Scans: s.Scans, Cycles: s.Cycles, Restarts: s.Restarts, Connects: s.Connects, Failures: s.Failures,
	}
	for _, d := range s.Devices {
		for i := range devices {
			if devices[i].Name != d.Name {
				continue
			}
			air := &health.Air{RSSI: d.RSSI, Heard: moment(d.LastSeen), Format: d.Format, Adverts: d.Adverts, Repeats: d.Repeats,
				Refused: d.Refused, Refusal: d.Refusal, Connected: d.Connected}
			if level, ok := d.Battery.Float(); ok {
				air.Battery = &level
			}
			devices[i].Air = air
		}
	}
}

// moment is a time in Unix milliseconds; 0 for never.
func moment(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// traceRadio follows what is heard on a radio, of strangers too: one document for each field of an advertisement.
func (l *line) traceRadio(ctx context.Context, r *radio, emit func(any) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for a := range r.driver.Tap(ctx) {
		for _, f := range a.Fields {
			kind := "16"
			if f.Source == advert.Manufacturer {
				kind = "ff"
			}
			doc := traceDoc{T: a.Time.UnixMilli(), Line: l.Name, Dir: link.Rx.String(), Hex: strings.TrimSpace(fmt.Sprintf("%s %02x %02x % x", kind, byte(f.ID), byte(f.ID>>8), f.Data)),
				Text: fmt.Sprintf("%s %d dBm: %s data of %04X, %s", a.Address, a.RSSI, f.Source, f.ID, advert.Recognise(f))}
			if err := emit(doc); err != nil {
				return err
			}
		}
	}
	return nil
}
