package modbus

import (
	"context"
	"errors"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/sunspec"
)

// described is a point of a device that describes itself: where it lies is only known after a walk.
type described struct {
	ref    sunspec.Ref
	place  sunspec.Place
	here   bool // the device was walked, and has it
	absent bool // the device was walked, and does not have it
}

// sunspecWord begins the address of such a point.
const sunspecWord = "sunspec"

// newDescribed reads a tag with such an address.
func newDescribed(tag field.Tag) (*point, []error) {
	p := &point{tag: tag, bit: -1, span: span{holding, sunspec.Bases[0], 2}, described: &described{}}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	ref, err := sunspec.ParseRef(tag.At)
	if err != nil {
		fault("at", tag.At, err.Error(), "")
		return p, faults
	}
	p.described.ref = ref
	const itself = "leave it out: the device's model says it"
	for key, value := range map[string]string{"type": tag.Type, "order": tag.Order, "mask": tag.Mask} {
		if value != "" {
			fault(key, value, "a SunSpec point has none of its own", itself)
		}
	}
	if len(tag.Null) > 0 {
		fault("null", strings.Join(tag.Null, ", "), "a SunSpec point has none of its own", itself)
	}
	if tag.Write {
		fault("at", tag.At, "SunSpec points can only be read", "take the tag off the device's writable list, or give it a register's address")
	}
	p.typ, _ = typeOf("uint64") // by which the words of an enumeration are read
	p.mask = ones(8)
	p.scaling = field.NewScaling(tag.Scale, tag.Offset)
	kind := ref.Kind()
	if p.scaling.On() && (kind == field.KindString || len(tag.Enum) > 0) {
		fault("scale", "", "only a number can be scaled", "leave scale and offset out")
	}
	p.bindWords(fault)
	return p, faults
}

// describedShape is what a reader of records must know of such a point.
func (p *point) describedShape() field.Point {
	kind := p.described.ref.Kind()
	switch {
	case p.words != nil:
		kind = field.KindString
	case p.scaling.On():
		kind = field.KindFloat64
	}
	return field.Point{Name: p.tag.Name, Kind: kind, Unit: p.tag.Unit}
}

// decodeDescribed reads it from the registers of its place.
func (p *point) decodeDescribed(data []byte) (field.Value, field.Quality) {
	v, q := p.described.place.Decode(data)
	switch {
	case q != field.Good:
		return v, q
	case p.words != nil:
		f, _ := v.Float()
		if word, ok := p.words[uint64(f)]; ok {
			return word, q
		}
		return field.Text(v.String()), q
	case p.scaling.On():
		f, _ := v.Float()
		return field.Float64(p.scaling.Apply(f)), q
	}
	return v, q
}

// walk finds out where the points of a device that describes itself lie, unless that is known. It needs as many
// requests as the device has models, once a day. The error says that the device, or its line, is silent.
func (s *Station) walk(ctx context.Context) error {
	if s.walked || !s.describes {
		return nil
	}
	first := true
	chain, err := sunspec.Walk(func(start, count int) ([]byte, error) {
		if !first {
			field.Pause(ctx)
		}
		first = false
		return s.fetch(ctx, s.request(span{holding, start, count}))
	})
	none := errors.Is(err, sunspec.ErrNone)
	if err != nil && !none {
		return err
	}
	for i := range s.groups {
		for _, p := range s.groups[i].points {
			if p.described == nil {
				continue
			}
			d := p.described
			d.place, d.here = d.ref.Locate(chain)
			d.absent = !d.here && !none // a device that describes itself says by that what it does not have
			if d.here {
				p.span = span{holding, d.place.Start, d.place.Count}
			} else if none {
				s.refuse([]*point{p})
			}
		}
		s.groups[i].sort()
	}
	s.walked = true
	s.learn() // the walk is good for a day, as what refusals teach
	s.replan()
	s.changed = false
	return nil
}

// hidden says that the point is not asked for: refused, or not found in the device.
func (p *point) hidden() bool { return p.refused || p.described != nil && !p.described.here }
