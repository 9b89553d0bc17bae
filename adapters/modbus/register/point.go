package register

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// mostAtOnce is how many registers one request can read (Modbus Application Protocol V1.1b3, 6.3).
const mostAtOnce = 125

// Point is a tag, bound: where it lies, and how its raw value is read.
type Point struct {
	Span
	Tag        field.Tag
	Typ        wireType
	Order      order
	bit        int    // of a register; -1 for the whole
	entry      int    // of a queue; -1 for how many there are in it
	Mask       uint64 // bits of the raw value that count
	null       []uint64
	nullText   []string
	nullNaN    bool
	scaling    field.Scaling
	words      map[uint64]field.Value // of an enumeration: what each raw value is called
	Slot       int                    // its place in its group
	*Described                        // of a device that describes itself; nil for a point with an address
	Refused    bool                   // the device answered that it has no such address: see lessons
}

// NewPoint reads a tag. It reports every fault that it finds.
func NewPoint(tag field.Tag) (*Point, []error) {
	if word, _, _ := strings.Cut(strings.TrimSpace(tag.At), " "); word == sunspecWord {
		return newDescribed(tag)
	}
	p := &Point{Tag: tag, bit: -1}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}

	sp, start, bit, at := ParseAt(tag.At)
	if at != nil {
		fault("at", tag.At, at.Problem, at.Hint)
	}
	p.Span, p.bit = Span{sp, start, 1}, bit

	name := tag.Type
	if sp == Fifo {
		p.bit, p.entry = -1, bit
		bit = -1
	}
	if name == "" && at == nil && (sp.Bits() || bit >= 0) {
		name = "bool"
	}
	typ, known := typeOf(name)
	switch {
	case name == "" && at == nil:
		fault("type", name, "the type is missing", "allowed are "+strings.Join(typeNames(), ", "))
	case name != "" && !known:
		fault("type", name, "there is no such type", field.Suggest(name, typeNames()...))
	case known && at == nil && typ.Form != formBool && sp.Bits():
		fault("type", name, "a "+sp.String()+" is a single bit", `write "bool", or leave the type out`)
	case known && at == nil && bit >= 0 && typ.Form != formBool:
		fault("type", name, "one bit of a register is a truth value", `write "bool", or leave "bit" out of the address`)
	}
	p.Typ = typ
	if typ.Form == FormString {
		if tag.Length < 1 || tag.Length > 2*mostAtOnce {
			fault("length", strconv.Itoa(tag.Length), "a string needs its length in bytes", fmt.Sprintf("allowed are 1 to %d", 2*mostAtOnce))
		}
		p.Count = max(1, (tag.Length+1)/2)
	} else if tag.Length != 0 {
		fault("length", strconv.Itoa(tag.Length), "only a string has a length", "leave it out")
	}
	if known && !sp.Bits() && typ.Form != FormString {
		p.Count = typ.words
	}
	if known && at == nil && sp == Fifo && typ.words != 1 {
		fault("type", name, "an entry of a queue is one register", `write "int16", "uint16" or "bcd16"`)
	}
	if at == nil && p.End() > 65536 {
		fault("at", tag.At, fmt.Sprintf("a value of %d registers ends beyond the last address", p.Count), "addresses are 0 to 65535")
	}

	var ok bool
	if p.Order, ok = parseOrder(tag.Order); !ok {
		fault("order", tag.Order, "there is no such order", field.Suggest(tag.Order, "ABCD", "CDAB", "BADC", "DCBA"))
	}
	if !known {
		return p, faults // nothing below makes sense without a type
	}
	p.bindNumber(fault)
	p.bindWords(fault)
	for _, k := range slices.Sorted(maps.Keys(tag.Extra)) {
		fault(k, tag.Extra[k], "a Modbus tag has no such key", "leave it out")
	}
	if tag.Write && at == nil && !sp.Writable() {
		fault("at", tag.At, "it is listed as writable, but no Modbus function writes to the space \""+sp.String()+"\"", "take the tag off the device's writable list")
	}
	return p, faults
}

// bindNumber reads scale, offset and mask.
func (p *Point) bindNumber(fault func(key, value, problem, hint string)) {
	tag, form := p.Tag, p.Typ.Form
	p.scaling = field.NewScaling(tag.Scale, tag.Offset)
	number := form != formBool && form != FormString
	if p.scaling.On() && (!number || len(tag.Enum) > 0) {
		fault("scale", strconv.FormatFloat(tag.Scale, 'g', -1, 64), "only a number can be scaled", "leave scale and offset out")
	}
	if f := tag.Scale + tag.Offset; math.IsNaN(f) || math.IsInf(f, 0) {
		fault("scale", strconv.FormatFloat(tag.Scale, 'g', -1, 64), "scale and offset must be finite", "leave them out")
	}
	p.Mask = math.MaxUint64
	if p.bit >= 0 {
		p.Mask = 1 << p.bit
	}
	if tag.Mask == "" {
		return
	}
	switch form {
	case formInt, formUint, formBCD, formBool:
	default:
		fault("mask", tag.Mask, "only a whole number can be masked", "leave it out")
		return
	}
	bits := 16 * p.Count
	digits, hex := strings.CutPrefix(strings.ToLower(tag.Mask), "0x")
	base := 10
	if hex {
		base = 16
	}
	mask, err := strconv.ParseUint(digits, base, bits)
	switch {
	case p.bit >= 0 || p.Space.Bits():
		fault("mask", tag.Mask, "a single bit needs no mask", "leave it out")
	case err != nil || mask == 0:
		fault("mask", tag.Mask, fmt.Sprintf("this is no mask of %d bits", bits), `write it as "0x0FFF"`)
	}
	p.Mask = mask
}

// bindWords reads the null sentinels and the enumeration.
func (p *Point) bindWords(fault func(key, value, problem, hint string)) {
	for _, s := range p.Tag.Null {
		switch {
		case p.Typ.Form == FormString:
			p.nullText = append(p.nullText, s)
		case p.Typ.Form == formFloat && strings.EqualFold(s, "nan"):
			p.nullNaN = true
		default:
			raw, err := p.Typ.parseRaw(s)
			if err != nil {
				fault("null", s, err.Error(), `write it as "0x8000" or as a number`)
			}
			p.null = append(p.null, raw)
		}
	}
	if len(p.Tag.Enum) == 0 {
		return
	}
	if p.Typ.Form == formFloat || p.Typ.Form == FormString {
		fault("enum", p.Typ.Name, "only whole numbers and truth values have words", "leave the enum out, or give the tag another type")
		return
	}
	p.words = make(map[uint64]field.Value, len(p.Tag.Enum))
	for _, key := range slices.Sorted(maps.Keys(p.Tag.Enum)) {
		word := p.Tag.Enum[key]
		raw, err := p.Typ.parseRaw(key)
		if err != nil {
			fault("enum", key, err.Error(), `write it as "0x10" or as a number`)
			continue
		}
		if old, twice := p.words[raw]; twice {
			fault("enum", key, fmt.Sprintf("this raw value is called %q already", old.AsText()), "give each raw value one word")
			continue
		}
		p.words[raw] = field.Text(word)
	}
}

// Shape is what a reader of records must know of the point.
func (p *Point) Shape() field.Point {
	if p.Described != nil {
		return p.describedShape()
	}
	kind := p.Typ.kind
	switch {
	case p.words != nil:
		kind = field.KindString
	case p.scaling.On() && kind != field.KindFloat32:
		kind = field.KindFloat64
	}
	return field.Point{Name: p.Tag.Name, Kind: kind, Unit: p.Tag.Unit}
}

// Decode reads the point's registers. A sentinel, a NaN and a broken BCD digit are invalid.
func (p *Point) Decode(data []byte) (field.Value, field.Quality) {
	if p.Described != nil {
		return p.decodeDescribed(data)
	}
	if p.Typ.Form == FormString {
		return p.decodeText(data)
	}
	return p.Value(p.Order.Join(data))
}

// Queued reads what function 24 gave of a queue: behind the low byte of its byte count, how many registers there are,
// then these. An entry that is not there has no value.
func (p *Point) Queued(data []byte) (field.Value, field.Quality) {
	at := 1
	if p.entry >= 0 {
		at += 2 + 2*p.entry
	}
	if len(data) < at+2 {
		return field.Value{}, field.Invalid
	}
	return p.Decode(data[at : at+2])
}

// Value reads the raw value.
func (p *Point) Value(raw uint64) (field.Value, field.Quality) {
	if slices.Contains(p.null, raw) {
		return field.Value{}, field.Invalid
	}
	raw &= p.Mask
	if p.words != nil {
		if p.Typ.Form == formBool && raw != 0 {
			raw = 1
		}
		if word, ok := p.words[raw]; ok {
			return word, field.Good
		}
	}
	v, ok := p.Typ.number(raw)
	if !ok {
		return field.Value{}, field.Invalid
	}
	if p.words != nil { // a raw value without a word: its number says more than nothing
		return field.Text(v.String()), field.Good
	}
	if v = p.scaling.Of(v); !v.Finite() {
		return field.Value{}, field.Invalid
	}
	return v, field.Good
}

// decodeText reads a string: up to its first NUL, without the spaces that pad it.
func (p *Point) decodeText(data []byte) (field.Value, field.Quality) {
	text := make([]byte, len(data))
	copy(text, data)
	if p.Order.bytes {
		for i := 0; i+1 < len(text); i += 2 {
			text[i], text[i+1] = text[i+1], text[i]
		}
	}
	text = text[:p.Tag.Length]
	s, _, _ := strings.Cut(string(text), "\x00")
	s = strings.TrimRight(s, " ")
	if slices.Contains(p.nullText, s) {
		return field.Value{}, field.Invalid
	}
	return field.Text(s), field.Good
}
