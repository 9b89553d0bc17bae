package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
	"edgegateway/gatewayd/config"
)

// runScan is `gatewayd scan LINE`. The running daemon does it between its polls; where none runs, this process opens
// the line itself. A port or a host that stands in no configuration can be named in the line's place.
func runScan(c *cli) error {
	if err := c.takes(1, 1, `scan LINE|PORT|HOST [--from A] [--to B] [--modes "9600 8N1,19200 8E1"] [--protocol NAME] [--timeout 200ms]`); err != nil {
		return err
	}
	args := scanArgs{Line: c.args[0], Protocol: *c.flags["protocol"], From: *c.flags["from"], To: *c.flags["to"], Timeout: *c.flags["timeout"]}
	for m := range strings.SplitSeq(*c.flags["modes"], ",") {
		if m = strings.TrimSpace(m); m != "" {
			args.Modes = append(args.Modes, m)
		}
	}
	show := &scanShow{cli: c, began: time.Now()}
	bare := strings.ContainsAny(args.Line, "/:") // a port or a host, and no line's name
	if !bare {
		words := *c
		words.json = false // show prints the JSON too, and counts what was found
		err := words.follow("scan", args.query(), show.line)
		var gone *unreachableError
		if !errors.As(err, &gone) {
			return show.end(err)
		}
	}
	l, profiles, err := c.ownLine(args, bare)
	if err != nil {
		return err
	}
	defer l.wire.Close()
	s := newScanner(l, profiles, args, show.step)
	ctx, stop := interruptible()
	defer stop()
	err = s.run(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil // the user has seen enough
	}
	return show.end(err)
}

func (a scanArgs) query() url.Values {
	q := url.Values{"line": {a.Line}, "mode": a.Modes}
	for key, value := range map[string]string{"protocol": a.Protocol, "from": a.From, "to": a.To, "timeout": a.Timeout} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return q
}

// ownLine opens a line for this process: one of the configuration, or a port or host that is named.
func (c *cli) ownLine(args scanArgs, bare bool) (*line, []*profile.Profile, error) {
	quiet := slog.New(slog.DiscardHandler)
	if bare {
		l := config.Line{Name: args.Line, Framing: *c.flags["framing"]}
		if strings.HasPrefix(args.Line, "/") {
			l.Port, l.Mode = args.Line, "9600 8N1"
			if len(args.Modes) > 0 {
				l.Mode = args.Modes[0]
			}
			if l.Framing == "" {
				l.Framing = "rtu"
			}
		} else {
			l.Host = args.Line
			if l.Framing == "" {
				l.Framing = "tcp"
			}
		}
		wire, err := openLine(l, quiet)
		if err != nil {
			return nil, nil, usagef("%v", err)
		}
		return &line{Line: l, wire: wire, drivers: map[voice]field.Driver{}}, profile.Library(build().TagKeys(), &strict.Report{}), nil
	}
	s, err := load(c.config, inFolder(c.creds), true, quiet)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("no daemon runs, and there is no configuration %s that would know the line %q\n    hint: name the port or the host itself: gatewayd scan /dev/ttyS1", c.config, args.Line)
	}
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, l := range s.lines {
		if l.Name == args.Line {
			return l, s.config.Profiles, nil
		}
		names = append(names, l.Name)
	}
	return nil, nil, fmt.Errorf("there is no line %q; there are: %s", args.Line, strings.Join(names, ", "))
}

// scanShow prints a scan as it goes: what is found on the one output, how far it is on the other.
type scanShow struct {
	*cli
	began    time.Time
	told     time.Time
	estimate bool
	found    []foundDoc
	heard    bool // it is a radio that was scanned
}

// steps is what a scan of the protocol goes by.
func steps(protocol string) string {
	if protocol == bleProtocol {
		return "moments of listening"
	}
	return "addresses"
}

func (s *scanShow) line(doc []byte) error {
	var d scanDoc
	if err := json.Unmarshal(doc, &d); err != nil {
		return err
	}
	return s.step(d)
}

// progressEvery is how often the way that a scan has gone is printed.
const progressEvery = 2 * time.Second

func (s *scanShow) step(d scanDoc) error {
	s.heard = s.heard || d.Protocol == bleProtocol
	if s.json {
		b, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if d.Found != nil {
			s.found = append(s.found, *d.Found)
		}
		_, err = fmt.Fprintf(s.out, "%s\n", b)
		return err
	}
	switch {
	case d.Found != nil:
		s.found = append(s.found, *d.Found)
		f := d.Found
		fmt.Fprintf(s.out, "found %s %s  %s  %s\n", f.Protocol, f.Address, f.Mode, f.Identity)
	case d.Ended:
	case d.Done > 0 && time.Since(s.told) > progressEvery:
		s.told = time.Now()
		fmt.Fprintf(s.err, "%s: %d of %d %s, about %v to go\n", d.Protocol, d.Done, d.Total, steps(d.Protocol),
			time.Duration(d.Left*float64(time.Second)).Round(time.Second))
	case d.Done == 0 && !s.estimate:
		s.estimate = true
		fmt.Fprintf(s.err, "%s: %d %s\n", d.Protocol, d.Total, steps(d.Protocol))
	}
	return nil
}

// end prints the table and what to paste. Nobody found is the answer no.
func (s *scanShow) end(err error) error {
	if err != nil {
		return err
	}
	if s.json {
		if len(s.found) == 0 {
			return errNo
		}
		return nil
	}
	if len(s.found) == 0 && s.heard {
		fmt.Fprintln(s.err, "nobody is heard; bring a device near, wake it (a button, its battery), and scan for longer: --timeout 60s")
		return errNo
	}
	if len(s.found) == 0 {
		fmt.Fprintln(s.err, "nobody answers; check the wiring (A and B may be exchanged), the supply, and the speed and parity: --modes tries several")
		return errNo
	}
	fmt.Fprintln(s.out)
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROTOCOL\tADDRESS\tMODE\tDEVICE\tPROFILE\tIDENTITY")
	for _, f := range s.found {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Protocol, f.Address, f.Mode, f.Known, f.Profile, f.Identity)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range s.found {
		if f.Device != "" {
			fmt.Fprintf(s.out, "\n%s", f.Device)
		}
	}
	return nil
}
