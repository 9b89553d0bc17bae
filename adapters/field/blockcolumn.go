package field

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The values of one group stand point by point. Each point has a header byte, and equal headers of neighbours are
// written as a run: bits 0–3 one of the encodings below, bit 4 some values are null (a bitmap of those that are there
// precedes the rest), bits 5–7 the decimals of columnDecimal.
const (
	columnNull      = iota // nothing follows: every value is null
	columnBool             // one bit a value
	columnInt              // zigzag differences
	columnUint             // the same, of the two's complement
	columnDecimal32        // float32: integers in units of 10^-decimals, as zigzag differences
	columnDecimal64        // float64: the same
	columnXor32            // float32: exclusive or with the value before
	columnXor64            // float64: the same
	columnText             // 0: as before; otherwise length + 1, bytes
	columnMixed            // kind, bits and, for strings, length and bytes of each value

	columnGaps    = 1 << 4
	decimalsShift = 5
)

// powers of ten up to the most decimals that a header can name; all are exact.
var powers = [8]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7}

// appendGroups writes the values of reading records.
func (e *BlockEncoder) appendGroups(b []byte, records []Record, id func(*Group) uint32) []byte {
	index := map[*Group]int{}
	var groups []*Group
	for i := range records {
		g := records[i].Group
		if _, ok := index[g]; !ok {
			index[g] = len(groups)
			groups = append(groups, g)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for _, g := range groups {
		b = binary.AppendUvarint(b, uint64(id(g)))
	}
	members := make([][]*Record, len(groups))
	for i := range records {
		g := index[records[i].Group]
		members[g] = append(members[g], &records[i])
		if len(groups) > 1 {
			b = binary.AppendUvarint(b, uint64(g))
		}
	}
	for g, rs := range members {
		b = e.appendColumns(b, len(groups[g].Points), rs)
	}
	return b
}

func (e *BlockEncoder) appendColumns(b []byte, points int, rs []*Record) []byte {
	headers := make([]byte, points)
	var data []byte
	for p := range points {
		e.column = e.column[:0]
		gaps := false
		for _, r := range rs {
			if v := r.Values[p]; v != (Value{}) {
				e.column = append(e.column, v)
			} else {
				gaps = true
			}
		}
		headers[p] = columnHeader(e.column)
		if gaps && len(e.column) > 0 {
			headers[p] |= columnGaps
			data = appendBits(data, len(rs), func(i int) bool { return rs[i].Values[p] != (Value{}) })
		}
		data = appendColumn(data, headers[p], e.column)
	}
	b = appendRuns(b, points, func(p int) uint64 { return uint64(headers[p]) })
	b = append(b, data...)
	for _, r := range rs {
		if r.Quality != nil {
			b = append(b, 1)
			return appendRuns(b, points*len(rs), func(i int) uint64 { return uint64(rs[i%len(rs)].QualityOf(i / len(rs))) })
		}
	}
	return append(b, 0)
}

// columnHeader chooses how to write values, none of which is null.
func columnHeader(vs []Value) byte {
	if len(vs) == 0 {
		return columnNull
	}
	kind := vs[0].kind
	for _, v := range vs {
		if v.kind != kind || !v.canonical() {
			return columnMixed
		}
	}
	switch kind {
	case KindBool:
		return columnBool
	case KindInt:
		return columnInt
	case KindUint:
		return columnUint
	case KindFloat32:
		if d, ok := decimalsOf(vs); ok {
			return columnDecimal32 | d<<decimalsShift
		}
		return columnXor32
	case KindFloat64:
		if d, ok := decimalsOf(vs); ok {
			return columnDecimal64 | d<<decimalsShift
		}
		return columnXor64
	case KindString:
		return columnText
	default:
		return columnMixed
	}
}

// canonical says that a value is one that its kind's constructor can make, so the kind's own encoding keeps it.
func (v Value) canonical() bool {
	switch v.kind {
	case KindBool:
		return v.bits <= 1 && v.text == ""
	case KindFloat32:
		return v.bits <= math.MaxUint32 && v.text == ""
	case KindString:
		return v.bits == 0
	case KindInt, KindUint, KindFloat64:
		return v.text == ""
	default:
		return false
	}
}

// decimalsOf finds the fewest decimals with which every value is a decimal number that gives the same bits back.
func decimalsOf(vs []Value) (byte, bool) {
next:
	for d := range powers {
		for _, v := range vs {
			if _, ok := v.scaled(d); !ok {
				continue next
			}
		}
		return byte(d), true
	}
	return 0, false
}

// scaled is the value in units of 10^-d, and whether unscaled gives the very same float back. Numbers with more
// digits than their type can hold are noise, which the other encoding holds in less.
func (v Value) scaled(d int) (int64, bool) {
	f, _ := v.Float()
	limit := 1e15
	if v.kind == KindFloat32 {
		limit = 1e7
	}
	x := math.Round(f * powers[d])
	if !(x >= -limit && x <= limit) {
		return 0, false
	}
	return int64(x), unscaled(v.kind, int64(x), d) == v
}

func unscaled(k Kind, n int64, d int) Value {
	f := float64(n) / powers[d] // both exact, so this is the float next to the decimal
	if k == KindFloat32 {
		return Float32(float32(f))
	}
	return Float64(f)
}

func appendColumn(b []byte, header byte, vs []Value) []byte {
	var before uint64
	switch header &^ columnGaps & 0xF {
	case columnBool:
		b = appendBits(b, len(vs), func(i int) bool { return vs[i].bits == 1 })
	case columnInt, columnUint:
		for _, v := range vs {
			b = binary.AppendVarint(b, int64(v.bits-before))
			before = v.bits
		}
	case columnDecimal32, columnDecimal64:
		for _, v := range vs {
			n, _ := v.scaled(int(header >> decimalsShift))
			b = binary.AppendVarint(b, n-int64(before))
			before = uint64(n)
		}
	case columnXor32, columnXor64:
		for _, v := range vs {
			b = binary.AppendUvarint(b, v.bits^before)
			before = v.bits
		}
	case columnText:
		last, first := "", true
		for _, v := range vs {
			if v.text == last && !first {
				b = append(b, 0)
				continue
			}
			b = binary.AppendUvarint(b, uint64(len(v.text))+1)
			b = append(b, v.text...)
			last, first = v.text, false
		}
	case columnMixed:
		for _, v := range vs {
			b = appendValue(b, v)
		}
	}
	return b
}

// appendValue writes one value of any kind.
func appendValue(b []byte, v Value) []byte {
	b = append(b, byte(v.kind))
	b = binary.AppendUvarint(b, v.bits)
	if v.kind == KindString {
		b = binary.AppendUvarint(b, uint64(len(v.text)))
		b = append(b, v.text...)
	}
	return b
}

func (r *blockReader) value() Value {
	v := Value{kind: Kind(r.byte()), bits: r.uvarint()}
	if v.kind == KindString {
		v.text = r.text()
	}
	return v
}

func appendBits(b []byte, n int, at func(int) bool) []byte {
	start := len(b)
	b = append(b, make([]byte, (n+7)/8)...)
	for i := range n {
		if at(i) {
			b[start+i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// groups reads what appendGroups wrote.
func (r *blockReader) groups(records []Record, group func(uint32) *Group) error {
	n := r.uvarint()
	if n == 0 || n > uint64(len(records)) {
		r.bad = true
		return nil
	}
	groups := make([]*Group, n)
	for i := range groups {
		id := r.uvarint()
		if r.bad || id > math.MaxUint32 {
			r.bad = true
			return nil
		}
		if groups[i] = group(uint32(id)); groups[i] == nil {
			return fmt.Errorf("%w: its group %d is not in the dictionary", ErrBlock, id)
		}
	}
	members := make([][]*Record, n)
	values := 0
	for i := range records {
		g := uint64(0)
		if n > 1 {
			g = r.uvarint()
		}
		if g >= n {
			r.bad = true
			return nil
		}
		records[i].Group = groups[g]
		members[g] = append(members[g], &records[i])
		values += len(groups[g].Points)
	}
	if r.bad || values > MaxBlockValues {
		r.bad = true
		return nil
	}
	for g, rs := range members {
		r.columns(len(groups[g].Points), rs)
	}
	return nil
}

func (r *blockReader) columns(points int, rs []*Record) {
	if len(rs) == 0 {
		r.bad = true
		return
	}
	slab := make([]Value, points*len(rs))
	for i, rec := range rs {
		rec.Values = slab[i*points : (i+1)*points : (i+1)*points]
	}
	headers := make([]byte, points)
	r.runs(points, 0xFF, func(p int, v uint64) { headers[p] = byte(v) })
	column := make([]*Value, 0, len(rs))
	for p := range points {
		if r.bad {
			return
		}
		column = column[:0]
		var there []byte
		if headers[p]&columnGaps != 0 {
			there = r.take(uint64(len(rs)+7) / 8)
		}
		for i, rec := range rs {
			if headers[p]&columnGaps == 0 || !r.bad && there[i/8]>>(i%8)&1 == 1 {
				column = append(column, &rec.Values[p])
			}
		}
		r.column(headers[p], column)
	}
	switch r.byte() {
	case 0:
	case 1:
		slab := make([]Quality, points*len(rs))
		bad := make([]bool, len(rs))
		r.runs(len(slab), 0xFF, func(i int, v uint64) {
			slab[i%len(rs)*points+i/len(rs)] = Quality(v)
			bad[i%len(rs)] = bad[i%len(rs)] || Quality(v) != Good
		})
		for i, rec := range rs {
			if bad[i] {
				rec.Quality = slab[i*points : (i+1)*points : (i+1)*points]
			}
		}
	default:
		r.bad = true
	}
}

// column reads one point's values into the places where they belong.
func (r *blockReader) column(header byte, vs []*Value) {
	var before uint64
	switch kind := header & 0xF; kind {
	case columnNull:
	case columnBool:
		bits := r.take(uint64(len(vs)+7) / 8)
		for i, v := range vs {
			if !r.bad {
				*v = Bool(bits[i/8]>>(i%8)&1 == 1)
			}
		}
	case columnInt, columnUint:
		k := KindInt
		if kind == columnUint {
			k = KindUint
		}
		for _, v := range vs {
			before += uint64(r.varint())
			*v = FromBits(k, before)
		}
	case columnDecimal32, columnDecimal64:
		k := KindFloat32
		if kind == columnDecimal64 {
			k = KindFloat64
		}
		for _, v := range vs {
			before += uint64(r.varint())
			*v = unscaled(k, int64(before), int(header>>decimalsShift))
		}
	case columnXor32:
		for _, v := range vs {
			before ^= r.uvarint()
			*v = FromBits(KindFloat32, before&math.MaxUint32)
		}
	case columnXor64:
		for _, v := range vs {
			before ^= r.uvarint()
			*v = FromBits(KindFloat64, before)
		}
	case columnText:
		last := ""
		for _, v := range vs {
			if n := r.uvarint(); n > 0 {
				last = string(r.take(n - 1))
			}
			*v = Text(last)
		}
	case columnMixed:
		for _, v := range vs {
			*v = r.value()
		}
	default:
		r.bad = true
	}
}
