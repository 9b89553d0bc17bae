package mbus

import (
	"context"
	"fmt"

	"edgegateway/adapters/field"
	"edgegateway/adapters/meter"
)

// Read implements field.Station.
func (s *Station) Read(ctx context.Context, group string) (field.Record, error) {
	g := meter.Find(s.groups, group)
	if g == nil {
		return field.Record{}, fmt.Errorf("the device has no tags in the group %q", group)
	}
	reading := g.Begin(ctx)
	reading.Next()
	h, records, err := s.readout(ctx)
	if ok, _ := reading.Settle(err); ok {
		for _, p := range g.Points {
			give(reading, p, h, records)
		}
	}
	return reading.Finish()
}

// give takes one point's value out of what was read; what is not there stays without.
func give(reading *meter.Reading[what], p *meter.Point[what], h header, records []record) {
	if word := p.Where.place.word; word != "" {
		if !h.known && word != "status" && word != "access" {
			return
		}
		text, number := h.say(word)
		if p.Text() {
			reading.Text(p, text)
		} else {
			reading.Number(p, number)
		}
		return
	}
	r := p.Where.place.find(records)
	if r == nil || r.value.kind == noValue {
		return
	}
	if p.Text() {
		switch r.value.kind {
		case textValue:
			reading.Text(p, r.value.text)
		case wholeValue:
			reading.Text(p, fmt.Sprint(r.value.whole))
		default:
			reading.Mark(p, field.Invalid)
		}
		return
	}
	unit := p.Tag.Unit
	if p.Tag.Scale != 0 {
		unit = "" // the tag says itself what it makes of the number
	}
	if f, ok := r.in(unit); ok && r.function != 3 {
		reading.Number(p, f)
	} else {
		reading.Mark(p, field.Invalid)
	}
}

// say gives a word of the header, as text and as number.
func (h header) say(word string) (string, float64) {
	number := 0
	switch word {
	case "id":
		return h.address.String()[:8], 0
	case "maker":
		return h.maker(), 0
	case "medium":
		return h.medium(), float64(h.address[7])
	case "version":
		number = int(h.address[6])
	case "status":
		number = int(h.status)
	case "access":
		number = int(h.access)
	}
	return fmt.Sprint(number), float64(number)
}

// readout reads all telegrams of the meter.
func (s *Station) readout(ctx context.Context) (h header, records []record, err error) {
	if s.reset && !s.fresh && s.secondary == nil {
		if err := s.acknowledge(ctx, shortFrame(sndNKE, s.primary)); err != nil {
			return h, nil, err
		}
		s.count = fcb
	}
	s.fresh = false
	if s.secondary != nil {
		if err := s.acknowledge(ctx, longFrame(sndUD, toSelected, ciSelect, s.secondary[:])); err != nil {
			return h, nil, err
		}
		s.count = fcb
	}
	telegrams, received := 0, 0
	for more := true; more; telegrams++ {
		if telegrams == mostTelegrams {
			return h, nil, fmt.Errorf("%s: %w: its readout does not end", s.who, field.ErrSilent)
		}
		var part []record
		var n int
		if h, part, more, n, err = s.telegram(ctx); err != nil {
			return h, nil, err
		}
		s.count ^= fcb
		records, received = append(records, part...), received+n
	}
	s.fresh, s.telegrams, s.received = true, telegrams, received
	return h, records, nil
}

// acknowledge sends what is answered by E5 alone.
func (s *Station) acknowledge(ctx context.Context, send []byte) error {
	_, err := s.driver.talk.Ask(ctx, meter.Question{Request: send, Who: s.who, Timeout: s.timeout, Stats: &s.stats,
		Answer: func(got []byte) ([]byte, int, int, error) {
			answer := acknowledged(got, send)
			return answer, 0, 1, nil
		}})
	return err
}

// telegram asks for one telegram. size is how many bytes it took.
func (s *Station) telegram(ctx context.Context) (h header, records []record, more bool, size int, err error) {
	var fault string
	mine := func(f frame) bool {
		return f.control&control == rspUD && f.control&0x40 == 0 && (s.primary >= toSelected || f.address == s.primary)
	}
	q := meter.Question{Request: shortFrame(reqUD2|s.count, s.primary), Who: s.who, Twin: s.who, Timeout: s.timeout, Fault: &fault, Stats: &s.stats}
	q.Answer = func(got []byte) ([]byte, int, int, error) {
		answer, missing := search(got, func(f frame) bool {
			if !mine(f) {
				return false
			}
			var rest []byte
			if h, rest, fault = f.open(); fault != "" {
				return false
			}
			if s.secondary != nil && (!h.known || !s.secondary.meets(h.address)) {
				return false
			}
			// What is kept must not stand in the line's buffer.
			records, more, fault = parseRecords(append([]byte(nil), rest...))
			return fault == ""
		})
		return answer, 0, missing, nil
	}
	q.Stray = func(got []byte) ([]byte, int, int, error) {
		answer, missing := search(got, mine)
		return answer, 0, missing, nil
	}
	answer, err := s.driver.talk.Ask(ctx, q)
	return h, records, more, len(answer), err
}
