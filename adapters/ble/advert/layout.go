package advert

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// Layout is where in a run of bytes a tag's value lies, and how it is read: the generic way into advertisements and
// characteristics that no format above knows.
type Layout struct {
	offset, size int
	bit          int // -1 for the whole
	form         form
	big          bool
	mask         uint64
	null         []uint64
	nullNaN      bool
	nullText     []string
	scaling      field.Scaling
	words        map[uint64]string
	kind         field.Kind
}

type form uint8

const (
	formBool form = iota
	formInt
	formUint
	formFloat
	formText
	formHex
)

// layoutType is a type that a value can have on the air.
type layoutType struct {
	name string
	form form
	size int // bytes; 0 for what takes the tag's length, or all that is left
}

var layoutTypes = [...]layoutType{
	{"bool", formBool, 1},
	{"int8", formInt, 1}, {"uint8", formUint, 1}, {"int16", formInt, 2}, {"uint16", formUint, 2},
	{"int24", formInt, 3}, {"uint24", formUint, 3}, {"int32", formInt, 4}, {"uint32", formUint, 4},
	{"int64", formInt, 8}, {"uint64", formUint, 8}, {"float32", formFloat, 4}, {"float64", formFloat, 8},
	{"string", formText, 0}, {"hex", formHex, 0},
}

// LayoutTypes are the names of the types.
func LayoutTypes() []string {
	names := make([]string, len(layoutTypes))
	for i, t := range layoutTypes {
		names[i] = t.name
	}
	return names
}

// NewLayout reads a tag whose value lies offset bytes behind the start; bit is one bit of it, or -1. It reports every
// fault, as *field.TagError. Bytes lie little-endian, as Bluetooth has it, unless the tag's order is "big".
func NewLayout(tag field.Tag, offset, bit int) (*Layout, []error) {
	l := &Layout{offset: offset, bit: bit, mask: math.MaxUint64, scaling: field.NewScaling(tag.Scale, tag.Offset)}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	name := tag.Type
	if name == "" && bit >= 0 {
		name = "bool"
	}
	i := slices.IndexFunc(layoutTypes[:], func(t layoutType) bool { return t.name == name })
	switch {
	case name == "":
		fault("type", name, "the type is missing", "allowed are "+strings.Join(LayoutTypes(), ", "))
		return nil, faults
	case i < 0:
		fault("type", name, "there is no such type", field.Suggest(name, LayoutTypes()...))
		return nil, faults
	}
	l.form, l.size = layoutTypes[i].form, layoutTypes[i].size
	text := l.form == formText || l.form == formHex
	if text {
		l.size = tag.Length
	} else if tag.Length != 0 {
		fault("length", strconv.Itoa(tag.Length), "only a string has a length", "leave it out")
	}
	if bit >= 0 && l.form != formBool {
		fault("type", name, "one bit is a truth value", `write "bool", or leave "bit" out of the address`)
	}
	switch tag.Order {
	case "", "little":
	case "big":
		l.big = true
	default:
		fault("order", tag.Order, "there is no such order", field.Suggest(tag.Order, "little", "big"))
	}
	number := l.form == formInt || l.form == formUint || l.form == formFloat
	if f := tag.Scale + tag.Offset; math.IsNaN(f) || math.IsInf(f, 0) {
		fault("scale", strconv.FormatFloat(tag.Scale, 'g', -1, 64), "scale and offset must be finite", "leave them out")
	} else if l.scaling.On() && (!number || len(tag.Enum) > 0) {
		fault("scale", strconv.FormatFloat(tag.Scale, 'g', -1, 64), "only a number can be scaled", "leave scale and offset out")
	}
	faults = append(faults, l.bindMask(tag)...)
	faults = append(faults, l.bindWords(tag, name)...)
	l.kind = l.kindOf(tag)
	return l, faults
}

func (l *Layout) kindOf(tag field.Tag) field.Kind {
	switch {
	case len(tag.Enum) > 0 || l.form == formText || l.form == formHex:
		return field.KindString
	case l.form == formBool:
		return field.KindBool
	case l.scaling.On():
		return field.KindFloat64
	case l.form == formInt:
		return field.KindInt
	case l.form == formUint:
		return field.KindUint
	case l.size == 4:
		return field.KindFloat32
	default:
		return field.KindFloat64
	}
}

func (l *Layout) bindMask(tag field.Tag) []error {
	if tag.Mask == "" {
		return nil
	}
	mask, err := strconv.ParseUint(tag.Mask, 0, 8*max(l.size, 1))
	whole := l.form == formInt || l.form == formUint || l.form == formBool && l.bit < 0
	if !whole || err != nil || mask == 0 {
		return []error{&field.TagError{Tag: tag.Name, Key: "mask", Value: tag.Mask,
			Problem: "this is no mask of the tag's type", Hint: `write it as "0x0F", for whole numbers only`}}
	}
	l.mask = mask
	return nil
}

func (l *Layout) bindWords(tag field.Tag, name string) (faults []error) {
	for _, s := range tag.Null {
		switch raw, err := l.parseRaw(s); {
		case l.form == formText || l.form == formHex:
			l.nullText = append(l.nullText, s)
		case l.form == formFloat && strings.EqualFold(s, "nan"):
			l.nullNaN = true
		case err != nil:
			faults = append(faults, &field.TagError{Tag: tag.Name, Key: "null", Value: s,
				Problem: "this is no raw value of type " + name, Hint: `write it as "0x8000" or as a number`})
		default:
			l.null = append(l.null, raw)
		}
	}
	if len(tag.Enum) > 0 && l.form != formInt && l.form != formUint && l.form != formBool {
		return append(faults, &field.TagError{Tag: tag.Name, Key: "enum", Value: name,
			Problem: "only whole numbers and truth values have words", Hint: "leave the enum out, or give the tag another type"})
	}
	for key, word := range tag.Enum {
		raw, err := l.parseRaw(key)
		if err != nil {
			faults = append(faults, &field.TagError{Tag: tag.Name, Key: "enum", Value: key,
				Problem: "this is no raw value of type " + name, Hint: `write it as "0x80" or as a number`})
			continue
		}
		if l.words == nil {
			l.words = map[uint64]string{}
		}
		l.words[raw] = word
	}
	return faults
}

// parseRaw reads a raw value as the installer writes it: hexadecimal gives the bits themselves.
func (l *Layout) parseRaw(s string) (uint64, error) {
	bits := 8 * max(l.size, 1)
	switch {
	case strings.HasPrefix(strings.ToLower(s), "0x"):
		return strconv.ParseUint(s[2:], 16, bits)
	case l.form == formBool:
		b, err := strconv.ParseBool(s)
		if b {
			return 1, err
		}
		return 0, err
	case l.form == formInt:
		n, err := strconv.ParseInt(s, 10, bits)
		return uint64(n) & (math.MaxUint64 >> (64 - bits)), err
	case l.form == formFloat && l.size == 4:
		f, err := strconv.ParseFloat(s, 32)
		return uint64(math.Float32bits(float32(f))), err
	case l.form == formFloat:
		f, err := strconv.ParseFloat(s, 64)
		return math.Float64bits(f), err
	}
	return strconv.ParseUint(s, 10, bits)
}

// Kind is the kind of the values.
func (l *Layout) Kind() field.Kind { return l.kind }

// Decode reads the value. The quality is Good with a value, Invalid where the bytes end before it, hold the tag's
// sentinel or cannot be a value of its type; the value is null then.
func (l *Layout) Decode(data []byte) (field.Value, field.Quality) {
	size := l.size
	if size == 0 {
		size = max(len(data)-l.offset, 0)
	}
	if len(data) < l.offset+size {
		return field.Value{}, field.Invalid
	}
	b := data[l.offset : l.offset+size]
	switch l.form {
	case formText, formHex:
		s := hex.EncodeToString(b)
		if l.form == formText {
			s = strings.ToValidUTF8(strings.TrimRight(string(b), "\x00"), "\ufffd")
		}
		if slices.Contains(l.nullText, s) {
			return field.Value{}, field.Invalid
		}
		return field.Text(s), field.Good
	}
	raw := l.raw(b)
	if slices.Contains(l.null, raw) {
		return field.Value{}, field.Invalid
	}
	if l.bit >= 0 {
		raw = raw >> l.bit & 1
	}
	raw &= l.mask
	if l.words != nil {
		if word, ok := l.words[raw]; ok {
			return field.Text(word), field.Good
		}
		return field.Value{}, field.Invalid
	}
	v := l.number(raw)
	if f, _ := v.Float(); l.scaling.On() {
		v = field.Float64(l.scaling.Apply(f))
	}
	if !v.Finite() {
		return field.Value{}, field.Invalid
	}
	return v, field.Good
}

func (l *Layout) raw(b []byte) uint64 {
	if !l.big {
		return little(b)
	}
	var raw uint64
	for _, c := range b {
		raw = raw<<8 | uint64(c)
	}
	return raw
}

func (l *Layout) number(raw uint64) field.Value {
	switch {
	case l.form == formBool:
		return field.Bool(raw != 0)
	case l.form == formInt:
		return field.Int(signed(raw, l.size))
	case l.form == formUint:
		return field.Uint(raw)
	case l.size == 4:
		return field.Float32(math.Float32frombits(uint32(raw)))
	}
	return field.Float64(math.Float64frombits(raw))
}

// Encode makes the bytes of a characteristic that holds the value and nothing else. The error says why the value does
// not fit the tag; it wraps field.ErrRange.
func (l *Layout) Encode(v field.Value) ([]byte, error) {
	refuse := func(format string, args ...any) ([]byte, error) {
		return nil, fmt.Errorf("%w: %s", field.ErrRange, fmt.Sprintf(format, args...))
	}
	switch {
	case l.offset != 0 || l.bit >= 0 || l.mask != math.MaxUint64:
		return refuse("it is a part of a characteristic, and only the whole of one can be written")
	case l.form == formHex:
		b, err := hex.DecodeString(v.AsText())
		if err != nil || l.size > 0 && len(b) != l.size {
			return refuse("%q are not its bytes in hexadecimal notation", v.AsText())
		}
		return b, nil
	case l.form == formText:
		if l.size > 0 && len(v.AsText()) > l.size {
			return refuse("the text has %d bytes, and %d fit", len(v.AsText()), l.size)
		}
		return []byte(v.AsText()), nil
	}
	raw, err := l.encodeNumber(v)
	if err != nil {
		return nil, err
	}
	b := make([]byte, l.size)
	for i := range b {
		at := i
		if l.big {
			at = l.size - 1 - i
		}
		b[at] = byte(raw >> (8 * i))
	}
	return b, nil
}

func (l *Layout) encodeNumber(v field.Value) (raw uint64, err error) {
	if l.words != nil {
		for raw, word := range l.words {
			if word == v.AsText() {
				return raw, nil
			}
		}
		return 0, fmt.Errorf("%w: there is no word %q", field.ErrRange, v.AsText())
	}
	f, ok := v.Float()
	if !ok {
		return 0, fmt.Errorf("%w: %q is no number", field.ErrRange, v.String())
	}
	if l.scaling.On() {
		f = l.scaling.Invert(f)
	}
	switch {
	case l.form == formBool:
		if f != 0 {
			return 1, nil
		}
		return 0, nil
	case l.form == formFloat && l.size == 4:
		return uint64(math.Float32bits(float32(f))), nil
	case l.form == formFloat:
		return math.Float64bits(f), nil
	}
	f = math.Round(f)
	low, high := 0.0, math.Exp2(float64(8*l.size))
	if l.form == formInt {
		low, high = -high/2, high/2
	}
	exact := !l.scaling.On() && (v.Kind() == field.KindUint && l.form == formUint || v.Kind() == field.KindInt && l.form == formInt)
	switch {
	case exact && l.size == 8: // a float64 would round it
		return v.Bits(), nil
	case !(f >= low && f < high):
		return 0, fmt.Errorf("%w: %s is outside what %d bytes hold", field.ErrRange, v, l.size)
	case f < 0:
		return uint64(int64(f)), nil
	}
	return uint64(f), nil
}
