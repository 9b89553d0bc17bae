package register

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"edgegateway/adapters/field"
)

// Encode makes the raw value that stands for v, in engineering units. Its error wraps field.ErrRange and says what is
// allowed.
func (p *Point) Encode(v field.Value) (raw uint64, err error) {
	switch {
	case p.words != nil:
		raw, err = p.encodeWord(v)
	case p.Typ.Form == formBool:
		raw, err = p.encodeBool(v)
	default:
		raw, err = p.encodeNumber(v)
	}
	if err != nil {
		return 0, err
	}
	switch {
	case p.bit >= 0:
		raw <<= p.bit
	case raw != 0 && p.Typ.Form == formBool && p.Mask != math.MaxUint64:
		raw = p.Mask // a truth value of several bits sets them all
	}
	if raw&^p.Mask&Ones(2*p.Count) != 0 {
		return 0, p.misfit(v, fmt.Sprintf("only the bits %#x belong to the tag", p.Mask))
	}
	return raw, nil
}

func (p *Point) misfit(v field.Value, allowed string) error {
	return fmt.Errorf("tag %q: %s: %w: %s", p.Tag.Name, v, field.ErrRange, allowed)
}

func (p *Point) encodeWord(v field.Value) (uint64, error) {
	names := make([]string, 0, len(p.words))
	for _, raw := range slices.Sorted(maps.Keys(p.words)) {
		name := p.words[raw].AsText()
		if v.Kind() == field.KindString && v.AsText() == name {
			return raw, nil
		}
		names = append(names, name)
	}
	return 0, p.misfit(v, "allowed are "+strings.Join(names, ", "))
}

func (p *Point) encodeBool(v field.Value) (uint64, error) {
	f, ok := v.Float()
	if !ok || f != 0 && f != 1 {
		return 0, p.misfit(v, "allowed are true and false")
	}
	return uint64(f), nil
}

func (p *Point) encodeNumber(v field.Value) (uint64, error) {
	f, ok := v.Float()
	if !ok || v.Kind() == field.KindBool || !v.Finite() {
		return 0, p.misfit(v, p.allowed())
	}
	if p.Typ.Form == formFloat {
		return p.encodeFloat(v, f)
	}
	if !p.scaling.On() {
		return p.encodeInteger(v, f)
	}
	raw, ok := p.Typ.integer(math.RoundToEven(p.scaling.Invert(f)))
	if !ok {
		return 0, p.misfit(v, p.allowed())
	}
	return raw, nil
}

func (p *Point) encodeFloat(v field.Value, f float64) (uint64, error) {
	if p.scaling.On() {
		f = p.scaling.Invert(f)
	}
	if p.Typ.words == 2 {
		single := float32(f)
		if math.IsInf(float64(single), 0) {
			return 0, p.misfit(v, p.allowed())
		}
		return uint64(math.Float32bits(single)), nil
	}
	return math.Float64bits(f), nil
}

// encodeInteger takes a number without a scale, which must be whole: there is no nearest one to a setting such as a
// mode. Integers keep all their 64 bits.
func (p *Point) encodeInteger(v field.Value, f float64) (uint64, error) {
	if f != math.Trunc(f) {
		return 0, p.misfit(v, "it must be a whole number, "+p.allowed())
	}
	if p.Typ.words == 4 && p.Typ.Form != formBCD {
		switch {
		case v.Kind() == field.KindUint && (p.Typ.Form == formUint || v.Bits() <= math.MaxInt64),
			v.Kind() == field.KindInt && (p.Typ.Form == formInt || int64(v.Bits()) >= 0):
			return v.Bits(), nil
		}
	}
	raw, ok := p.Typ.integer(f)
	if !ok {
		return 0, p.misfit(v, p.allowed())
	}
	return raw, nil
}

// allowed is the tag's range in engineering units, in words.
func (p *Point) allowed() string {
	low, high := p.Typ.bounds()
	if p.scaling.On() {
		low, high = p.scaling.Apply(low), p.scaling.Apply(high)
	}
	s := fmt.Sprintf("allowed is %v to %v", field.Float64(min(low, high)), field.Float64(max(low, high)))
	if p.Tag.Unit != "" {
		s += " " + p.Tag.Unit
	}
	return s
}

// EncodeText fills data, which is the point's registers, padded with NULs.
func (p *Point) EncodeText(v field.Value, data []byte) error {
	s := v.AsText()
	if v.Kind() != field.KindString || len(s) > p.Tag.Length {
		return p.misfit(v, fmt.Sprintf("allowed is text of at most %d bytes", p.Tag.Length))
	}
	clear(data)
	copy(data, s)
	if p.Order.bytes {
		for i := 0; i+1 < len(data); i += 2 {
			data[i], data[i+1] = data[i+1], data[i]
		}
	}
	return nil
}
