package dlt645

import (
	"encoding/hex"
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
	// defaultTimeout leaves a meter twice the 500 ms that the standard grants it before its first byte (5.3).
	defaultTimeout = time.Second
	defaultGuard   = time.Second
	usualWait      = 60 * time.Millisecond // that meters take for an answer; the standard allows 20 to 500 ms
	defaultWake    = 4
	mostWake       = 16
)

// Driver is DL/T 645 on one line. It implements field.Driver and field.Scanner. Its stations, like the line, belong to
// one goroutine.
type Driver struct {
	talk meter.Talk
	now  func() time.Time
}

// New makes a driver on a line. With a nil line it binds, and every exchange fails with field.ErrLine.
func New(line link.Line) *Driver {
	if line == nil {
		line = link.None()
	}
	return &Driver{talk: meter.Talk{Line: line, Guard: defaultGuard}, now: time.Now}
}

// what is where a tag lies: one item, or one of the two that have a word.
type what struct {
	word   string // "clock", "freeze" or ""
	id     id
	format format
}

// The items behind the words.
var (
	dateItem   = id{v2007, 0x04000101}
	timeItem   = id{v2007, 0x04000102}
	freezeItem = id{v2007, 0x05010001} // when the meter was last frozen at a word
)

// Station is one meter. It implements field.Station, field.Prober, field.Writer and field.Coster.
type Station struct {
	driver   *Driver
	address  address
	who      string
	version  version
	timeout  time.Duration
	wake     int
	blocks   bool
	password []byte // PA P0 P1 P2; nil when none is known
	operator []byte // C0…C3, of 2007
	groups   []*meter.Group[what]
	shapes   []*field.Group
	plans    map[string][]request // by group
	refused  map[uint32]bool      // blocks that the meter does not have
	stats    meter.Stats
}

// request is one question of a plan.
type request struct {
	id     id
	points []*meter.Point[what]
	places []int // of each point in the block; nil for a single item
	item   format
}

// Bind checks a device and plans its requests, as field.Driver says. The station is a *Station.
func (d *Driver) Bind(dev field.Device) (field.Station, error) {
	s := &Station{driver: d, who: "meter " + dev.Address, wake: defaultWake, blocks: true, operator: make([]byte, 4),
		timeout: meter.FirstPositive(dev.Timeout, defaultTimeout), refused: map[uint32]bool{}}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.DeviceError{Key: key, Value: value, Problem: problem, Hint: hint})
	}
	var problem string
	if s.address, problem = parseAddress(dev.Address); problem != "" {
		fault("address", dev.Address, problem, `write the twelve digits on the meter in quotes: "000012345670"; "AAAAAAAAAAAA" is a meter alone on its line`)
	}
	s.readQuirks(dev.Quirks, fault)
	if dev.Secret != "" {
		b, err := hex.DecodeString(dev.Secret)
		if err != nil || len(b) != 4 {
			fault("password", "", "the password is not of the right form", `the file holds eight digits: the level and the password, such as "02123456"`)
		} else {
			s.password = []byte{b[0], b[3], b[2], b[1]}
		}
	}
	groups, errs := meter.Bind(dev, "DL/T 645", s.readTag)
	faults = append(faults, errs...)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if s.version == 0 {
		s.version = v2007
	}
	s.groups, s.shapes = groups, meter.Shapes(groups)
	s.plan()
	return s, nil
}

var quirkNames = []string{"wake", "blocks", "operator"}

func (s *Station) readQuirks(given map[string]string, fault meter.Fault) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		switch name {
		case "wake":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > mostWake {
				fault(name, value, "this is no number of wake-up bytes", fmt.Sprintf("allowed are 0 to %d; 4 by default", mostWake))
			}
			s.wake = n
		case "blocks":
			if value != "true" && value != "false" {
				fault(name, value, "this is neither true nor false", "false reads each item alone")
			}
			s.blocks = value == "true"
		case "operator":
			b, err := hex.DecodeString(value)
			if err != nil || len(b) != 4 {
				fault(name, value, "this is no operator's code", `write eight digits: "00000000"`)
			}
			slices.Reverse(b)
			s.operator = b
		default:
			fault(name, value, "a DL/T 645 meter has no such quirk", field.Suggest(name, quirkNames...))
		}
	}
}

// readTag judges one tag's address and format.
func (s *Station) readTag(tag field.Tag, fault meter.Fault) (w what, text bool, unit string) {
	edition := v2007
	switch at := tag.At; at {
	case "clock", "freeze":
		w.word, w.format = at, format{form: formMinute, size: 5}
		w.id = freezeItem
		if at == "clock" {
			w.id = dateItem
		}
		if tag.Type != "" {
			fault("type", tag.Type, "the "+at+" has a form of its own", "leave the type out")
		}
	default:
		var ok bool
		if w.id, ok = parseID(at); !ok {
			fault("at", at, "this is no data identifier", `write its eight hexadecimal digits, "00010000", or four of the edition of 1997, "9010"; or "clock" or "freeze"`)
			return w, false, ""
		}
		edition = w.id.version
		if w.format, ok = w.id.knownFormat(); !ok && tag.Type == "" {
			fault("type", "", "the format of this identifier is not known here", formatHint)
		}
		if tag.Type != "" {
			f, ok := parseFormat(tag.Type)
			if !ok {
				fault("type", tag.Type, "this is no format", formatHint)
			}
			f.rest, f.list, f.unit = w.format.rest, w.format.list, w.format.unit
			w.format = f
		}
	}
	switch {
	case s.version == 0:
		s.version = edition
	case s.version != edition:
		fault("at", tag.At, "this is an identifier of "+edition.String()+", and others of this meter are of "+s.version.String(),
			"a meter keeps one edition: eight digits for 2007, four for 1997")
	}
	return w, w.format.text(), w.format.unit
}

// plan puts points that lie in one block into one request, where the meter has blocks.
func (s *Station) plan() {
	s.plans = map[string][]request{}
	for _, g := range s.groups {
		var plan []request
		taken := map[*meter.Point[what]]bool{}
		for _, p := range g.Points {
			if taken[p] {
				continue
			}
			r := s.blockOf(g, p)
			if len(r.points) < 2 {
				r = request{id: p.Where.id, points: []*meter.Point[what]{p}, item: p.Where.format}
			}
			for _, q := range r.points {
				taken[q] = true
			}
			plan = append(plan, r)
		}
		s.plans[g.Shape.Name] = plan
	}
}

// blockOf gathers the points of a group that the block of p holds.
func (s *Station) blockOf(g *meter.Group[what], p *meter.Point[what]) (r request) {
	of, _, ok := p.Where.id.block()
	if !ok || !s.blocks || p.Where.word != "" || s.refused[of.code] {
		return r
	}
	r = request{id: of, item: p.Where.format}
	for _, q := range g.Points {
		other, place, ok := q.Where.id.block()
		same := q.Where.format
		same.unit = r.item.unit
		if ok && other == of && q.Where.word == "" && same == r.item {
			r.points, r.places = append(r.points, q), append(r.places, place)
		}
	}
	return r
}

// Groups implements field.Station.
func (s *Station) Groups() []*field.Group { return s.shapes }

// Counts implements field.Counter.
func (s *Station) Counts() field.Counts { return s.stats.Counts() }

// size is how many bytes of data an answer must have behind its identifier, at least.
func (r request) size() int {
	if r.places == nil {
		return r.item.size + r.item.rest
	}
	return (slices.Max(r.places) + 1) * r.item.size
}

// fits says what is wrong with the length of an answer's data; "" when nothing is.
func (r request) fits(n int) string {
	size := r.size()
	switch {
	case r.places == nil && !r.item.list && n != size:
		return fmt.Sprintf("%s came with %d bytes, and its format has %d; the tag's type is the format", r.id, n, size)
	case n < size:
		return fmt.Sprintf("%s came with %d bytes, and what is asked of it needs %d", r.id, n, size)
	}
	return ""
}

// Cost implements field.Coster.
func (s *Station) Cost(group string) field.Cost {
	c := field.Cost{Timeout: s.timeout}
	pause, wake := s.stats.Pause(usualWait, s.driver.talk.Line.Timing().Silence), defaultWake
	if s.stats.Turnaround() > 0 {
		wake = 0 // what was measured is the time to the frame, beyond its own bytes
	}
	for _, r := range s.plans[group] {
		n := 1
		if r.points[0].Where.word == "clock" {
			n = 2
		}
		c.Exchanges += n
		c.Sent += n * (s.wake + overhead + s.version.idSize())
		c.Received += n * (wake + overhead + s.version.idSize() + r.size())
		c.Pause += time.Duration(n) * pause
	}
	return c
}

// errorNames are the bits of the error word (2007, table 6 of annex; 1997, table 6), lowest first.
var errorNames = map[version][8]string{
	v2007: {"other error", "no such data", "wrong password or not allowed", "the baud rate cannot be changed",
		"too many zones of the year", "too many slots of the day", "too many tariffs", "reserved"},
	v1997: {"illegal data", "no such identifier", "wrong password", "reserved",
		"too many zones of the year", "too many slots of the day", "too many tariffs", "reserved"},
}

// refusal is an error word in the words of the seam.
func refusal(v version, word byte) *field.ExceptionError {
	var names []string
	for bit, name := range errorNames[v] {
		if word>>bit&1 != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{"no reason given"}
	}
	return &field.ExceptionError{Code: int(word), Name: strings.Join(names, ", ")}
}
