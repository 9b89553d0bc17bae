package iec62056

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/meter"
)

const (
	// defaultTimeout leaves a meter more than the 1500 ms that the standard grants it before it answers, and between
	// two characters (6.3.14).
	defaultTimeout = 2 * time.Second
	defaultGuard   = 1500 * time.Millisecond
	slowReaction   = 200 * time.Millisecond // before a meter may be answered
	quickReaction  = 20 * time.Millisecond
	usualReadout   = 600  // bytes, until one was seen
	usualBaud      = 4800 // that meters offer, until one was met
)

// moder is a line whose rate can be changed.
type moder interface {
	Mode() link.Mode
	SetMode(link.Mode) error
}

// Driver is IEC 62056-21 on one line. It implements field.Driver and field.Scanner. Its stations, like the line,
// belong to one goroutine.
type Driver struct {
	talk  meter.Talk
	moder moder     // nil on a line with one rate
	start link.Mode // at which every session begins
	sleep func(context.Context, time.Duration) error
	ready time.Time // before it the meter of the last session is not called again: it returns to the first rate
}

// New makes a driver on a line. With a nil line it binds, and every exchange fails with field.ErrLine. Sessions begin
// in the mode that the line has now.
func New(line link.Line) *Driver {
	if line == nil {
		line = link.None()
	}
	d := &Driver{talk: meter.Talk{Line: line, Guard: defaultGuard}, sleep: sleep}
	if m, ok := line.(moder); ok {
		d.moder, d.start = m, m.Mode()
	}
	return d
}

// what is where a tag's value stands.
type what struct {
	place place
	text  bool
}

// Station is one meter. It implements field.Station and field.Coster.
type Station struct {
	driver    *Driver
	address   string
	who       string
	timeout   time.Duration
	mode      byte // 'A' to 'D'; 0 for what the identification says
	registers bool // read one by one, in programming mode
	maxBaud   int  // 0 for what the meter offers
	parity    bool // made here, for a line of 8 data bits
	identify  *place
	password  string
	groups    []*meter.Group[what]
	shapes    []*field.Group
	stats     meter.Stats

	readout int           // bytes of the last one
	fast    time.Duration // wire time of one of its characters; 0 for as the line has it
}

// Bind checks a device, as field.Driver says. The station is a *Station.
func (d *Driver) Bind(dev field.Device) (field.Station, error) {
	s := &Station{driver: d, who: "meter " + dev.Address, timeout: meter.FirstPositive(dev.Timeout, defaultTimeout), password: dev.Secret, readout: usualReadout}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.DeviceError{Key: key, Value: value, Problem: problem, Hint: hint})
	}
	if dev.Address != "*" {
		s.address = dev.Address
		if dev.Address == "" || len(dev.Address) > 32 || strings.Trim(dev.Address, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz ") != "" {
			fault("address", dev.Address, "this is no meter's address", `write the digits and letters that it is called by, at most 32, or "*" for a meter alone on its line`)
		}
	}
	if strings.ContainsAny(dev.Secret, "()\x00\x01\x02\x03\r\n") || len(dev.Secret) > 32 {
		fault("password", "", "the password is not of the right form", "the file holds at most 32 characters, without parentheses")
	}
	s.readQuirks(dev.Quirks, fault)
	groups, errs := meter.Bind(dev, "IEC 62056-21", readTag)
	if faults = append(faults, errs...); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if d.moder != nil && d.start.DataBits == 8 && d.start.Parity == 'N' {
		s.parity = true
	}
	s.groups, s.shapes = groups, meter.Shapes(groups)
	return s, nil
}

var quirkNames = []string{"identify", "max_baud", "mode", "parity", "read"}

func (s *Station) readQuirks(given map[string]string, fault meter.Fault) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		oneOf := func(words ...string) {
			if !slices.Contains(words, value) {
				fault(name, value, "there is no such word here", field.Suggest(value, words...))
			}
		}
		switch name {
		case "mode":
			oneOf("A", "B", "C", "D")
			if value != "" {
				s.mode = value[0]
			}
		case "read":
			oneOf("readout", "registers")
			s.registers = value == "registers"
		case "parity":
			oneOf("line", "software")
			s.parity = value == "software"
		case "max_baud":
			n, err := strconv.Atoi(value)
			if err != nil || !slices.Contains(rates[:], n) {
				fault(name, value, "the standard has no such rate", "allowed are 300, 600, 1200, 2400, 4800, 9600, 19200")
			}
			s.maxBaud = n
		case "identify":
			p, ok := parsePlace(value)
			if !ok {
				fault(name, value, "this is no address of a data set", `write the one that holds the meter's address: "0.0.0"`)
			}
			s.identify = &p
		default:
			fault(name, value, "an IEC 62056-21 meter has no such quirk", field.Suggest(name, quirkNames...))
		}
	}
	switch {
	case s.registers && s.mode != 0 && s.mode != 'C':
		fault("read", "registers", "single registers are read in mode C only", `leave "mode" out, or read the readout`)
	case s.identify != nil && s.address == "":
		fault("identify", given["identify"], `the address is "*", and nothing could be compared with it`, "write the meter's address, or leave the quirk out")
	}
}

// readTag judges one tag's address and type.
func readTag(tag field.Tag, fault meter.Fault) (w what, text bool, unit string) {
	var ok bool
	if w.place, ok = parsePlace(tag.At); !ok {
		fault("at", tag.At, "this is no address of a data set", `write it as the meter prints it: "1.8.0", "1-0:1.8.0*255"; "1.6.1 value 2" is the second value`)
	}
	switch tag.Type {
	case "", "number":
	case "string":
		w.text = true
	default:
		fault("type", tag.Type, "there is no such type", field.Suggest(tag.Type, "number", "string"))
	}
	if tag.Write {
		fault("at", tag.At, "IEC 62056-21 meters are not written here", "take the tag off the device's writable list")
	}
	return w, w.text, ""
}

// Groups implements field.Station.
func (s *Station) Groups() []*field.Group { return s.shapes }

// Counts implements field.Counter.
func (s *Station) Counts() field.Counts { return s.stats.Counts() }

// Cost implements field.Coster. What is spoken at an agreed rate is counted as a pause.
func (s *Station) Cost(group string) field.Cost {
	g := meter.Find(s.groups, group)
	c := field.Cost{Timeout: s.timeout}
	if g == nil {
		return c
	}
	turnaround := meter.FirstPositive(s.stats.Turnaround(), slowReaction)
	char := s.driver.talk.Line.Timing().Char
	body, steps := s.readout, 2
	c.Exchanges, c.Sent, c.Received = 1, len(request(s.address)), 20
	switch {
	case s.mode == 'D':
		c.Sent, c.Received, steps = 0, 20, 0
	case s.registers:
		steps += 2 + 2*len(g.Points)
		c.Exchanges += 2 + len(g.Points)
		body = 40 + 40*len(g.Points)
	}
	if s.mode != 'D' && s.mode != 'A' && s.mode != 'B' {
		c.Sent += len(option('0', false))
	}
	fast := char
	switch mayChange := s.driver.moder != nil && s.mode != 'A' && s.mode != 'D'; {
	case s.fast > 0:
		fast = s.fast
	case mayChange:
		mode := s.driver.start
		mode.Baud = max(mode.Baud, usualBaud)
		if s.maxBaud > 0 {
			mode.Baud = max(s.driver.start.Baud, s.maxBaud)
		}
		fast = mode.Char()
	}
	c.Pause = time.Duration(steps)*turnaround + time.Duration(body)*fast
	return c
}

// refusal is a meter's own error message in the words of the seam.
func refusal(text string) *field.ExceptionError {
	code, _ := strconv.Atoi(strings.TrimLeft(text, "ERer "))
	return &field.ExceptionError{Code: code, Name: fmt.Sprintf("the meter says %q", text)}
}
