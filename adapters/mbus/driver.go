package mbus

import (
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
	defaultGuard  = time.Second
	leastTimeout  = 500 * time.Millisecond
	usualWait     = 60 * time.Millisecond
	usualTelegram = 100 // bytes, until one was seen
	mostTelegrams = 16  // of one readout
)

// Driver is M-Bus on one line. It implements field.Driver and field.Scanner. Its stations, like the line, belong to one
// goroutine.
type Driver struct{ talk meter.Talk }

// New makes a driver on a line. With a nil line it binds, and every exchange fails with field.ErrLine.
func New(line link.Line) *Driver {
	if line == nil {
		line = link.None()
	}
	return &Driver{meter.Talk{Line: line, Guard: defaultGuard}}
}

// timeout leaves a meter twice what it may take: 330 bit times and 50 ms (EN 13757-2, 5.5).
func (d *Driver) timeout() time.Duration {
	return max(leastTimeout, 60*d.talk.Line.Timing().Char+100*time.Millisecond)
}

// what is where a tag's value stands.
type what struct {
	place place
	text  bool
}

// Station is one meter. It implements field.Station and field.Coster.
type Station struct {
	driver    *Driver
	who       string
	primary   byte
	secondary *secondary // nil for a meter with a primary address
	timeout   time.Duration
	reset     bool // SND_NKE before the first read, and after each that failed
	fresh     bool // it was reset, and has not failed since
	count     byte // fcb of the next request, 0 or fcb
	groups    []*meter.Group[what]
	shapes    []*field.Group
	stats     meter.Stats

	telegrams, received int // of the last readout
}

const addressHint = `allowed are "1" to "250", "254" for a meter alone on its line, and secondary addresses: the 8 digits of the meter's number, or 16 with maker, version and medium, F for a digit that may be anything`

// Bind checks a device, as field.Driver says. The station is a *Station.
func (d *Driver) Bind(dev field.Device) (field.Station, error) {
	s := &Station{driver: d, who: "meter " + dev.Address, timeout: meter.FirstPositive(dev.Timeout, d.timeout()), reset: true,
		count: fcb, telegrams: 1, received: usualTelegram}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.DeviceError{Key: key, Value: value, Problem: problem, Hint: hint})
	}
	if a, ok := parseSecondary(dev.Address); ok {
		s.secondary, s.primary = &a, toSelected
	} else if n, err := strconv.ParseUint(dev.Address, 10, 8); err == nil && (n >= 1 && n <= 250 || n == toAnyone) {
		s.primary = byte(n)
	} else {
		fault("address", dev.Address, "this is no M-Bus address", addressHint)
	}
	for _, name := range slices.Sorted(maps.Keys(dev.Quirks)) {
		switch value := dev.Quirks[name]; {
		case name != "reset":
			fault(name, value, "an M-Bus meter has no such quirk", field.Suggest(name, "reset"))
		case value != "true" && value != "false":
			fault(name, value, "this is neither true nor false", "false never resets the meter's link")
		default:
			s.reset = value == "true"
		}
	}
	groups, errs := meter.Bind(dev, "M-Bus", readTag)
	if faults = append(faults, errs...); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.groups, s.shapes = groups, meter.Shapes(groups)
	return s, nil
}

// readTag judges one tag's address, type and unit.
func readTag(tag field.Tag, fault meter.Fault) (w what, text bool, unit string) {
	var ok bool
	if w.place, ok = parsePlace(tag.At); !ok {
		first, _, _ := strings.Cut(tag.At, " ")
		hint := "write a quantity, with storage, tariff, unit, max or min behind it where they are not the usual: " +
			`"volume storage 1"; or the header of a data record, "0C 13"; or "record 3"; or id, maker, medium, version, status, access`
		if near, found := field.Nearest(first, quantityNames()...); found {
			hint = fmt.Sprintf("did you mean %q? %s", near, hint)
		}
		fault("at", tag.At, "this is no address of a value", hint)
		return w, false, ""
	}
	w.text = words[w.place.word] || w.place.quantity == "time"
	switch tag.Type {
	case "":
	case "number":
		w.text = false
	case "string":
		w.text = true
	default:
		fault("type", tag.Type, "there is no such type", field.Suggest(tag.Type, "number", "string"))
	}
	q := w.place.quantity
	if known := units[q]; known != nil && tag.Unit != "" && tag.Scale == 0 {
		if _, ok := known[tag.Unit]; !ok {
			fault("unit", tag.Unit, "this is no unit of "+q, "allowed are "+strings.Join(slices.Sorted(maps.Keys(known)), ", ")+`; with a scale of the tag's own any is`)
		}
	}
	if tag.Write {
		fault("at", tag.At, "M-Bus meters are not written here", "take the tag off the device's writable list")
	}
	return w, w.text, quantities[q]
}

// Groups implements field.Station.
func (s *Station) Groups() []*field.Group { return s.shapes }

// Counts implements field.Counter.
func (s *Station) Counts() field.Counts { return s.stats.Counts() }

// Cost implements field.Coster. All values come with each readout, whatever the group.
func (s *Station) Cost(group string) field.Cost {
	c := field.Cost{Timeout: s.timeout}
	if meter.Find(s.groups, group) == nil {
		return c
	}
	c.Exchanges, c.Sent, c.Received = s.telegrams, 5*s.telegrams, s.received
	if s.secondary != nil {
		c.Exchanges, c.Sent, c.Received = c.Exchanges+1, c.Sent+17, c.Received+1
	}
	c.Pause = time.Duration(c.Exchanges) * s.stats.Pause(usualWait, s.driver.talk.Line.Timing().Silence)
	return c
}
