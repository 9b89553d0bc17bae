package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/ble"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/profile"
	"edgegateway/gatewayd/command"
)

// scanArgs say where to look, as the verb, the stream and the command line have them.
type scanArgs struct {
	Line     string   `json:"line"`
	Protocol string   `json:"protocol,omitempty"` // one alone; "" for those of the line's devices, or modbus
	From     string   `json:"from,omitempty"`
	To       string   `json:"to,omitempty"`
	Modes    []string `json:"modes,omitempty"`
	Timeout  string   `json:"timeout,omitempty"` // for one address, such as "200ms"
}

// options are the arguments as a driver takes them.
func (a scanArgs) options() (field.ScanOptions, error) {
	o := field.ScanOptions{From: a.From, To: a.To, Modes: a.Modes}
	if a.Timeout == "" {
		return o, nil
	}
	d, err := time.ParseDuration(a.Timeout)
	if err != nil || d < 10*time.Millisecond || d > time.Minute {
		return o, command.Invalidf("timeout = %q: allowed are 10ms to 1m", a.Timeout)
	}
	o.Timeout = d
	return o, nil
}

// foundDoc is one device that answered, and what to write into the configuration for it.
type foundDoc struct {
	Line     string            `json:"line"`
	Protocol string            `json:"protocol"`
	Address  string            `json:"address"`
	Mode     string            `json:"mode,omitempty"`
	Identity string            `json:"identity,omitempty"`
	Profile  string            `json:"profile,omitempty"` // the one that probably fits
	Known    string            `json:"known,omitempty"`   // the configured device that this is
	Detail   map[string]string `json:"detail,omitempty"`
	Device   string            `json:"device,omitempty"` // a [[device]] to paste; "" for a known one, and for what is none
}

// scanDoc is one step of a scan: something found, or how far it is.
type scanDoc struct {
	Found    *foundDoc `json:"found,omitempty"`
	Done     int       `json:"done"`
	Total    int       `json:"total"`
	Protocol string    `json:"protocol,omitempty"`
	Left     float64   `json:"left_s,omitempty"` // seconds that it will probably still take
	Ended    bool      `json:"ended,omitempty"`
}

// scanner scans one line, with or without a loop around it.
type scanner struct {
	*line
	profiles []*profile.Profile
	matches  []match
	args     scanArgs
	tell     func(scanDoc) error
}

func newScanner(l *line, profiles []*profile.Profile, args scanArgs, tell func(scanDoc) error) *scanner {
	return &scanner{line: l, profiles: profiles, matches: matches(profiles), args: args, tell: tell}
}

// run asks each protocol's driver to look. Whoever it is run by owns the line.
func (s *scanner) run(ctx context.Context) error {
	o, err := s.args.options()
	if err != nil {
		return err
	}
	found, err := s.scanners()
	if err != nil {
		return err
	}
	for _, who := range found {
		if err := s.runOne(ctx, who.name, who.Scanner, o); err != nil {
			var bad *field.DeviceError
			if errors.As(err, &bad) {
				return command.Invalidf("%s", err)
			}
			return err
		}
	}
	return s.tell(scanDoc{Ended: true})
}

func (s *scanner) runOne(ctx context.Context, name string, driver field.Scanner, o field.ScanOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var gone error // of whoever listens
	tell := func(d scanDoc) {
		if err := s.tell(d); err != nil && gone == nil {
			gone = err
			stop()
		}
	}
	began, done, total := time.Now(), 0, 0
	err := driver.Scan(ctx, o, func(f field.Found) {
		doc := s.describe(ctx, f)
		tell(scanDoc{Found: &doc, Done: done, Total: total, Protocol: name})
	}, func(d, t int) {
		done, total = d, t
		step := scanDoc{Done: done, Total: total, Protocol: name}
		if done > 0 {
			step.Left = (time.Since(began) * time.Duration(total-done) / time.Duration(done)).Seconds()
		}
		tell(step)
	})
	return cmp.Or(gone, err)
}

// lookout is a driver that can look for devices, and its protocol.
type lookout struct {
	name string
	field.Scanner
}

// scanners gives those who look: of the protocol asked for, else of those of the line's devices, else of Modbus. They
// speak in the line's own mode, unless they are told others.
func (s *scanner) scanners() ([]lookout, error) {
	names := []string{s.args.Protocol}
	if s.args.Protocol == "" {
		names = nil
		for v := range s.drivers {
			if !slices.Contains(names, v.protocol) {
				names = append(names, v.protocol)
			}
		}
		slices.Sort(names)
	}
	if len(names) == 0 {
		names = []string{"modbus"}
		if s.Radio != "" {
			names = []string{bleProtocol}
		}
	}
	var all []lookout
	for _, name := range names {
		d, err := s.driver(s.drivers, s.wire, field.Device{Protocol: name})
		if err != nil {
			return nil, command.Invalidf("%s", err)
		}
		if look, ok := d.(field.Scanner); ok {
			all = append(all, lookout{name, look})
		}
	}
	if len(all) == 0 {
		return nil, command.Invalidf("protocol %s has no way to look for devices; --protocol names another", strings.Join(names, ", "))
	}
	return all, nil
}

// describe puts what was found into the words of the configuration.
func (s *scanner) describe(ctx context.Context, f field.Found) foundDoc {
	doc := foundDoc{Line: s.Name, Protocol: f.Protocol, Address: f.Address, Mode: f.Mode, Identity: f.Identity, Detail: f.Detail,
		Profile: cmp.Or(bestMatch(s.matches, f), f.Profile)}
	for _, d := range s.devices {
		if d.Protocol == f.Protocol && d.Address == f.Address {
			doc.Known, doc.Profile = d.Name, cmp.Or(d.Profile, doc.Profile)
			return doc
		}
	}
	if f.Detail["trouble"] != "" {
		return doc
	}
	if doc.Profile == "" && f.Detail["any_unit"] == "" {
		var why string
		if doc.Profile, why = s.fingerprint(ctx, f); why != "" {
			doc.Identity = strings.TrimSpace(doc.Identity + " (" + why + ")")
		}
	}
	doc.Device = s.deviceText(doc)
	return doc
}

// deviceText is a [[device]] to paste.
func (s *scanner) deviceText(d foundDoc) string {
	if d.Protocol == bleProtocol {
		return ble.Paste(s.Name, field.Found{Protocol: d.Protocol, Address: d.Address, Identity: d.Identity, Profile: d.Profile, Detail: d.Detail})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[[device]]\n")
	if d.Identity != "" {
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(d.Identity, "\n", " "))
	}
	fmt.Fprintf(&b, "name     = %q\nline     = %q\n", d.Protocol+"-"+nameOf(d.Address), s.Name)
	if d.Profile != "" {
		fmt.Fprintf(&b, "profile  = %q\n", d.Profile)
	} else {
		fmt.Fprintf(&b, "protocol = %q   # no profile is known to fit: add a [[tag]] for each value\n", d.Protocol)
	}
	fmt.Fprintf(&b, "address  = %q\n", d.Address)
	if own, err := link.ParseMode(s.Mode); err == nil && d.Mode != "" && d.Mode != own.String() {
		fmt.Fprintf(&b, "mode     = %q   # the line has %q\n", d.Mode, s.Mode)
	}
	return b.String()
}

// nameOf makes a name of an address.
func nameOf(address string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
			return r
		}
		return '-'
	}, address)
}

// scan scans a line through its loop: polls go on.
func (d *daemon) scan(ctx context.Context, args scanArgs, tell func(scanDoc) error) error {
	var names []string
	for _, l := range d.here().lines {
		if l.Name == args.Line {
			s := newScanner(l, d.here().config.Profiles, args, tell)
			return l.loop.Borrow(ctx, s.run)
		}
		names = append(names, l.Name)
	}
	return command.Invalidf("there is no line %q; there are: %s", args.Line, strings.Join(names, ", "))
}

// scanVerb is the verb of the table: it answers with all that was found.
func (d *daemon) scanVerb(ctx context.Context, raw json.RawMessage) (any, error) {
	var args scanArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	found := []foundDoc{}
	err := d.scan(ctx, args, func(s scanDoc) error {
		if s.Found != nil {
			found = append(found, *s.Found)
		} else if !s.Ended {
			command.Progress(ctx, s.Done, s.Total, fmt.Sprintf("%s: %d found, about %.0f s to go", s.Protocol, len(found), s.Left))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Found []foundDoc `json:"found"`
	}{found}, nil
}

// scanStream is the same for who wants to see it happen: one document a step.
func (d *daemon) scanStream(ctx context.Context, q url.Values, emit func(any) error) error {
	args := scanArgs{Line: q.Get("line"), Protocol: q.Get("protocol"), From: q.Get("from"), To: q.Get("to"), Modes: q["mode"], Timeout: q.Get("timeout")}
	var last time.Time
	return d.scan(ctx, args, func(s scanDoc) error {
		if s.Found == nil && !s.Ended && s.Done > 0 && s.Done < s.Total && time.Since(last) < scanTells {
			return nil
		}
		last = time.Now()
		return emit(s)
	})
}

// scanTells is how often a scan tells how far it is.
const scanTells = 200 * time.Millisecond

// scanLimit is when a scan by command is broken off: 247 addresses in four modes of a slow line take half of it.
const scanLimit = 30 * time.Minute
