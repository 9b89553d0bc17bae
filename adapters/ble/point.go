package ble

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// point is a tag, bound.
type point struct {
	place
	tag     field.Tag
	layout  *advert.Layout // of bytes and characteristics; nil otherwise
	special *special       // of a characteristic with parts; nil otherwise
	scaling field.Scaling  // of a quantity
	kind    field.Kind
}

// group is the points that are heard, or read, together.
type group struct {
	shape  *field.Group
	points []*point
}

func (g *group) heard() bool { return len(g.points) > 0 && g.points[0].origin.heard() }

// blank is a record that speaks of nothing.
func (g *group) blank(q field.Quality) field.Record {
	r := field.Record{Group: g.shape, Values: make([]field.Value, len(g.points)), Quality: make([]field.Quality, len(g.points))}
	for i := range r.Quality {
		r.Quality[i] = q
	}
	return r
}

// newPoint reads a tag and reports every fault.
func newPoint(tag field.Tag) (*point, []error) {
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	p := &point{tag: tag}
	var problem, hint string
	if p.place, problem, hint = parsePlace(tag.At); problem != "" {
		fault("at", tag.At, problem, hint)
		return p, faults
	}
	for _, k := range slices.Sorted(maps.Keys(tag.Extra)) {
		fault(k, tag.Extra[k], "a tag of a Bluetooth device has no such key", "leave it out")
	}
	if tag.Write && p.origin != fromRead {
		fault("at", tag.At, "it is listed as writable, and only a characteristic that is read can be written", `write "gatt …", or take the tag off the device's writable list`)
	}
	switch p.origin {
	case fromFormat, fromSignal:
		q := advert.Quantity{Kind: field.KindInt, Unit: "dBm"}
		if p.origin == fromFormat {
			q, _ = advert.Lookup(p.name)
		}
		p.bindQuantity(q, fault)
		return p, faults
	case fromRead, fromNotices:
		if p.special = p.place.special(); p.special != nil {
			p.bindSpecial(fault)
			return p, faults
		}
		p.fill(&p.tag)
	}
	layout, errs := advert.NewLayout(p.tag, p.offset, p.bit)
	faults = append(faults, errs...)
	if len(errs) == 0 {
		p.layout, p.kind = layout, layout.Kind()
	}
	return p, faults
}

// bindQuantity: the format decides how the value is read; the tag may scale it.
func (p *point) bindQuantity(q advert.Quantity, fault func(key, value, problem, hint string)) {
	p.unalterable(fault)
	p.kind = q.Kind
	if p.tag.Unit == "" {
		p.tag.Unit = q.Unit
	}
	p.scaling = field.NewScaling(p.tag.Scale, p.tag.Offset)
	if !p.scaling.On() {
		return
	}
	if q.Kind != field.KindFloat64 && q.Kind != field.KindInt {
		fault("scale", strconv.FormatFloat(p.tag.Scale, 'g', -1, 64), "only a number can be scaled", "leave scale and offset out")
	}
	p.kind = field.KindFloat64
}

// unalterable complains of the keys that a value whose format is fixed cannot have.
func (p *point) unalterable(fault func(key, value, problem, hint string)) {
	const problem, hint = "the format decides how this is read", "leave it out"
	if p.tag.Type != "" {
		fault("type", p.tag.Type, problem, hint)
	}
	if p.tag.Order != "" {
		fault("order", p.tag.Order, problem, hint)
	}
	if p.tag.Mask != "" {
		fault("mask", p.tag.Mask, problem, hint)
	}
	if p.tag.Length != 0 {
		fault("length", strconv.Itoa(p.tag.Length), problem, hint)
	}
	if len(p.tag.Null) > 0 {
		fault("null", strings.Join(p.tag.Null, ", "), problem, hint)
	}
	if len(p.tag.Enum) > 0 {
		fault("enum", "", problem, hint)
	}
}

func (p *point) bindSpecial(fault func(key, value, problem, hint string)) {
	part, ok := p.special.parts[p.part]
	if !ok {
		fault("at", p.tag.At, "it does not say which part of the characteristic is meant", "allowed behind it are "+strings.Join(p.special.names(), ", "))
		return
	}
	if p.tag.Write {
		fault("at", p.tag.At, "this characteristic cannot be written", "take the tag off the device's writable list")
	}
	p.bindQuantity(advert.Quantity{Kind: part.kind, Unit: part.unit}, fault)
}

// scaled applies the scaling of a quantity.
func (p *point) scaled(v field.Value) (field.Value, field.Quality) {
	if v.IsNull() {
		return v, field.Invalid
	}
	if f, ok := v.Float(); ok && p.scaling.On() {
		v = field.Float64(p.scaling.Apply(f))
	}
	if !v.Finite() {
		return field.Value{}, field.Invalid
	}
	return v, field.Good
}

// decode reads the bytes of a characteristic, or of an advertisement's field.
func (p *point) decode(b []byte) (field.Value, field.Quality) {
	if p.special == nil {
		return p.layout.Decode(b)
	}
	v, ok := p.special.decode(b, p.part)
	switch {
	case !ok:
		return field.Value{}, field.Invalid
	case v.IsNull() && p.origin == fromNotices:
		return v, field.Absent // this message does not hold it; another one may
	}
	return p.scaled(v)
}

// means says whether the point's bytes lie in the field.
func (p *point) means(f *advert.Field) bool {
	return p.source == f.Source && p.id == f.ID && (p.size == 0 || p.size == len(f.Data)) &&
		len(f.Data) >= len(p.starts) && slices.Equal(f.Data[:len(p.starts)], p.starts)
}
