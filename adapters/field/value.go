package field

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is the type of what a Value holds.
type Kind uint8

// The kinds of a Value. KindNull is the zero Value: nothing was there.
const (
	KindNull Kind = iota
	KindBool
	KindInt
	KindUint
	KindFloat32
	KindFloat64
	KindString
)

var kindNames = [...]string{"null", "bool", "int", "uint", "float32", "float64", "string"}

// String names the kind as the documentation does: "bool", "float32", …
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is one measured or commanded value: a small tagged struct, comparable with ==, which is exact (two NaN with
// the same bits are equal; 1 as an int and 1 as a float are not). The zero Value is null.
type Value struct {
	text string
	bits uint64
	kind Kind
}

// Bool makes a truth value.
func Bool(v bool) Value {
	if v {
		return Value{bits: 1, kind: KindBool}
	}
	return Value{kind: KindBool}
}

// Int makes a signed integer.
func Int(v int64) Value { return Value{bits: uint64(v), kind: KindInt} }

// Uint makes an unsigned integer.
func Uint(v uint64) Value { return Value{bits: v, kind: KindUint} }

// Float32 makes a single-precision number; it prints as the shortest text that gives the same float32 back.
func Float32(v float32) Value { return Value{bits: uint64(math.Float32bits(v)), kind: KindFloat32} }

// Float64 makes a double-precision number.
func Float64(v float64) Value { return Value{bits: math.Float64bits(v), kind: KindFloat64} }

// Text makes a string.
func Text(v string) Value { return Value{text: v, kind: KindString} }

// FromBits makes a number or a bool of the given kind from the 64 bits that Bits gave. Not for strings, and not for
// bits that Bits never gives for the kind.
func FromBits(k Kind, bits uint64) Value { return Value{bits: bits, kind: k} }

// Kind tells what the value holds.
func (v Value) Kind() Kind { return v.kind }

// IsNull says that there is no value.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Bits gives the 64 bits of a number or a bool: two's complement for KindInt, IEEE 754 for the floats (a float32 in
// the low 32 bits), 0 or 1 for a bool.
func (v Value) Bits() uint64 { return v.bits }

// AsText gives the string of a KindString value, else "".
func (v Value) AsText() string { return v.text }

// AsBool is true for a true bool and for any number that is not zero.
func (v Value) AsBool() bool {
	if v.kind == KindBool {
		return v.bits != 0
	}
	f, ok := v.Float()
	return ok && f != 0
}

// Float gives the value as a float64, and whether it is a number (or a bool: 0 or 1). Integers beyond 2^53 round.
func (v Value) Float() (float64, bool) {
	switch v.kind {
	case KindBool, KindUint:
		return float64(v.bits), true
	case KindInt:
		return float64(int64(v.bits)), true
	case KindFloat32:
		return float64(math.Float32frombits(uint32(v.bits))), true
	case KindFloat64:
		return math.Float64frombits(v.bits), true
	default:
		return 0, false
	}
}

// Finite says that the value is not a NaN and not infinite; what is no float is always finite.
func (v Value) Finite() bool {
	if v.kind != KindFloat32 && v.kind != KindFloat64 {
		return true
	}
	f, _ := v.Float()
	return !math.IsNaN(f) && !math.IsInf(f, 0)
}

// String is the value as a person reads it: the shortest text of a number, "true", the string itself, "null".
func (v Value) String() string {
	if v.kind == KindString {
		return v.text
	}
	return string(v.appendNumber(nil))
}

func (v Value) appendNumber(b []byte) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(b, v.bits != 0)
	case KindInt:
		return strconv.AppendInt(b, int64(v.bits), 10)
	case KindUint:
		return strconv.AppendUint(b, v.bits, 10)
	case KindFloat32:
		return appendFloat(b, float64(math.Float32frombits(uint32(v.bits))), 32)
	case KindFloat64:
		return appendFloat(b, math.Float64frombits(v.bits), 64)
	default:
		return append(b, "null"...)
	}
}

// appendFloat writes the shortest text that gives the same float back: plain digits where they are the shorter ones,
// an exponent outside 1e-6 … 1e21 (as ECMAScript prints numbers), which JSON allows.
func appendFloat(b []byte, f float64, bits int) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, bits)
	}
	return strconv.AppendFloat(b, f, 'f', -1, bits)
}

// maxExact is the largest integer below which every integer is a float64: beyond it JSON readers round.
const maxExact = 1 << 53

// AppendJSON appends the value as JSON: integers beyond ±2^53 as strings, NaN and infinities (which JSON does not
// have) as null.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case KindString:
		return AppendJSONString(b, v.text)
	case KindInt:
		if n := int64(v.bits); n > maxExact || n < -maxExact {
			return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
		}
	case KindUint:
		if v.bits > maxExact {
			return append(strconv.AppendUint(append(b, '"'), v.bits, 10), '"')
		}
	case KindFloat32, KindFloat64:
		if !v.Finite() {
			return append(b, "null"...)
		}
	}
	return v.appendNumber(b)
}

// MarshalJSON is AppendJSON for encoding/json.
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string. What is not UTF-8 becomes U+FFFD, so that the result is always valid.
func AppendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			i++
			start = i
			continue
		}
		i += n
	}
	return append(append(b, s[start:]...), '"')
}

// ParseValue reads the text of a value of the given kind, as a person types it on the command line: integers are
// decimal, also with leading zeros, or hexadecimal behind 0x. The error says what is allowed.
func ParseValue(k Kind, s string) (Value, error) {
	switch k {
	case KindBool:
		switch s {
		case "true", "on", "1":
			return Bool(true), nil
		case "false", "off", "0":
			return Bool(false), nil
		}
		return Value{}, fmt.Errorf("%q is no truth value: allowed are true, on, 1, false, off, 0", s)
	case KindInt:
		n, err := strconv.ParseInt(integer(s), base(s), 64)
		if err != nil {
			return Value{}, fmt.Errorf("%q is no integer between %d and %d", s, int64(math.MinInt64), int64(math.MaxInt64))
		}
		return Int(n), nil
	case KindUint:
		n, err := strconv.ParseUint(integer(s), base(s), 64)
		if err != nil {
			return Value{}, fmt.Errorf("%q is no integer between 0 and %d", s, uint64(math.MaxUint64))
		}
		return Uint(n), nil
	case KindFloat32, KindFloat64:
		bits := 64
		if k == KindFloat32 {
			bits = 32
		}
		f, err := strconv.ParseFloat(s, bits)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return Value{}, fmt.Errorf("%q is no number of type %s: write it as 42, 42.5 or 4.25e1", s, k)
		}
		if k == KindFloat32 {
			return Float32(float32(f)), nil
		}
		return Float64(f), nil
	case KindString:
		return Text(s), nil
	default:
		return Value{}, fmt.Errorf("a value of kind %s cannot be read from text", k)
	}
}

func base(s string) int {
	if strings.HasPrefix(s, "0x") {
		return 16
	}
	return 10
}

func integer(s string) string { return strings.TrimPrefix(s, "0x") }
