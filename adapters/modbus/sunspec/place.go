package sunspec

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// Place is where a point lies in one device: the registers that hold it and its scale factor.
type Place struct {
	Start, Count int // in holding registers
	value, words int // of the value, in registers from Start
	scale        int // of the scale factor; -1 for none
	power        int // of ten, where it is fixed
	kind         byte
	float        bool
}

// Locate finds the point in a device's chain; ok is false when the device has none of the models, or its block is too
// short for the point.
func (r Ref) Locate(chain []Block) (Place, bool) {
	for _, id := range r.models {
		n := 0
		for _, b := range chain {
			if b.ID != id {
				continue
			}
			if n == r.nth {
				return r.locate(b)
			}
			n++
		}
	}
	return Place{}, false
}

func (r Ref) locate(b Block) (Place, bool) {
	m, _ := find(b.ID)
	p, _ := m.point(r)
	at := p.offset
	if r.group >= 0 {
		at += m.length + r.group*m.each
	}
	place := Place{kind: p.kind, words: p.words, scale: -1, float: r.scaled}
	first, end := at, at+p.words
	scale := -1
	if n, err := strconv.Atoi(p.scale); err == nil {
		place.power = n
	} else if p.scale != "" {
		scale = m.scaleOf(r, p.scale)
		first, end = min(first, scale), max(end, scale+1)
	}
	if end > b.Length {
		return Place{}, false
	}
	place.Start, place.Count, place.value = b.Start+first, end-first, at-first
	if scale >= 0 {
		place.scale = scale - first
	}
	return place, true
}

// scaleOf gives the offset of a scale factor: beside the point in its group, else among the points before all groups.
func (m *model) scaleOf(r Ref, name string) int {
	if r.group >= 0 {
		if i := slices.IndexFunc(m.repeat, func(p point) bool { return p.name == name }); i >= 0 {
			return m.length + r.group*m.each + m.repeat[i].offset
		}
	}
	i := slices.IndexFunc(m.points, func(p point) bool { return p.name == name })
	return m.points[i].offset // a test sees to it that the table has every one
}

// Decode reads the point from the registers that its place spans. What the device does not implement is invalid.
func (p Place) Decode(data []byte) (field.Value, field.Quality) {
	raw := data[2*p.value : 2*(p.value+p.words)]
	if p.kind == 's' {
		text, _, _ := strings.Cut(string(raw), "\x00")
		if text = strings.TrimSpace(text); text == "" {
			return field.Value{}, field.Invalid
		}
		return field.Text(text), field.Good
	}
	power := p.power
	if p.scale >= 0 {
		power = int(int16(binary.BigEndian.Uint16(data[2*p.scale:])))
		if power < -10 || power > 10 { // 0x8000 says that there is none
			return field.Value{}, field.Invalid
		}
	}
	v, ok := number(p.kind, raw)
	if !ok {
		return field.Value{}, field.Invalid
	}
	if !p.float {
		return v, field.Good
	}
	f, _ := v.Float()
	switch {
	case power < 0:
		f /= math.Pow10(-power)
	case power > 0:
		f *= math.Pow10(power)
	}
	return field.Float64(f), field.Good
}

// number reads a raw value; ok is false for the one that says "not implemented".
func number(kind byte, raw []byte) (v field.Value, ok bool) {
	var u uint64
	for _, b := range raw {
		u = u<<8 | uint64(b)
	}
	switch kind {
	case 'i':
		return field.Int(int64(int16(u))), u != 0x8000
	case 'I':
		return field.Int(int64(int32(u))), u != 0x80000000
	case 'L':
		return field.Int(int64(u)), u != 1<<63
	case 'u', 'e', 'c':
		return field.Uint(u), u != 0xFFFF
	case 'U':
		return field.Uint(u), u != 0xFFFFFFFF
	case 'B':
		return field.Uint(u), u < 1<<15
	case 'b':
		return field.Uint(u), u < 1<<31
	case 'Q':
		return field.Uint(u), u != math.MaxUint64
	case 'a', 'A':
		return field.Uint(u), u != 0
	case 'f':
		f := math.Float32frombits(uint32(u))
		// The shortest decimal that is this float: a meter that says 230.2 does not mean 230.1999969482422.
		d, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
		v = field.Float64(d)
		return v, err == nil && v.Finite()
	}
	return field.Value{}, false
}
