package modbus

import (
	"context"

	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

const (
	// A refusal is believed for firstLesson, since a device that is starting may refuse everything, then for twice as
	// long each time that it is repeated, up to lessonTime. Devices get new firmware, and profiles get corrected.
	firstLesson = time.Minute
	lessonTime  = 24 * time.Hour
	// walkTime is after which silence a device that describes itself is walked again: it may have new firmware, or be
	// another device, and have other points where its own were.
	walkTime = time.Minute
	// divisions bounds the requests that one Read spends on finding out what the device refuses. What is left is
	// found by the next Read, for everything learned so far is kept.
	divisions = 32
)

// lessons are what a device taught us by exceptions.
type lessons struct {
	holes     []register.Span // that cannot be read through
	since     time.Time       // when the first one was learned; zero for none
	changed   bool            // since the last plan
	believed  time.Duration   // how long they are, or would be
	forgotten time.Time       // when those before them were
}

// Read implements field.Station.
func (s *Station) Read(ctx context.Context, name string) (field.Record, error) {
	i := slices.IndexFunc(s.groups, func(g group) bool { return g.shape.Name == name })
	if i < 0 {
		return field.Record{}, fmt.Errorf("the device has no tags in the group %q", name)
	}
	g := &s.groups[i]
	if s.mute {
		r := reading{ctx: ctx, station: s, group: g, record: field.Record{Group: g.shape, Values: make([]field.Value, len(g.points))}, failure: errMute}
		return r.finish()
	}
	if !s.reading { // what a Pause of another Read runs leaves that one's plan alone
		s.review()
		s.reading = true
		defer func() { s.reading = false }()
	}
	r := reading{
		ctx:     ctx,
		station: s,
		group:   g,
		record:  field.Record{Group: g.shape, Values: make([]field.Value, len(g.points))},
		budget:  divisions,
	}
	if err := s.walk(ctx); err != nil {
		r.settle(err)
		return r.finish()
	}
	r.markHidden()
	blocks := g.blocks // what Pause runs may replan
	for j := range blocks {
		r.read(&blocks[j])
	}
	if len(blocks) == 0 { // all was refused, yet somebody wants to know whether the device lives
		r.settle(s.Probe(ctx))
	}
	if s.changed {
		s.replan()
		s.changed = false
	}
	return r.finish()
}

// review forgets lessons that are old, and where the points of a device lie that may be another one by now, and plans
// anew when the device turned out to be faster or slower.
func (s *Station) review() {
	if time.Since(s.heard) >= walkTime {
		s.walked = false
	}
	if !s.since.IsZero() && time.Since(s.since) >= s.believed {
		s.forget()
		return
	}
	now, then := s.stats.turnaround(), s.plannedWith
	if drift := (now - then).Abs(); s.driver.line.Timing().Char > 0 && drift > time.Millisecond && drift > then/4 {
		s.replan()
	}
}

func (s *Station) forget() {
	s.lessons = lessons{believed: min(2*s.believed, lessonTime), forgotten: time.Now()}
	s.limit = s.quirks.limits()
	for _, g := range s.groups {
		for _, p := range g.points {
			p.Refused = false
			if p.Described != nil {
				p.Here = false
			}
		}
	}
	s.stats.refused.Store(0)
	s.walked = false
	s.replan()
}

// learn notes that the plan must change.
func (s *Station) learn() {
	s.changed = true
	if !s.since.IsZero() {
		return
	}
	s.since = time.Now()
	if s.believed == 0 || s.since.Sub(s.forgotten) >= s.believed { // it refused nothing for as long
		s.believed = firstLesson
	}
}

// refuse notes points that the device does not have.
func (s *Station) refuse(points []*register.Point) {
	for _, p := range points {
		if !p.Refused {
			p.Refused = true
			s.stats.refused.Add(1)
		}
	}
	s.learn()
}

// allHoles are what no block may read through: what the quirks name, what was learned, and what was refused.
func (s *Station) allHoles() []register.Span {
	holes := slices.Concat(s.quirks.holes, s.holes)
	for _, g := range s.groups {
		for _, p := range g.points {
			if p.Refused && p.Described == nil {
				holes = append(holes, p.Span)
			}
		}
	}
	return holes
}

// reading is one Read in progress.
type reading struct {
	ctx      context.Context
	station  *Station
	group    *group
	record   field.Record
	begun    bool  // a request was sent
	answered bool  // the device answered anything
	failure  error // why the rest is not asked: the device, or its gateway or line, is silent
	budget   int   // divisions left
}

// read asks for one block and takes its values; it says whether the device gave them. Once the device is silent the
// rest is not asked: a dead device costs one timeout a Read, not one a block.
func (r *reading) read(b *block) bool {
	if r.failure != nil {
		r.mark(b.points, silence(r.failure))
		return false
	}
	if r.begun {
		field.Pause(r.ctx)
	}
	r.begun = true
	data, err := r.station.fetch(r.ctx, b.adu)
	code := r.settle(err)
	switch {
	case r.failure != nil:
		r.mark(b.points, silence(r.failure))
	case code == 0:
		r.take(b, data)
		return true
	case code == modbus.ExceptionCodeIllegalFunction:
		r.mark(b.points, field.Exception)
		r.station.refuse(b.points)
	case code == modbus.ExceptionCodeIllegalDataAddress || code == modbus.ExceptionCodeIllegalDataValue:
		r.divide(b)
	default: // busy, or broken for the moment: the next Read asks again
		r.mark(b.points, field.Exception)
	}
	return false
}

// settle judges how a request ended: the code of an exception, 0 for data, or r.failure.
func (r *reading) settle(err error) (code int) {
	if err == nil {
		r.answered = true
		return 0
	}
	var exception *field.ExceptionError
	if errors.As(err, &exception) && !errors.Is(err, field.ErrAbsent) {
		r.answered = true
		return exception.Code
	}
	r.failure = err
	return 0
}

// take decodes a block's values.
func (r *reading) take(b *block, data []byte) {
	for _, p := range b.points {
		at := p.Start - b.Start
		var v field.Value
		var q field.Quality
		if p.Space == register.Fifo {
			v, q = p.Queued(data)
		} else if p.Space.Bits() {
			v, q = p.Value(uint64(data[at/8] >> (at % 8) & 1))
		} else {
			v, q = p.Decode(data[2*at : 2*(at+p.Count)])
		}
		r.record.Values[p.Slot] = v
		if q != field.Good {
			r.setQuality(p, q)
		}
	}
}

// divide finds out what in a block the device refuses, by reading its halves.
func (r *reading) divide(b *block) {
	at := middle(b.points)
	if at == 0 {
		r.mark(b.points, field.Exception)
		r.station.refuse(b.points)
		return
	}
	if r.budget < 2 {
		r.mark(b.points, field.Exception)
		return
	}
	r.budget -= 2
	left, right := r.station.block(b.points[:at]), r.station.block(b.points[at:])
	leftGiven, rightGiven := r.read(&left), r.read(&right)
	if leftGiven && rightGiven {
		r.station.learnFrom(b, &left, &right)
	}
}

// middle is where to cut a run of points in halves, between two that do not lie at the same place; 0 when all do.
func middle(points []*register.Point) int {
	half := len(points) / 2
	for i := half; i < len(points); i++ {
		if i > 0 && points[i].Span != points[i-1].Span {
			return i
		}
	}
	for i := half; i > 0; i-- {
		if points[i].Span != points[i-1].Span {
			return i
		}
	}
	return 0
}

// block makes a request for a run of points, as it stands.
func (s *Station) block(points []*register.Point) block {
	b := block{Span: points[0].Span, points: points}
	for _, p := range points {
		b.Count = max(b.End(), p.End()) - b.Start
	}
	b.adu = s.request(b.Span)
	return b
}

// learnFrom explains why the device gave two halves and refused the whole: by what lies between them, else by the
// size.
func (s *Station) learnFrom(whole, left, right *block) {
	if gap := (register.Span{Space: whole.Space, Start: left.End(), Count: right.Start - left.End()}); gap.Count > 0 {
		s.holes = append(s.holes, gap)
		s.learn()
	} else if most := max(left.Count, right.Count); most < whole.Count {
		s.limit[whole.Space] = min(s.limit[whole.Space], most)
		s.learn()
	}
}

// markHidden says of each point that is not asked for, why.
func (r *reading) markHidden() {
	for _, p := range r.group.points {
		switch {
		case p.Refused:
			r.setQuality(p, field.Exception)
		case p.Hidden():
			r.setQuality(p, field.Absent)
		}
	}
}

func (r *reading) mark(points []*register.Point, q field.Quality) {
	for _, p := range points {
		r.setQuality(p, q)
	}
}

func (r *reading) setQuality(p *register.Point, q field.Quality) {
	if r.record.Quality == nil {
		r.record.Quality = make([]field.Quality, len(r.record.Values))
	}
	r.record.Quality[p.Slot] = q
}

// silence is the quality of what was not answered.
func silence(err error) field.Quality {
	if errors.Is(err, field.ErrLine) {
		return field.Offline
	}
	return field.Timeout
}

// finish gives the record. What was read before the caller gave up is not handed out: the rest of it is missing for
// no fault of the device's.
func (r *reading) finish() (field.Record, error) {
	cancelled := r.failure != nil && r.ctx.Err() != nil
	if r.answered && !cancelled {
		return r.record, nil
	}
	clear(r.record.Values)
	for _, p := range r.group.points {
		r.setQuality(p, silence(r.failure))
	}
	return r.record, r.failure
}
