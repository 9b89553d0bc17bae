package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/dialect"
)

// site is the configuration bound to adapters: each line with the devices on it, each device with its station.
type site struct {
	config   *config.Config
	problems []config.Problem // of the files and of the binding, in the files' order
	lines    []*line
}

// line is one physical line and what hangs on it.
type line struct {
	config.Line
	wire    wire
	devices []collect.Device
	loop    *collect.Loop

	finished atomic.Bool // it was asked to end, and its loop may

	listener field.Listener // of its devices that speak by themselves; nil when there are none

	keys     string // of a radio: a digest of its devices' keys
	drivers  map[voice]field.Driver
	forecast float64 // share of its time that its devices need by their plans; 0 where that cannot be told
}

// secrets finds the file of a secret by its name.
type secrets func(name string) string

// inFolder finds secrets in one folder.
func inFolder(folder string) secrets {
	return func(name string) string { return filepath.Join(folder, name) }
}

// load reads a configuration and binds its devices. With open, the lines can be used, though they are not opened before
// their first request; without, they are closed for good, and nothing but the files is touched. The error says that there is nothing to go on with.
func load(file string, creds secrets, open bool, log *slog.Logger) (*site, error) {
	cfg, problems, err := config.Load(file, build())
	if err != nil {
		return nil, err
	}
	s := &site{config: cfg, problems: problems}
	for _, l := range cfg.Lines {
		bound := &line{Line: l}
		// Drivers plan by the line's speed, so that they need it for a mere check too. It is not opened by that.
		if l.Radio != "" {
			bound.wire, bound.keys = openRadio(l, creds, log), keysOn(cfg, l.Name, creds)
		} else if bound.wire, err = openLine(l, log); err != nil {
			return nil, err
		}
		if !open {
			defer bound.wire.Close()
		}
		bound.drivers = map[voice]field.Driver{}
		for _, d := range cfg.Devices {
			if d.Line == l.Name {
				s.readPassword(creds, &d)
				s.bind(bound, d)
			}
		}
		s.judgeListening(bound)
		s.lines = append(s.lines, bound)
	}
	for _, d := range cfg.Faulty {
		s.bindFaulty(d)
	}
	for _, p := range cfg.Platforms {
		if _, err := openDialect(p.Dialect, s.dialectConfig(p)); err != nil {
			problem := cfg.Problem(config.Error, config.KindPlatform, p.Name, "", err.Error(), "")
			problem.Fatal = true
			s.problems = append(s.problems, problem)
		}
	}
	if n := len(cfg.Platforms); n > buffer.MaxDestinations {
		problem := cfg.Problem(config.Error, config.KindPlatform, cfg.Platforms[n-1].Name, "",
			fmt.Sprintf("there are %d platforms", n), fmt.Sprintf("the buffer serves %d at most", buffer.MaxDestinations))
		problem.Fatal = true
		s.problems = append(s.problems, problem)
	}
	slices.SortStableFunc(s.problems, config.Problem.Compare)
	return s, nil
}

// close lets go of all lines of a site that does not run.
func (s *site) close() {
	for _, l := range s.lines {
		l.close()
	}
}

// bind binds one device. One that cannot be bound is a problem and is left out; the others go on.
func (s *site) bind(l *line, d config.Device) {
	driver, err := l.driver(l.drivers, l.wire, d.Device)
	if err != nil {
		s.problems = append(s.problems, s.config.Problems(d.Name, err)...)
		return
	}
	station, err := driver.Bind(d.Device)
	if err != nil {
		s.problems = append(s.problems, s.config.Problems(d.Name, err)...)
		return
	}
	device := collect.Device{
		Device: d.Device, Station: station, Every: d.Every, Slow: d.Slow,
		OnlyChanges: deadbands(d.OnlyChanges), Heartbeat: d.Heartbeat, SilentAfter: d.SilentAfter,
	}
	if pusher, ok := station.(field.Pusher); ok && pusher.Pushes() {
		device.Every, device.Slow = 0, 0
		l.listener, _ = driver.(field.Listener)
	}
	if mute, ok := station.(field.Mute); ok && mute.Mute() {
		device.Every, device.Slow = 0, 0
	}
	s.judgeRequires(d, station)
	if l.Radio != "" {
		l.listener, _ = driver.(field.Listener) // whoever listens keeps the radio going, for what is asked too
		if !hears(station) {
			device.SilentAfter = 0 // it is asked, and marked at once when it does not answer
		}
	}
	l.devices = append(l.devices, device)
}

// judgeRequires complains about what a write requires and can never be.
func (s *site) judgeRequires(d config.Device, station field.Station) {
	for _, t := range d.Tags {
		if !t.Write {
			continue
		}
		for name, want := range t.Requires {
			if _, err := field.ParseValue(kindOf(station, name), want); err != nil {
				s.problems = append(s.problems, s.config.Problem(config.Error, config.KindDevice, d.Name, "writable",
					fmt.Sprintf("%s requires %s = %q, which that tag never is: %v", t.Name, name, want, err), "write a value of the tag's type"))
			}
		}
	}
}

// judgeListening complains where a wire is to be listened to all the time and devices on it are to be asked as well.
// A radio can do both.
func (s *site) judgeListening(l *line) {
	if l.listener == nil || l.Radio != "" {
		return
	}
	for _, d := range l.devices {
		if d.Every > 0 {
			s.problems = append(s.problems, s.config.Problem(config.Error, config.KindDevice, d.Name, "line",
				fmt.Sprintf("line %q is listened to all the time, for a device on it speaks by itself", l.Name),
				"a device that is asked needs another line"))
		}
	}
	l.devices = slices.DeleteFunc(l.devices, func(d collect.Device) bool { return d.Every > 0 })
}

// voice is how a device is spoken to: there is one driver for each voice on a line.
type voice struct{ protocol, mode string }

// driver gives the driver for a device, which is opened when there is none yet.
func (l *line) driver(drivers map[voice]field.Driver, w wire, d field.Device) (field.Driver, error) {
	v := voice{d.Protocol, d.Mode}
	if driver := drivers[v]; driver != nil {
		return driver, nil
	}
	if r, ok := w.(*radio); ok && d.Protocol == bleProtocol {
		drivers[v] = r.driver
		return r.driver, nil
	}
	driver, err := adapters.Open(d.Protocol, viewOf(w, d.Mode), l.Framing)
	if err == nil {
		drivers[v] = driver
	}
	return driver, err
}

// readPassword gives a device the password that its file holds. Without it the device is read, and not written.
func (s *site) readPassword(creds secrets, d *config.Device) {
	if d.Password == "" {
		return
	}
	text, err := os.ReadFile(creds(d.Password))
	if err != nil {
		s.problems = append(s.problems, s.config.Problem(config.Warning, config.KindDevice, d.Name, "password",
			"the file cannot be read: "+err.Error(), "put the password into a file of this name in the credentials folder; until then what needs it is refused"))
		return
	}
	d.Secret = strings.TrimSpace(string(text))
}

// bindFaulty binds a device that cannot run, for what else is wrong with it: every fault is told at once.
func (s *site) bindFaulty(d config.Device) {
	framing := ""
	for _, l := range s.config.Lines {
		if l.Name == d.Line {
			framing = l.Framing
		}
	}
	driver, err := adapters.Open(d.Protocol, nil, framing)
	if err != nil {
		return // its line has faults of its own
	}
	if _, err = driver.Bind(d.Device); err == nil {
		return
	}
	for _, p := range s.config.Problems(d.Name, err) {
		told := func(q config.Problem) bool { return q.File == p.File && q.Line == p.Line }
		if !slices.ContainsFunc(s.problems, told) {
			s.problems = append(s.problems, p)
		}
	}
}

// dialectConfig is what a platform's dialect can be told before the daemon runs.
func (s *site) dialectConfig(p config.Platform) dialect.Config {
	return dialect.Config{
		Gateway: s.config.Gateway.Name, Site: s.config.Gateway.Site, Version: version(),
		Client: p.Client, Prefix: p.Prefix, Options: p.Options,
	}
}

func deadbands(in map[string]config.Deadband) map[string]collect.Deadband {
	if in == nil {
		return nil
	}
	out := make(map[string]collect.Deadband, len(in))
	for tag, d := range in {
		out[tag] = collect.Deadband(d)
	}
	return out
}

// bound counts the devices that can run.
func (s *site) bound() int {
	n := 0
	for _, l := range s.lines {
		n += len(l.devices)
	}
	return n
}

// tags counts the tags of those devices.
func (s *site) tags() int {
	n := 0
	for _, l := range s.lines {
		for _, d := range l.devices {
			n += len(d.Tags)
		}
	}
	return n
}

// fatal gives the first problem that leaves nothing to run.
func (s *site) fatal() error {
	for _, p := range s.problems {
		if p.Fatal {
			return fmt.Errorf("the configuration cannot be run; `gatewayd check` says all that is wrong with it\n%s", p)
		}
	}
	return nil
}

// trouble says in one sentence what of the configuration is not run; "" when all of it is.
func (s *site) trouble() string {
	faults, first := 0, ""
	for _, p := range s.problems {
		if p.Severity == config.Error {
			if faults++; first == "" {
				first = p.String()
			}
		}
	}
	if faults == 0 {
		return ""
	}
	return fmt.Sprintf("%d faults in the configuration, and what they hit is not run; the first: %s", faults, first)
}
