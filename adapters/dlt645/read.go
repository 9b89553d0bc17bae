package dlt645

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"edgegateway/adapters/field"
	"edgegateway/adapters/meter"
)

// mostFrames bounds the frames of one answer.
const mostFrames = 32

// Read implements field.Station.
func (s *Station) Read(ctx context.Context, group string) (field.Record, error) {
	g := meter.Find(s.groups, group)
	if g == nil {
		return field.Record{}, fmt.Errorf("the device has no tags in the group %q", group)
	}
	reading := g.Begin(ctx)
	replan := false
	for _, r := range s.plans[group] {
		if !reading.Next() {
			break
		}
		if r.points[0].Where.word == "clock" {
			s.readClock(ctx, reading, r)
			continue
		}
		data, err := s.fetch(ctx, r)
		ok, refused := reading.Settle(err)
		switch {
		case ok:
			s.take(reading, r, data)
		case refused != nil && r.places != nil:
			s.refused[r.id.code], replan = true, true
			s.readEach(ctx, reading, r)
		}
	}
	if replan {
		s.plan()
	}
	return reading.Finish()
}

// readEach reads the items of a block that the meter does not have, one by one.
func (s *Station) readEach(ctx context.Context, reading *meter.Reading[what], r request) {
	for _, p := range r.points {
		if !reading.Next() {
			return
		}
		one := request{id: p.Where.id, points: []*meter.Point[what]{p}, item: p.Where.format}
		data, err := s.fetch(ctx, one)
		if ok, _ := reading.Settle(err); ok {
			s.take(reading, one, data)
		}
	}
}

// take decodes what a request brought.
func (s *Station) take(reading *meter.Reading[what], r request, data []byte) {
	for i, p := range r.points {
		at := 0
		if r.places != nil {
			at = r.places[i] * r.item.size
		}
		number, text, ok := p.Where.format.decode(data[at : at+p.Where.format.size])
		switch {
		case !ok:
			reading.Mark(p, field.Invalid)
		case p.Text():
			reading.Text(p, text)
		default:
			reading.Decimal(p, number, p.Where.format.places)
		}
	}
}

// readClock reads date and time, and the date again when midnight may lie between.
func (s *Station) readClock(ctx context.Context, reading *meter.Reading[what], r request) {
	day, err := s.fetch(ctx, dateRequest())
	if ok, _ := reading.Settle(err); !ok || !reading.Next() {
		return
	}
	hour, err := s.fetch(ctx, timeRequest())
	if ok, _ := reading.Settle(err); !ok {
		return
	}
	if hour[2] == 0 && hour[1] == 0 { // just after midnight
		if !reading.Next() {
			return
		}
		day, err = s.fetch(ctx, dateRequest())
		if ok, _ := reading.Settle(err); !ok {
			return
		}
	}
	text, ok := moment(day, hour)
	for _, p := range r.points {
		if ok {
			reading.Text(p, text)
		} else {
			reading.Mark(p, field.Invalid)
		}
	}
}

func dateRequest() request { return request{id: dateItem, item: format{form: formDate, size: 4}} }
func timeRequest() request { return request{id: timeItem, item: format{form: formTime, size: 3}} }

// moment puts a date and a time together.
func moment(day, hour []byte) (text string, ok bool) {
	_, d, ok := dateRequest().item.decode(day)
	_, t, ok2 := timeRequest().item.decode(hour)
	return d + " " + t, ok && ok2
}

// fetch asks for an item or a block and gives its data, all frames of it. Refusals come as *field.ExceptionError.
func (s *Station) fetch(ctx context.Context, r request) ([]byte, error) {
	ident := r.id.bytes()
	f, err := s.ask(ctx, s.version.read(), ident, func(f frame) string {
		data, ok := bytes.CutPrefix(f.data, ident)
		switch {
		case !ok:
			return "another identifier"
		case f.control&further != 0:
			return ""
		}
		return r.fits(len(data))
	})
	if err != nil {
		return nil, err
	}
	data := f.data[len(ident):]
	for n := 1; f.control&further != 0; n++ {
		if n == mostFrames {
			return nil, fmt.Errorf("%s: %w: the answer to %s does not end", s.who, field.ErrSilent, r.id)
		}
		request := ident
		if s.version == v2007 {
			request = append(bytes.Clone(ident), byte(n))
		}
		f, err = s.ask(ctx, s.version.readNext(), request, func(f frame) string {
			if !bytes.HasPrefix(f.data, ident) || s.version == v2007 && (len(f.data) == len(ident) || f.data[len(f.data)-1] != byte(n)) {
				return "another part of the answer"
			}
			return ""
		})
		if err != nil {
			return nil, err
		}
		part := f.data[len(ident):]
		if s.version == v2007 {
			part = part[:len(part)-1]
		}
		data = append(data, part...)
	}
	if problem := r.fits(len(data)); problem != "" {
		return nil, fmt.Errorf("%s: %w to what was asked: %s", s.who, field.ErrSilent, problem)
	}
	return data, nil
}

// ask sends one frame to the meter and gives its answer, or its refusal as an error. wrong says what is wrong with an
// answer to this function; "" when nothing is.
func (s *Station) ask(ctx context.Context, fn byte, data []byte, wrong func(frame) string) (frame, error) {
	return s.driver.ask(ctx, s.version, s.address, fn, data, s.question(), s.wake, wrong)
}

// question is what all questions to the meter have in common.
func (s *Station) question() meter.Question {
	return meter.Question{Who: s.who, Timeout: s.timeout, Stats: &s.stats}
}

func (d *Driver) ask(ctx context.Context, v version, to address, fn byte, data []byte, q meter.Question, wake int, wrong func(frame) string) (frame, error) {
	var found frame
	var fault string
	accept := func(f frame) bool {
		if f.control&fromMeter == 0 || f.control&function != fn || !to.meets(f.address) {
			return false
		}
		if f.control&abnormal == 0 {
			if problem := wrong(f); problem != "" {
				fault = problem
				return false
			}
		} else if len(f.data) < 1 {
			return false
		}
		found = f
		return true
	}
	q.Request = frame{to, fn, data}.encode(wake)
	q.Twin = string(to[:]) + string(fn)
	q.Fault = &fault
	q.Answer = func(got []byte) ([]byte, int, int, error) {
		answer, missing := search(got, accept)
		return answer, 0, missing, nil
	}
	q.Stray = func(got []byte) ([]byte, int, int, error) {
		answer, missing := search(got, func(f frame) bool {
			return f.control&fromMeter != 0 && f.control&function == fn && to.meets(f.address)
		})
		return answer, 0, missing, nil
	}
	if _, err := d.talk.Ask(ctx, q); err != nil {
		return frame{}, err
	}
	if found.control&abnormal != 0 {
		if q.Stats != nil {
			q.Stats.Refused()
		}
		return frame{}, refusal(v, found.data[0])
	}
	return found, nil
}

// Probe implements field.Prober: it reads the first item alone.
func (s *Station) Probe(ctx context.Context) error {
	where := id{s.version, 0x00010000}
	if s.version == v1997 {
		where.code = 0x9010
	}
	if len(s.groups) > 0 {
		where = s.groups[0].Points[0].Where.id
	}
	ident := where.bytes()
	_, err := s.ask(ctx, s.version.read(), ident, func(f frame) string {
		if !bytes.HasPrefix(f.data, ident) {
			return "another identifier"
		}
		return ""
	})
	var refused *field.ExceptionError
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
