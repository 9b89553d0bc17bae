package main

import (
	"fmt"
	"log/slog"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/config"
)

// The bounds of a line's budget: what is left above comfortable is for repeats, commands and a scan.
const (
	comfortable = 0.80
	full        = 1.00
)

// faster are the usual rates that a line which is too slow may be set to.
var faster = []int{9600, 19200, 38400, 57600, 115200}

// budget is what one serial line's devices need of it.
type budget struct {
	Line    string         `json:"line"`
	Mode    string         `json:"mode"`
	Share   float64        `json:"share"`             // of the line's time; 1 is all of it
	Silence float64        `json:"unanswered_s"`      // the longest that one unanswered request stops the line
	Devices []budgetDevice `json:"devices"`           // each device's part
	Faster  string         `json:"faster,omitempty"`  // a rate that would be enough
	Then    float64        `json:"then,omitempty"`    // what of that rate would be needed
	Busiest *budgetDevice  `json:"busiest,omitempty"` // who needs most
}

type budgetDevice struct {
	Name  string  `json:"name"`
	Every float64 `json:"every_s"`
	Share float64 `json:"share"`
}

// String is one sentence: "rs485-1 needs 118 % of 9600 8N1; feeder-3 at 1s is 41 % of it; 19200 would need 66 %".
func (b budget) String() string {
	s := fmt.Sprintf("%s needs %.0f %% of %s", b.Line, 100*b.Share, b.Mode)
	if b.Busiest != nil {
		every := time.Duration(b.Busiest.Every * float64(time.Second))
		s += fmt.Sprintf("; %s at %v is %.0f %% of it", b.Busiest.Name, every, 100*b.Busiest.Share)
	}
	if b.Faster != "" {
		s += fmt.Sprintf("; %s would need %.0f %%", b.Faster, 100*b.Then)
	}
	return s
}

// advice is what to do about a budget that is overdrawn.
const budgetAdvice = "poll the busiest devices less often, put tags that change slowly into their slow group, set line and devices to a faster rate, or split the line"

// budgets foretells the load of every serial line, and notes it there. Lines without bit times have none. It asks the
// stations for their plans, so it must be done before their loops run.
func (s *site) budgets() []budget {
	var all []budget
	for _, l := range s.lines {
		mode, err := link.ParseMode(l.Mode)
		if l.Port == "" || err != nil {
			continue
		}
		load := collect.Forecast(l.devices, charOf(mode))
		b := budget{Line: l.Name, Mode: l.Mode, Share: load.Share, Silence: load.Silence.Seconds(), Devices: []budgetDevice{}}
		for _, d := range load.Devices {
			b.Devices = append(b.Devices, budgetDevice{d.Name, d.Every.Seconds(), d.Share})
		}
		if d := load.Busiest(); d.Share > 0 {
			b.Busiest = &budgetDevice{d.Name, d.Every.Seconds(), d.Share}
		}
		if load.Share > comfortable {
			s.findFaster(l, mode, &b)
		}
		l.forecast = b.Share
		all = append(all, b)
	}
	return all
}

// findFaster finds the slowest of the usual rates at which the line would be comfortable, or the fastest.
func (s *site) findFaster(l *line, mode link.Mode, b *budget) {
	for _, baud := range faster {
		if baud <= mode.Baud {
			continue
		}
		quick := mode
		quick.Baud = baud
		load := collect.Forecast(s.replanned(l, quick), charOf(quick))
		if load.Share < b.Share {
			b.Faster, b.Then = fmt.Sprint(baud), load.Share
		}
		if load.Share <= comfortable {
			return
		}
	}
}

// replanned binds the line's devices as if the line were set to another mode: what is read together depends on it.
func (s *site) replanned(l *line, mode link.Mode) []collect.Device {
	other := l.Line
	other.Mode = mode.String()
	wire, err := openLine(other, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil
	}
	defer wire.Close()
	drivers := map[voice]field.Driver{}
	var devices []collect.Device
	for _, d := range l.devices {
		driver, err := l.driver(drivers, wire, d.Device)
		if err != nil {
			continue
		}
		if d.Station, err = driver.Bind(d.Device); err == nil {
			devices = append(devices, d)
		}
	}
	return devices
}

// charOf gives the wire time of a character in a device's own mode, or, for "", in the line's.
func charOf(own link.Mode) func(string) time.Duration {
	return func(mode string) time.Duration {
		if m, err := link.ParseMode(mode); err == nil {
			return m.Char()
		}
		return own.Char()
	}
}

// overdrawn makes a problem of each line that needs more than is comfortable. More than there is, is an error, unless
// force says that it is meant.
func (s *site) overdrawn(all []budget, force bool) []config.Problem {
	var problems []config.Problem
	for _, b := range all {
		severity, hint := config.Warning, budgetAdvice
		switch {
		case b.Share <= comfortable:
			continue
		case b.Share > full && !force:
			severity, hint = config.Error, budgetAdvice+"; --force accepts it as it is, and periods will be skipped"
		}
		problems = append(problems, s.config.Problem(severity, config.KindLine, b.Line, "mode", b.String(), hint))
	}
	return problems
}
