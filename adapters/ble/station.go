package ble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// Station is one device. It implements field.Station, field.Hearer, field.Writer and field.Prober.
type Station struct {
	driver  *Driver
	name    string
	mac     [6]byte
	address string // in capitals, as BlueZ writes it
	quirks  quirks
	timeout time.Duration
	groups  []*group
	shapes  []*field.Group

	// Below: for the goroutine of Listen only.
	decoder *advert.Decoder
	key     []byte   // that the decoder has
	sealed  string   // the seal of what it decrypts; "" where nobody keeps the numbers
	seen    []seen   // what each kind of field said last
	reasons []string // for which it was refused, as far as they were logged

	mu    sync.Mutex
	again chan struct{} // closed, and made anew, when something was heard
	last  map[string]field.Record
	book  DeviceStats
}

// seen is what one kind of field of a device said last.
type seen struct {
	source advert.Source
	id     uint16
	data   []byte
}

// mostSeen bounds the kinds of fields that are remembered of one device.
const mostSeen = 16

// Groups implements field.Station.
func (s *Station) Groups() []*field.Group { return s.shapes }

// Hears implements field.Hearer.
func (s *Station) Hears(name string) bool {
	g := s.group(name)
	return g != nil && g.heard()
}

func (s *Station) group(name string) *group {
	i := slices.IndexFunc(s.groups, func(g *group) bool { return g.shape.Name == name || name == "" && g.shape.Name == field.MainGroup })
	if i < 0 {
		return nil
	}
	return s.groups[i]
}

// hearsAdverts says whether anything of the device comes by advertisements.
func (s *Station) hearsAdverts() bool {
	return s.has(func(p *point) bool { return p.origin.broadcast() })
}

// subscribes says whether the device is to be kept connected, for what it says then.
func (s *Station) subscribes() bool {
	return s.has(func(p *point) bool { return p.origin == fromNotices })
}

func (s *Station) has(what func(*point) bool) bool {
	return slices.ContainsFunc(s.groups, func(g *group) bool { return slices.ContainsFunc(g.points, what) })
}

// Hear implements field.Hearer: a message is one structure of an advertisement without its length: the AD type (16 or
// FF), the number of the service or the company, low byte first, and the data.
func (s *Station) Hear(message []byte) (field.Record, error) {
	if len(message) < 3 || message[0] != 0x16 && message[0] != 0xFF {
		return field.Record{}, errors.New("a message begins with its AD type, 16 (service data) or FF (manufacturer data), and two bytes that name the service or the company")
	}
	f := advert.Field{ID: binary.LittleEndian.Uint16(message[1:]), Data: message[3:]}
	if message[0] == 0xFF {
		f.Source = advert.Manufacturer
	}
	records, refusal := s.advertised([]advert.Field{f}, nil)
	if refusal != nil {
		return field.Record{}, refusal
	}
	return records[0], nil
}

// advertised makes records of an advertisement: of each group that is heard and spoken of, and at least one, as a sign
// of life. A refusal says why some of its fields are not believed; if none is, there is no record.
func (s *Station) advertised(fields []advert.Field, rssi *int16) (records []field.Record, refusal error) {
	var made [2]*field.Record // by the group's place
	record := func(i int) *field.Record {
		if made[i] == nil {
			r := s.groups[i].blank(field.Absent)
			made[i] = &r
		}
		return made[i]
	}
	understood := false
	for i := range fields {
		f := &fields[i]
		frame, err := s.decoder.Decode(*f)
		if s.quirks.format != "" && frame.Format.String() != s.quirks.format && frame.Format != advert.Unknown {
			continue
		}
		if err != nil && !errors.Is(err, advert.ErrUnknown) {
			refusal = err
			continue
		}
		if s.quirks.key != "" && !frame.Sealed {
			if s.carries(f, frame) {
				refusal = fmt.Errorf("%s data of %04X: it is %w", f.Source, f.ID, errPlain)
			} else {
				understood = true // it only says that it is there
			}
			continue
		}
		understood = true
		s.note(frame.Format)
		s.met(frame)
		if frame.Repeat {
			continue
		}
		for i, g := range s.groups {
			for j, p := range g.points {
				switch {
				case p.origin == fromBytes && p.means(f):
					r := record(i)
					r.Values[j], r.Quality[j] = p.layout.Decode(f.Data)
				case p.origin == fromFormat && err == nil:
					for _, m := range frame.Measures {
						if m.Name == p.name && m.Nth == p.nth {
							r := record(i)
							r.Values[j], r.Quality[j] = p.scaled(m.Value)
						}
					}
				}
			}
		}
	}
	if refusal != nil && !understood {
		return nil, refusal
	}
	for i, g := range s.groups {
		for j, p := range g.points {
			if p.origin == fromSignal && rssi != nil {
				r := record(i)
				r.Values[j], r.Quality[j] = p.scaled(field.Int(int64(*rssi)))
			}
		}
	}
	for i, r := range made {
		if r != nil && s.groups[i].heard() {
			records = append(records, *r)
		}
	}
	if len(records) == 0 {
		for _, g := range s.groups {
			if g.heard() {
				return []field.Record{g.blank(field.Absent)}, refusal
			}
		}
	}
	return records, refusal
}

// carries says whether a field holds values: those of its format, or the bytes of a tag.
func (s *Station) carries(f *advert.Field, frame advert.Frame) bool {
	return len(frame.Measures) > 0 || s.has(func(p *point) bool { return p.origin == fromBytes && p.means(f) })
}

// met books a message that was understood.
func (s *Station) met(f advert.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Format != advert.Unknown {
		s.book.Format = f.Format.String()
	}
	if f.Repeat {
		s.book.Repeats++
	}
	for _, m := range f.Measures {
		if m.Name == "battery" {
			s.book.Battery = m.Value
		}
	}
}

// fresh keeps of the fields of a signal those that are an advertisement. BlueZ may give what it remembers together with
// what came: of several kinds of field those that say what they said before are left out, unless all do.
func (s *Station) fresh(fields []advert.Field) []advert.Field {
	changed := 0
	same := make([]bool, len(fields))
	for i, f := range fields {
		at := slices.IndexFunc(s.seen, func(l seen) bool { return l.source == f.Source && l.id == f.ID })
		switch {
		case at < 0:
			if len(s.seen) < mostSeen {
				s.seen = append(s.seen, seen{f.Source, f.ID, slices.Clone(f.Data)})
			}
			changed++
		case slices.Equal(s.seen[at].data, f.Data):
			same[i] = true
		default:
			s.seen[at].data = append(s.seen[at].data[:0], f.Data...)
			changed++
		}
	}
	if changed == 0 || changed == len(fields) {
		return fields
	}
	out := fields[:0]
	for i, f := range fields {
		if !same[i] {
			out = append(out, f)
		}
	}
	return out
}

// notified makes records of what a characteristic said.
func (s *Station) notified(c characteristic, b []byte) (records []field.Record) {
	for _, g := range s.groups {
		r, any := g.blank(field.Absent), false
		for j, p := range g.points {
			if p.origin == fromNotices && p.char == c {
				r.Values[j], r.Quality[j] = p.decode(b)
				any = true
			}
		}
		if any {
			records = append(records, r)
		}
	}
	return records
}

// noted keeps a record for those who wait for one, and books the sign of life.
func (s *Station) noted(r field.Record, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.LastSeen = now
	if r.Readings() == 0 {
		return
	}
	for j, p := range s.group(r.Group.Name).points {
		if !p.origin.broadcast() && p.char == batteryLevel() && r.QualityOf(j) == field.Good {
			s.book.Battery = r.Values[j]
		}
	}
	if s.last == nil {
		s.last = map[string]field.Record{}
	}
	s.last[r.Group.Name] = r
	close(s.again)
	s.again = make(chan struct{})
}

// Read implements field.Station. A group that is read is read over a connection; of one that is heard, Read waits for
// what comes next.
func (s *Station) Read(ctx context.Context, name string) (field.Record, error) {
	g := s.group(name)
	if g == nil {
		return field.Record{}, fmt.Errorf("the device has no tags in the group %q", name)
	}
	session, err := s.driver.session()
	if err != nil {
		return g.blank(field.Offline), err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	if g.heard() {
		return s.next(ctx, g)
	}
	r, err := session.read(ctx, s, g)
	return r, s.judge(ctx, err)
}

// errTimeout marks the end of our own patience, as against that of the caller.
var errTimeout = errors.New("it took too long")

// judge makes of an error what field.Station promises.
func (s *Station) judge(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, field.ErrLine) || errors.Is(err, field.ErrSilent):
		return err
	case errors.Is(context.Cause(ctx), errTimeout):
		return fmt.Errorf("%w within %s: %v", field.ErrSilent, s.timeout, err)
	}
	return err
}

// next waits for what the device says next of the group.
func (s *Station) next(ctx context.Context, g *group) (field.Record, error) {
	s.mu.Lock()
	delete(s.last, g.shape.Name)
	s.mu.Unlock()
	for {
		s.mu.Lock()
		r, ok := s.last[g.shape.Name]
		again := s.again
		s.mu.Unlock()
		if ok {
			return r, nil
		}
		if err := field.Await(ctx, again); err != nil {
			if errors.Is(context.Cause(ctx), errTimeout) {
				err = fmt.Errorf("%w: nothing was heard of it for %s", field.ErrSilent, s.timeout)
			}
			return g.blank(field.Timeout), err
		}
	}
}

// Probe implements field.Prober: a connection is a sign of life.
func (s *Station) Probe(ctx context.Context) error {
	session, err := s.driver.session()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	return s.judge(ctx, session.probe(ctx, s))
}

// Write implements field.Writer.
func (s *Station) Write(ctx context.Context, tag string, v field.Value) error {
	for _, g := range s.groups {
		for _, p := range g.points {
			if p.tag.Name != tag {
				continue
			}
			if p.origin != fromRead || p.layout == nil {
				return fmt.Errorf("%w: it is heard, and not a characteristic", field.ErrReadOnly)
			}
			b, err := p.layout.Encode(v)
			if err != nil {
				return err
			}
			session, err := s.driver.session()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
			defer cancel()
			return s.judge(ctx, session.write(ctx, s, p.char, b))
		}
	}
	return fmt.Errorf("%w: %q", field.ErrUnknownTag, tag)
}
