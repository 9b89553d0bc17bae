package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/flash"
	"edgegateway/gatewayd/health"
)

// status gathers what every part tells into one snapshot.
func (d *daemon) status() health.Status {
	now, here := time.Now(), d.here()
	store := d.store.Stats()
	s := health.Status{
		Gateway: here.config.Gateway.Name, Site: here.config.Gateway.Site, Version: version(),
		Now: now.UnixMilli(), Since: d.since.UnixMilli(),
		Buffer: health.Buffer{
			Durable: store.Durable, Trouble: store.Trouble, Epoch: store.Epoch,
			HeadRecords: store.HeadRecords, HeadBytes: store.HeadBytes, BlockRecords: store.BlockRecords,
			DiskBytes: store.DiskBytes, Limit: store.Limit, FreeBytes: store.FreeBytes,
			Commits: store.Commits, Written: store.Written, Taken: store.Taken,
			InflowDay: store.Inflow * (24 * time.Hour).Seconds(), Holds: store.Holds.Seconds(),
		},
		Flash:   flashOf(d.flash.Report()),
		Process: process(),
	}
	s.Config = health.Config{Hash: here.hash, From: "installer", Trial: d.kept.Trial() != nil}
	if d.kept.FromAfar() {
		s.Config.From = "afar"
	}
	s.Clock.Source, s.Clock.Synchronised = d.clock.Synchronised()
	for _, p := range here.platforms {
		s.Platforms = append(s.Platforms, p.health(&store, now))
	}
	for _, l := range here.lines {
		line, devices := l.health()
		s.Lines = append(s.Lines, line)
		s.Devices = append(s.Devices, devices...)
	}
	s.Problems = d.wrong(&s)
	return s
}

func flashOf(r flash.Report) health.Flash {
	return health.Flash{Device: r.Device, Used: r.Used, Reserve: r.Reserve, Own: r.Own, OwnDay: r.OwnDay, DeviceDay: r.DeviceDay}
}

// byCause names what was lost for each cause that lost anything.
func byCause(b *buffer.Books) map[string]uint64 {
	var out map[string]uint64
	for c, n := range b.ByCause {
		if n > 0 {
			if out == nil {
				out = map[string]uint64{}
			}
			out[buffer.Cause(c).String()] = n
		}
	}
	return out
}

func (p *platform) health(store *buffer.Stats, now time.Time) health.Platform {
	u := p.uplink.Stats()
	out := health.Platform{
		Name: p.Name, Dialect: p.Dialect, Connected: u.Connected, Cut: u.Cut, Server: u.Server, LastError: u.LastError,
		Attempts: u.Attempts, Connects: u.Sessions, Messages: u.Messages, Records: u.Records, Bytes: u.Bytes,
		InFlight: int64(u.InFlight), Window: int64(u.Window), AckDelay: u.AckDelay.Seconds(),
	}
	if !u.Since.IsZero() {
		out.Since = u.Since.UnixMilli()
	}
	for i := range store.Destinations {
		dest := &store.Destinations[i]
		if dest.Name != p.Name {
			continue
		}
		out.Backlog = dest.Backlog()
		if dest.Oldest != 0 {
			out.BacklogAge = max(0, float64(now.UnixMilli()-dest.Oldest)/1000)
		}
		for c, b := range dest.Books {
			out.Books = append(out.Books, health.Books{Class: field.Class(c).String(),
				Taken: b.Taken, Delivered: b.Delivered, Buffered: b.Buffered, Lost: b.Lost, ByCause: byCause(&b)})
		}
	}
	return out
}

func (l *line) health() (health.Line, []health.Device) {
	w, c := l.wire.Stats(), l.loop.Stats()
	out := health.Line{
		Name: l.Name, Where: where(l.Line), Up: c.Up, Occupancy: c.Occupancy, LastError: cmp.Or(c.Trouble, w.LastError),
		Exchanges: w.Exchanges, Timeouts: w.Timeouts, Garbage: w.Garbage, Opens: w.Opens, Sent: w.TxBytes, Received: w.RxBytes,
		Framing: w.FrameErrors, Parity: w.ParityErrors, Overruns: w.Overruns, Forecast: l.forecast,
	}
	devices := make([]health.Device, len(c.Devices))
	for i, d := range c.Devices {
		devices[i] = health.Device{
			Name: d.Name, Line: d.Line, Address: d.Address, State: d.State.String(), LastGood: d.LastAnswer.Wall,
			Good: d.Good, Bad: d.Bad, Polls: d.Polls, Failures: d.Failures, Missed: d.Missed,
			P95: d.P95.Seconds(), Period: d.Period.Seconds(),
			Occupancy: d.Occupancy, Turnaround: d.Wire.Turnaround.Seconds(), Requests: d.Wire.Requests, Timeouts: d.Wire.Timeouts,
			BadFrames: d.Wire.Garbage, Exceptions: d.Wire.Exceptions, Late: d.Wire.Late,
		}
		out.Missed += d.Missed
	}
	l.radioHealth(&out, devices)
	return out, devices
}

// overfull is the occupancy from which on a line that misses periods is taken to be too slow.
const overfull = 0.97

// wrong says in words what is wrong now, the gateway's own troubles first.
func (d *daemon) wrong(s *health.Status) []string {
	out := []string{}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !s.Buffer.Durable {
		add("the buffer is in memory alone, a power cut loses it: %s", s.Buffer.Trouble)
	}
	if text := d.here().trouble(); text != "" {
		add("%s", text)
	}
	if s.Flash.Used >= 0.9 || s.Flash.Reserve != "" && s.Flash.Reserve != "normal" {
		add("the flash %s wears out: %.0f %% of its life used, spare blocks %s: plan to replace it", s.Flash.Device, 100*s.Flash.Used,
			cmp.Or(s.Flash.Reserve, "not told"))
	}
	if text := d.identityTrouble(); text != "" {
		add("%s", text)
	}
	for i := range s.Platforms {
		if p := &s.Platforms[i]; !p.Connected && p.Since != 0 {
			why := cmp.Or(p.LastError, "not connected yet")
			if p.Cut {
				why = "its uplink is cut on purpose"
			}
			add("platform %s is not reached: %s", p.Name, why)
		}
	}
	for _, l := range s.Lines {
		if !l.Up {
			add("line %s is down: %s", l.Name, l.LastError)
		}
	}
	for _, l := range s.Lines {
		if l.Up && l.Occupancy > overfull && l.Missed > 0 {
			add("line %s is too slow for what is asked of it: it is busy for %.0f %% of the time, and %d periods passed without a read; %s",
				l.Name, 100*l.Occupancy, l.Missed, budgetAdvice)
		}
	}
	for _, l := range s.Lines {
		if l.Up && l.Radio != nil && l.Radio.Trouble != "" {
			add("radio %s: %s", l.Name, l.Radio.Trouble)
		}
	}
	for _, dev := range s.Devices {
		away := dev.State == collect.Offline.String()
		switch {
		case away && dev.Air != nil && dev.Air.Refusal != "":
			add("device %s (line %s, address %s) is heard, and what it says is refused: %s", dev.Name, dev.Line, dev.Address, dev.Air.Refusal)
		case away:
			add("device %s (line %s, address %s) does not answer", dev.Name, dev.Line, dev.Address)
		}
	}
	return out
}

// headline is the one sentence of `systemctl status`.
func (d *daemon) headline() string {
	s := d.status()
	if len(s.Problems) > 0 {
		return fmt.Sprintf("%d problems; the first: %s", len(s.Problems), s.Problems[0])
	}
	return fmt.Sprintf("all is well: %d lines, %d devices", len(s.Lines), len(s.Devices))
}

// standstill is how long a line's loop may show no sign of life, and how much later than it said itself the buffer or an
// uplink may make its next turn, before the watchdog takes it for stuck. One answer may be waited for for a minute, and a
// dying flash or a socket that takes nothing may hold one up for long and recover.
const standstill = 2 * time.Minute

// progress makes the watchdog's question: do every line's loop, the buffer and every uplink turn? An outage of a line or
// of the uplink is no reason to restart: the loops turn all the same.
func (d *daemon) progress() func() error {
	lines := pulses{}
	return func() error {
		if err := lines.feel(d.here().lines); err != nil {
			return err
		}
		if late := d.store.Overdue(); late > standstill {
			return fmt.Errorf("the buffer stands still for %s", late.Round(time.Second))
		}
		for _, p := range d.here().platforms {
			if late := p.uplink.Overdue(); late > standstill {
				return fmt.Errorf("the uplink to %s stands still for %s", p.Name, late.Round(time.Second))
			}
		}
		return nil
	}
}

// pulses are the signs of life of the lines' loops, as they were last felt.
type pulses map[*collect.Loop]pulse

// pulse is a count that rises while a loop lives, and since when it is what it is.
type pulse struct {
	count uint64
	since time.Time
}

// feel says which loop stands still. A loop turns between two reads, and one read may take minutes: a meter at 300 baud
// tells all that it knows in one session. So what moves on the line is a sign of life too.
func (p pulses) feel(lines []*line) error {
	var still error
	felt := map[*collect.Loop]bool{}
	for _, l := range lines {
		felt[l.loop] = true
		s := l.wire.Stats()
		count := l.loop.Progress() + s.Exchanges + s.TxBytes + s.RxBytes
		if before, ok := p[l.loop]; !ok || before.count != count {
			p[l.loop] = pulse{count, time.Now()}
		} else if late := time.Since(before.since); late > standstill && still == nil {
			still = fmt.Errorf("the loop of line %s stands still for %s", l.Name, late.Round(time.Second))
		}
	}
	maps.DeleteFunc(p, func(l *collect.Loop, _ pulse) bool { return !felt[l] })
	return still
}

// process tells what the daemon itself takes.
func process() health.Process {
	samples := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	p := health.Process{Goroutines: int(samples[0].Value.Uint64()), HeapBytes: int64(samples[1].Value.Uint64())}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return p // not fatal, and not Linux
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			p.RSSBytes = kib << 10
		case "VmHWM":
			p.PeakBytes = kib << 10
		}
	}
	return p
}
