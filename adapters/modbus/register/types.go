package register

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// form is how the bits of a raw value are read.
type form uint8

const (
	formBool form = iota
	formInt
	formUint
	formFloat
	formBCD
	FormString
)

// wireType is a type that a tag can have on the wire.
type wireType struct {
	Name  string
	Form  form
	words int        // registers that a value takes; of a string: as many as its length asks for
	kind  field.Kind // of its values, unscaled
}

// WireTypes are the types that a tag can have in registers.
var WireTypes = [...]wireType{
	{"bool", formBool, 1, field.KindBool},
	{"int16", formInt, 1, field.KindInt},
	{"uint16", formUint, 1, field.KindUint},
	{"int32", formInt, 2, field.KindInt},
	{"uint32", formUint, 2, field.KindUint},
	{"int64", formInt, 4, field.KindInt},
	{"uint64", formUint, 4, field.KindUint},
	{"float32", formFloat, 2, field.KindFloat32},
	{"float64", formFloat, 4, field.KindFloat64},
	{"bcd16", formBCD, 1, field.KindUint},
	{"bcd32", formBCD, 2, field.KindUint},
	{"string", FormString, 0, field.KindString},
}

func typeNames() []string {
	names := make([]string, len(WireTypes))
	for i, t := range WireTypes {
		names[i] = t.Name
	}
	return names
}

func typeOf(name string) (wireType, bool) {
	for _, t := range WireTypes {
		if t.Name == name {
			return t, true
		}
	}
	return wireType{}, false
}

// order is how a value's bytes lie in its registers. The letters are those of a 32-bit value; a 64-bit one is
// ABCDEFGH, GHEFCDAB, BADCFEHG or HGFEDCBA.
type order struct{ words, bytes bool } // what is swapped

func parseOrder(s string) (order, bool) {
	switch s {
	case "", "ABCD":
		return order{}, true
	case "CDAB":
		return order{words: true}, true
	case "BADC":
		return order{bytes: true}, true
	case "DCBA":
		return order{words: true, bytes: true}, true
	}
	return order{}, false
}

// Join makes one raw value of a run of registers, at most four.
func (o order) Join(data []byte) uint64 {
	n := len(data) / 2
	var raw uint64
	for i := range n {
		w := i
		if o.words {
			w = n - 1 - i
		}
		high, low := data[2*w], data[2*w+1]
		if o.bytes {
			high, low = low, high
		}
		raw = raw<<16 | uint64(high)<<8 | uint64(low)
	}
	return raw
}

// Cut is join the other way: it fills data.
func (o order) Cut(raw uint64, data []byte) {
	n := len(data) / 2
	for i := range n {
		w := n - 1 - i // the lowest word stands last
		if o.words {
			w = i
		}
		high, low := byte(raw>>8), byte(raw)
		if o.bytes {
			high, low = low, high
		}
		data[2*w], data[2*w+1] = high, low
		raw >>= 16
	}
}

// Ones is a mask of n bytes.
func Ones(n int) uint64 { return math.MaxUint64 >> (64 - 8*n) }

// signed reads the low n bytes as two's complement.
func signed(raw uint64, n int) int64 { return int64(raw<<(64-8*n)) >> (64 - 8*n) }

// number reads raw as a number of the type; ok is false when its bits are none: a BCD digit above 9, NaN, infinity.
func (t wireType) number(raw uint64) (v field.Value, ok bool) {
	switch t.Form {
	case formBool:
		return field.Bool(raw != 0), true
	case formInt:
		return field.Int(signed(raw, 2*t.words)), true
	case formUint:
		return field.Uint(raw), true
	case formBCD:
		n, ok := fromBCD(raw)
		return field.Uint(n), ok
	default:
		v = field.Float64(math.Float64frombits(raw))
		if t.words == 2 {
			v = field.Float32(math.Float32frombits(uint32(raw)))
		}
		return v, v.Finite()
	}
}

// bounds are the least and the greatest number of the type.
func (t wireType) bounds() (low, high float64) {
	bits := float64(16 * t.words)
	switch t.Form {
	case formInt:
		return -math.Exp2(bits - 1), math.Exp2(bits-1) - 1
	case formUint:
		return 0, math.Exp2(bits) - 1
	case formBCD:
		return 0, math.Pow10(4*t.words) - 1
	case formFloat:
		if t.words == 2 {
			return -math.MaxFloat32, math.MaxFloat32
		}
		return -math.MaxFloat64, math.MaxFloat64
	default:
		return 0, 1
	}
}

// integer makes the raw bits of a whole number; ok is false when the type cannot hold it.
func (t wireType) integer(f float64) (raw uint64, ok bool) {
	low, high := t.bounds()
	// 2^63 - 1 and 2^64 - 1 round up as float64, so that the bound itself would overflow.
	if f < low || f > high || 16*t.words == 64 && f >= high {
		return 0, false
	}
	switch t.Form {
	case formInt:
		return uint64(int64(f)) & Ones(2*t.words), true
	case formBCD:
		return toBCD(uint64(f)), true
	default:
		return uint64(f), true
	}
}

func fromBCD(raw uint64) (n uint64, ok bool) {
	for shift := 60; shift >= 0; shift -= 4 {
		digit := raw >> shift & 15
		if digit > 9 {
			return 0, false
		}
		n = 10*n + digit
	}
	return n, true
}

func toBCD(n uint64) (raw uint64) {
	for shift := 0; n > 0; shift += 4 {
		raw |= n % 10 << shift
		n /= 10
	}
	return raw
}

// parseRaw reads a raw value in the notation of the type, as null sentinels and enumerations state it. Hexadecimal
// gives the bits themselves, whatever the type.
func (t wireType) parseRaw(s string) (raw uint64, err error) {
	size := max(1, 2*t.words)
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		raw, err = strconv.ParseUint(hex, 16, 8*size)
		if err != nil {
			return 0, fmt.Errorf("this is no raw value of %d bits", 8*size)
		}
		return raw, nil
	}
	switch t.Form {
	case formBool:
		switch s {
		case "0", "false":
			return 0, nil
		case "1", "true":
			return 1, nil
		}
		return 0, fmt.Errorf("this is no truth value: allowed are 0, 1, false, true")
	case formInt:
		n, err := strconv.ParseInt(s, 10, 8*size)
		if err == nil {
			return uint64(n) & Ones(size), nil
		}
		// -1 and 65535 are the same bits, and data sheets write either.
	case formBCD:
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			if raw, ok := t.integer(float64(n)); ok {
				return raw, nil
			}
		}
		return 0, fmt.Errorf("this is no number of %d digits", 4*t.words)
	case formFloat:
		f, err := strconv.ParseFloat(s, 8*size)
		if err != nil {
			return 0, fmt.Errorf("this is no number of type %s", t.Name)
		}
		if t.words == 2 {
			return uint64(math.Float32bits(float32(f))), nil
		}
		return math.Float64bits(f), nil
	}
	raw, err = strconv.ParseUint(s, 10, 8*size)
	if err != nil {
		return 0, fmt.Errorf("this is no raw value of %d bits", 8*size)
	}
	return raw, nil
}
