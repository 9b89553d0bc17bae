package serial

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// shape is what a reader of records must know of the point.
func (p *point) shape() field.Point {
	kind := field.KindFloat64
	switch p.form {
	case textInt, binInt:
		kind = field.KindInt
	case textUint, textHex, binUint, binBCD:
		kind = field.KindUint
	case textBool, binBool:
		kind = field.KindBool
	case textWord, binWord:
		kind = field.KindString
	case binFloat:
		if p.size == 4 {
			kind = field.KindFloat32
		}
	}
	switch {
	case p.words != nil:
		kind = field.KindString
	case p.scaling.On() && kind != field.KindFloat32:
		kind = field.KindFloat64
	}
	return field.Point{Name: p.tag.Name, Kind: kind, Unit: p.tag.Unit}
}

// value reads the point of a frame. A frame that lacks it, a sentinel and what is no value of the type are invalid.
func (p *point) value(frame, content []byte, match [][]byte) (field.Value, field.Quality) {
	raw, ok := p.where(frame, content, match)
	if !ok {
		return field.Value{}, field.Invalid
	}
	v, text, ok := p.read(raw)
	if slices.Contains(p.nulls, text) || !ok && p.words[text].IsNull() {
		return field.Value{}, field.Invalid
	}
	if p.words != nil {
		if word := p.words[text]; !word.IsNull() {
			return word, field.Good
		}
		return field.Text(text), field.Good
	}
	v = p.scaling.Of(v)
	if !v.Finite() {
		return field.Value{}, field.Invalid
	}
	return v, field.Good
}

// read reads the raw bytes, not yet scaled; text is the raw value as sentinels and enumerations name it.
func (p *point) read(raw []byte) (v field.Value, text string, ok bool) {
	if p.form >= binInt {
		return p.readBinary(raw)
	}
	text = strings.TrimSpace(string(raw))
	switch p.form {
	case textWord:
		return field.Text(text), text, true
	case textBool:
		v, err := field.ParseValue(field.KindBool, strings.ToLower(text))
		return v, text, err == nil
	case textInt:
		n, err := strconv.ParseInt(text, 10, 64)
		return field.Int(n), text, err == nil
	case textUint:
		n, err := strconv.ParseUint(text, 10, 64)
		return field.Uint(n), text, err == nil
	case textHex:
		n, err := strconv.ParseUint(text, 16, 64)
		return field.Uint(n & p.mask), text, err == nil
	case textAngle:
		f, ok := angle(text)
		return field.Float64(f), text, ok
	default:
		// Some devices put a blank between the sign and the digits.
		f, err := strconv.ParseFloat(strings.ReplaceAll(text, " ", ""), 64)
		return field.Float64(f), text, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	}
}

// angle reads "4807.038 N": degrees and minutes, and the hemisphere (NMEA 0183, 5.3).
func angle(text string) (degrees float64, ok bool) {
	number, hemisphere, _ := strings.Cut(text, " ")
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || f > 18000 {
		return 0, false
	}
	whole := math.Floor(f / 100)
	degrees = math.Round((whole+(f-100*whole)/60)*1e7) / 1e7 // a centimetre
	switch hemisphere {
	case "N", "E":
		return degrees, true
	case "S", "W":
		return -degrees, true
	}
	return 0, false
}

func (p *point) readBinary(raw []byte) (v field.Value, text string, ok bool) {
	if p.form == binWord {
		text, _, _ = strings.Cut(string(raw), "\x00")
		text = strings.TrimRight(text, " ")
		return field.Text(text), text, true
	}
	ordered := slices.Clone(raw)
	if p.low {
		slices.Reverse(ordered)
	}
	if p.swapped {
		swapWords(ordered)
	}
	var b [8]byte
	copy(b[8-len(ordered):], ordered)
	bits := binary.BigEndian.Uint64(b[:])
	if p.bit >= 0 {
		bits = bits >> p.bit & 1
	} else {
		bits &= p.mask
	}
	ok = true
	switch p.form {
	case binBool:
		return field.Bool(bits != 0), strconv.FormatUint(bits, 10), true
	case binInt:
		shift := 64 - 8*p.size
		v = field.Int(int64(bits<<shift) >> shift)
	case binUint:
		v = field.Uint(bits)
	case binFloat:
		v = field.Float64(math.Float64frombits(bits))
		if p.size == 4 {
			v = field.Float32(math.Float32frombits(uint32(bits)))
		}
		ok = v.Finite()
	default:
		n := uint64(0)
		for shift := 8*p.size - 4; shift >= 0; shift -= 4 {
			digit := bits >> shift & 15
			ok = ok && digit <= 9
			n = 10*n + digit
		}
		v = field.Uint(n)
	}
	return v, v.String(), ok
}

// swapWords turns the order of words of two bytes round.
func swapWords(b []byte) {
	for i, j := 0, len(b)-2; i < j; i, j = i+2, j-2 {
		b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
	}
}
