package register

import (
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/sunspec"
)

// Described is a point of a device that describes itself: where it lies is only known after a walk.
type Described struct {
	Ref    sunspec.Ref
	Place  sunspec.Place
	Here   bool // the device was walked, and has it
	Absent bool // the device was walked, and does not have it
}

// sunspecWord begins the address of such a point.
const sunspecWord = "sunspec"

// newDescribed reads a tag with such an address.
func newDescribed(tag field.Tag) (*Point, []error) {
	p := &Point{Tag: tag, bit: -1, Span: Span{Holding, sunspec.Bases[0], 2}, Described: &Described{}}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	ref, err := sunspec.ParseRef(tag.At)
	if err != nil {
		fault("at", tag.At, err.Error(), "")
		return p, faults
	}
	p.Described.Ref = ref
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
	p.Typ, _ = typeOf("uint64") // by which the words of an enumeration are read
	p.Mask = Ones(8)
	p.scaling = field.NewScaling(tag.Scale, tag.Offset)
	kind := ref.Kind()
	if p.scaling.On() && (kind == field.KindString || len(tag.Enum) > 0) {
		fault("scale", "", "only a number can be scaled", "leave scale and offset out")
	}
	p.bindWords(fault)
	return p, faults
}

// describedShape is what a reader of records must know of such a point.
func (p *Point) describedShape() field.Point {
	kind := p.Described.Ref.Kind()
	switch {
	case p.words != nil:
		kind = field.KindString
	case p.scaling.On():
		kind = field.KindFloat64
	}
	return field.Point{Name: p.Tag.Name, Kind: kind, Unit: p.Tag.Unit}
}

// decodeDescribed reads it from the registers of its place.
func (p *Point) decodeDescribed(data []byte) (field.Value, field.Quality) {
	v, q := p.Described.Place.Decode(data)
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

// Hidden says that the point is not asked for: refused, or not found in the device.
func (p *Point) Hidden() bool { return p.Refused || p.Described != nil && !p.Described.Here }
