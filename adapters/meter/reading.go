package meter

import (
	"context"
	"errors"
	"math"
	"slices"

	"edgegateway/adapters/field"
)

// Reading is one Read of one group in progress.
type Reading[T any] struct {
	ctx      context.Context
	group    *Group[T]
	record   field.Record
	begun    bool  // a request was sent
	answered bool  // the device answered anything
	failure  error // why the rest is not asked: the device or its line is silent
}

// Begin begins a read.
func (g *Group[T]) Begin(ctx context.Context) *Reading[T] {
	n := len(g.Points)
	r := &Reading[T]{ctx: ctx, group: g, record: field.Record{Group: g.Shape, Values: make([]field.Value, n), Quality: make([]field.Quality, n)}}
	for i := range r.record.Quality {
		r.record.Quality[i] = field.Absent // until it is known
	}
	return r
}

// Next says whether a further request may be sent, after a pause for whoever waits. Once the device is silent the rest
// is not asked: a dead device costs one timeout a read.
func (r *Reading[T]) Next() bool {
	if r.failure != nil {
		return false
	}
	if r.begun {
		field.Pause(r.ctx)
	}
	r.begun = true
	return true
}

// Settle judges how a request ended; it is called once for each. It says whether the device gave what was asked, and
// gives its refusal when it refused.
func (r *Reading[T]) Settle(err error) (ok bool, refused *field.ExceptionError) {
	switch {
	case err == nil:
		r.answered = true
		return true, nil
	case errors.As(err, &refused):
		r.answered = true
		return false, refused
	default:
		r.failure = err
		return false, nil
	}
}

// Number gives a point its value, which is then scaled.
func (r *Reading[T]) Number(p *Point[T], raw float64) { r.Decimal(p, raw, 0) }

// Decimal gives a point its value, digits with so many of them behind the point, which is then scaled. So 0.1234 kW are
// 123.4 W and not 123.39999999999999.
func (r *Reading[T]) Decimal(p *Point[T], digits float64, places int) {
	divisor := math.Pow10(places)
	v := field.Float64(digits / divisor)
	switch {
	case p.scale.On() && p.Tag.Offset == 0:
		v = field.Float64(p.scale.Apply(digits) / divisor)
	case p.scale.On():
		v = field.Float64(p.scale.Apply(digits / divisor))
	}
	if !v.Finite() {
		r.Mark(p, field.Invalid)
		return
	}
	r.record.Values[p.slot], r.record.Quality[p.slot] = v, field.Good
}

// Text gives a point its value.
func (r *Reading[T]) Text(p *Point[T], text string) {
	r.record.Values[p.slot], r.record.Quality[p.slot] = field.Text(text), field.Good
}

// Mark says why a point has no value.
func (r *Reading[T]) Mark(p *Point[T], q field.Quality) {
	r.record.Values[p.slot], r.record.Quality[p.slot] = field.Value{}, q
}

// Finish gives the record. What nothing was said of has the quality of the silence, or else of a refusal: the device
// did not give it. What was read before the caller gave up is not handed out.
func (r *Reading[T]) Finish() (field.Record, error) {
	missing := field.Exception
	if r.failure != nil {
		missing = Silence(r.failure)
	}
	lost := !r.answered || r.failure != nil && r.ctx.Err() != nil
	for i, q := range r.record.Quality {
		if lost || q == field.Absent {
			r.record.Values[i], r.record.Quality[i] = field.Value{}, missing
		}
	}
	if lost {
		return r.record, r.failure
	}
	if !slices.ContainsFunc(r.record.Quality, func(q field.Quality) bool { return q != field.Good }) {
		r.record.Quality = nil
	}
	return r.record, nil
}

// Silence is the quality of what was not answered.
func Silence(err error) field.Quality {
	if errors.Is(err, field.ErrLine) {
		return field.Offline
	}
	return field.Timeout
}
