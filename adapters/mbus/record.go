package mbus

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// record is one data record of a telegram (EN 13757-3, 6).
type record struct {
	head     []byte // DIF, DIFE, VIF and VIFE
	function byte   // 0 instantaneous, 1 maximum, 2 minimum, 3 in error
	storage  uint64
	tariff   uint32
	subunit  uint32
	quantity string // "" when its meaning is not known here
	exponent int    // value × 10^exponent is in the quantity's base unit
	factor   float64
	value    value
}

// value is a record's data.
type value struct {
	kind  valueKind
	whole int64
	real  float64
	text  string
}

type valueKind uint8

const (
	noValue valueKind = iota
	badValue
	wholeValue
	realValue
	textValue
)

// functions are the words for what a value is of its period.
var functions = [...]string{"", "max", "min", "error"}

const mostExtensions = 10 // DIFE and VIFE each (6.3.5)

// parseRecords reads the records of one telegram. more says that another telegram follows. problem is "" when all of it
// could be read.
func parseRecords(b []byte) (records []record, more bool, problem string) {
	for len(b) > 0 {
		switch b[0] {
		case 0x2F: // filler
			b = b[1:]
			continue
		case 0x0F, 0x1F: // the rest is the maker's own
			return records, b[0] == 0x1F, ""
		}
		r, size, ok := parseRecord(b)
		if !ok {
			return nil, false, fmt.Sprintf("its record %d is cut off", len(records))
		}
		records = append(records, r)
		b = b[size:]
	}
	return records, false, ""
}

func parseRecord(b []byte) (r record, size int, ok bool) {
	dif := b[0]
	r.function, r.storage = dif>>4&3, uint64(dif>>6&1)
	at := 1
	for n := 0; b[at-1]&0x80 != 0; n++ {
		if at >= len(b) || n == mostExtensions {
			return r, 0, false
		}
		c := b[at]
		r.storage |= uint64(c&0x0F) << (1 + 4*n)
		r.tariff |= uint32(c>>4&3) << (2 * n)
		r.subunit |= uint32(c>>6&1) << n
		at++
	}
	n, ok := r.parseVIF(b[at:])
	if !ok {
		return r, 0, false
	}
	at += n
	r.head = b[:at]
	n, ok = r.parseData(dif&0x0F, b[at:])
	return r, at + n, ok
}

// parseVIF reads what the value is.
func (r *record) parseVIF(b []byte) (size int, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	vif := b[0]
	size = 1
	extended := vif&0x80 != 0
	next := func() (byte, bool) {
		if size >= len(b) || size > mostExtensions+1 {
			return 0, false
		}
		size++
		return b[size-1], true
	}
	switch {
	case vif == 0xFB || vif == 0xFD:
		c, ok := next()
		if !ok {
			return 0, false
		}
		extended = c&0x80 != 0
		if vif == 0xFB {
			r.quantity, r.exponent = meaningFB(c & 0x7F)
		} else {
			r.quantity, r.exponent = meaningFD(c & 0x7F)
		}
	case vif&0x7F == 0x7C: // the unit in plain text stands behind the VIF's extensions
		n := 0
		if size < len(b) {
			n = int(b[size])
		}
		if size+1+n > len(b) {
			return 0, false
		}
		size += 1 + n
	case vif&0x7F == 0x7F: // the maker's own
	default:
		r.quantity, r.exponent, r.factor = meaning(vif & 0x7F)
	}
	for extended {
		c, ok := next()
		if !ok {
			return 0, false
		}
		extended = c&0x80 != 0
		switch c & 0x7F {
		case 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77:
			r.exponent += int(c&7) - 6
		case 0x7D:
			r.exponent += 3
		default:
			r.quantity = "" // it says more of the value than is known here
		}
	}
	return size, true
}

// meaning is the primary VIF (table 10).
func meaning(v byte) (quantity string, exponent int, factor float64) {
	n, nn := int(v&7), int(v&3)
	durations := [...]float64{1, 60, 3600, 86400}
	switch {
	case v <= 0x07:
		return "energy", n - 3, 0
	case v <= 0x0F:
		return "heat", n, 0
	case v <= 0x17:
		return "volume", n - 6, 0
	case v <= 0x1F:
		return "mass", n - 3, 0
	case v <= 0x23:
		return "on time", 0, durations[nn]
	case v <= 0x27:
		return "operating time", 0, durations[nn]
	case v <= 0x2F:
		return "power", n - 3, 0
	case v <= 0x37:
		return "heat rate", n, 0
	case v <= 0x3F:
		return "flow", n - 6, 0
	case v <= 0x47:
		return "flow", n - 7, 60 // per minute
	case v <= 0x4F:
		return "flow", n - 9, 3600 // per second
	case v <= 0x57:
		return "mass flow", n - 3, 0
	case v <= 0x5B:
		return "flow temperature", nn - 3, 0
	case v <= 0x5F:
		return "return temperature", nn - 3, 0
	case v <= 0x63:
		return "temperature difference", nn - 3, 0
	case v <= 0x67:
		return "external temperature", nn - 3, 0
	case v <= 0x6B:
		return "pressure", nn - 3, 0
	case v == 0x6C, v == 0x6D:
		return "time", 0, 0
	case v == 0x6E:
		return "allocation", 0, 0
	case v >= 0x70 && v <= 0x73:
		return "averaging duration", 0, durations[nn]
	case v >= 0x74 && v <= 0x77:
		return "actuality duration", 0, durations[nn]
	case v == 0x78:
		return "fabrication number", 0, 0
	}
	return "", 0, 0
}

// meaningFB is the first extension: large units (table 14).
func meaningFB(v byte) (quantity string, exponent int) {
	n := int(v & 1)
	switch v &^ 1 {
	case 0x00:
		return "energy", n + 5 // MWh
	case 0x08:
		return "heat", n + 8 // GJ
	case 0x10:
		return "volume", n + 2
	case 0x18:
		return "mass", n + 5
	case 0x28:
		return "power", n + 5
	case 0x30:
		return "heat rate", n + 8
	}
	return "", 0
}

// meaningFD is the second extension (table 12).
func meaningFD(v byte) (quantity string, exponent int) {
	switch {
	case v == 0x08:
		return "access number", 0
	case v == 0x0C:
		return "model", 0
	case v == 0x0D:
		return "hardware version", 0
	case v == 0x0E:
		return "firmware version", 0
	case v == 0x0F:
		return "software version", 0
	case v == 0x17:
		return "error flags", 0
	case v == 0x1A:
		return "digital output", 0
	case v == 0x1B:
		return "digital input", 0
	case v == 0x3A:
		return "number", 0
	case v >= 0x40 && v <= 0x4F:
		return "voltage", int(v&15) - 9
	case v >= 0x50 && v <= 0x5F:
		return "current", int(v&15) - 12
	}
	return "", 0
}

// parseData reads the value, of a data field (table 5).
func (r *record) parseData(field byte, b []byte) (size int, ok bool) {
	sizes := [...]int{0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, -1, 6, -1}
	size = sizes[field]
	if size > len(b) {
		return 0, false
	}
	switch field {
	case 0, 8:
	case 13:
		if len(b) == 0 {
			return 0, false
		}
		return r.parseVariable(b)
	case 15:
		return 0, false
	case 5:
		bits := uint32(little(b[:4]))
		r.value = realOf(float64(math.Float32frombits(bits)))
	case 9, 10, 11, 12, 14:
		r.value = decimal(b[:size])
	default:
		r.value = r.whole(b[:size])
	}
	return size, true
}

func (r *record) parseVariable(b []byte) (size int, ok bool) {
	l := int(b[0])
	n := 0
	switch {
	case l <= 0xBF:
		n = l
	case l <= 0xCF:
		n = l - 0xC0
	case l <= 0xDF:
		n = l - 0xD0
	case l <= 0xEF:
		n = l - 0xE0
	default:
		return 0, false
	}
	if 1+n > len(b) {
		return 0, false
	}
	data := slices.Clone(b[1 : 1+n])
	switch {
	case l <= 0xBF:
		slices.Reverse(data)
		for i, c := range data {
			if c < ' ' || c > '~' {
				data[i] = '?'
			}
		}
		r.value = value{kind: textValue, text: string(data)}
	case l <= 0xDF && n <= 9:
		r.value = decimal(data)
		if l >= 0xD0 {
			r.value.whole = -r.value.whole
		}
	case l > 0xDF && n <= 8:
		r.value = r.whole(data)
	default:
		r.value = value{kind: badValue}
	}
	return 1 + n, true
}

func little(b []byte) (n uint64) {
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// whole reads a binary number, or a moment where the quantity is one. The most negative number means that there is none.
func (r *record) whole(b []byte) value {
	if len(b) == 0 {
		return value{kind: badValue}
	}
	if r.quantity == "time" {
		return moment(b)
	}
	shift := 64 - 8*len(b)
	n := int64(little(b)<<shift) >> shift
	if n == math.MinInt64>>shift {
		return value{kind: badValue}
	}
	return value{kind: wholeValue, whole: n}
}

func realOf(f float64) value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{kind: badValue}
	}
	return value{kind: realValue, real: f}
}

// decimal reads BCD, low byte first. A highest digit F is a minus; other digits above 9 say that there is no number.
func decimal(b []byte) value {
	var n int64
	negative := false
	for i := len(b) - 1; i >= 0; i-- {
		for k, digit := range []byte{b[i] >> 4, b[i] & 15} {
			if digit > 9 {
				if digit != 15 || i != len(b)-1 || k != 0 {
					return value{kind: badValue}
				}
				negative, digit = true, 0
			}
			n = 10*n + int64(digit)
		}
	}
	if negative {
		n = -n
	}
	return value{kind: wholeValue, whole: n}
}

// moment reads a date (type G) or a date with a time (type F, annex A).
func moment(b []byte) value {
	bad := value{kind: badValue}
	text := func(low, high byte) (string, bool) {
		day, month := low&31, high&15
		year := int(low>>5) | int(high>>4)<<3
		year += 2000
		if year > 2080 {
			year -= 100
		}
		return fmt.Sprintf("%04d-%02d-%02d", year, month, day), day >= 1 && month >= 1 && month <= 12
	}
	switch len(b) {
	case 2:
		if s, ok := text(b[0], b[1]); ok {
			return value{kind: textValue, text: s}
		}
	case 4:
		minute, hour := b[0]&63, b[1]&31
		if s, ok := text(b[2], b[3]); ok && b[0]&0x80 == 0 && minute < 60 && hour < 24 {
			return value{kind: textValue, text: fmt.Sprintf("%s %02d:%02d", s, hour, minute)}
		}
	}
	return bad
}

// number is the value in the quantity's base unit times 10^-shift. ok is false when it is none.
func (r *record) number(shift int) (f float64, ok bool) {
	var err error
	exponent := strconv.Itoa(r.exponent - shift)
	switch r.value.kind {
	case wholeValue:
		f, err = strconv.ParseFloat(strconv.FormatInt(r.value.whole, 10)+"e"+exponent, 64)
	case realValue:
		// A float32 has seven digits; its shortest text says which.
		f, err = strconv.ParseFloat(strconv.FormatFloat(r.value.real, 'f', -1, 32)+"e"+exponent, 64)
	default:
		return 0, false
	}
	if r.factor != 0 {
		f *= r.factor
	}
	return f, err == nil && !math.IsInf(f, 0)
}
