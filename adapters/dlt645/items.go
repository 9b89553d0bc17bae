package dlt645

import (
	"fmt"
	"strconv"
	"strings"
)

// id is a data identifier: DI3 DI2 DI1 DI0 of 2007, or DI1 DI0 of 1997.
type id struct {
	version
	code uint32
}

// parseID reads "00010000" or "9010".
func parseID(s string) (id, bool) {
	n, err := strconv.ParseUint(s, 16, 32)
	switch {
	case err != nil:
		return id{}, false
	case len(s) == 8:
		return id{v2007, uint32(n)}, true
	case len(s) == 4:
		return id{v1997, uint32(n)}, true
	}
	return id{}, false
}

func (i id) String() string { return fmt.Sprintf("%0*X", 2*i.idSize(), i.code) }

// bytes are the identifier as it goes on the wire: low byte first.
func (i id) bytes() []byte {
	b := make([]byte, i.idSize())
	for k := range b {
		b[k] = byte(i.code >> (8 * k))
	}
	return b
}

// block gives the identifier of the block that the item is read with, and its place in it; ok is false where there is
// none. The blocks are those whose layout the standards give: all tariffs of one energy, all phases of one quantity
// (2007, table A.1 and A.2: DI1 is FF; 1997, table A: the low half of DI0 is F).
func (i id) block() (of id, place int, ok bool) {
	if i.version == v1997 {
		low := int(i.code & 15)
		of = id{v1997, i.code | 15}
		switch i.code & 0xFFF0 {
		case 0x9010, 0x9020, 0x9110, 0x9120: // total, then the tariffs
			return of, low, low <= 4
		case 0xB610, 0xB620: // phases A to C
			return of, low - 1, low >= 1 && low <= 3
		}
		return id{}, 0, false
	}
	di3, di2, di1, di0 := i.code>>24, i.code>>16&0xFF, int(i.code>>8&0xFF), i.code&0xFF
	of = id{v2007, i.code | 0xFF00}
	switch {
	case di0 != 0:
		return id{}, 0, false
	case di3 == 0x00 && di2 <= 0x0A && di1 <= 0x3F: // total, then the tariffs
		return of, di1, true
	case di3 == 0x02 && (di2 == 0x01 || di2 == 0x02 || di2 == 0x07 || di2 == 0x08 || di2 == 0x09 || di2 == 0x0C):
		return of, di1 - 1, di1 >= 1 && di1 <= 3
	case di3 == 0x02 && di2 >= 0x03 && di2 <= 0x06: // total, then phases A to C
		return of, di1, di1 <= 3
	}
	return id{}, 0, false
}

// knownFormat is the format of an item that the standards define.
func (i id) knownFormat() (format, bool) {
	text, unit, rest, list := "", "", 0, false
	if i.version == v1997 {
		text, unit = format1997(i.code)
	} else {
		text, unit, rest, list = format2007(i.code)
	}
	f, ok := parseFormat(text)
	f.unit, f.rest, f.list = unit, rest, list
	return f, ok
}

func format2007(code uint32) (text, unit string, rest int, list bool) {
	di3, di2, di1, di0 := code>>24, code>>16&0xFF, code>>8&0xFF, code&0xFF
	if di1 == 0xFF {
		return "", "", 0, false // a block is no single value
	}
	switch di3 {
	case 0x00:
		text, unit = energy2007(di2)
		return text, unit, 0, false
	case 0x01: // maximum demand and when it was
		if di2 >= 1 && di2 <= 8 {
			unit = "kW"
			if di2 >= 3 {
				unit = "kvar"
			}
			return "XX.XXXX", unit, 5, false
		}
	case 0x02:
		if di2 == 0x80 {
			text, unit = auxiliary2007(di0)
			return text, unit, 0, false
		}
		if int(di2) < len(momentary) {
			return momentary[di2].text, momentary[di2].unit, 0, false
		}
	case 0x04:
		switch code {
		case 0x04000101:
			return "YYMMDDWW", "", 0, false
		case 0x04000102:
			return "hhmmss", "", 0, false
		case 0x04000401, 0x04000402: // the address, and the meter's number
			return "NNNNNNNNNNNN", "", 0, false
		}
		if di2 == 0 && di1 == 5 && di0 >= 1 && di0 <= 7 { // status words
			return "hex 2", "", 0, false
		}
	case 0x05: // freezes: when, and the energies, total first
		switch {
		case di1 == 0 && di0 >= 1:
			return "YYMMDDhhmm", "", 0, false
		case di1 >= 1 && di1 <= 8 && di0 >= 1:
			text, unit = energy2007(di1)
			return text, unit, 0, true
		}
	}
	return "", "", 0, false
}

// energy2007 is the format of an energy by its DI2. The combined ones have a sign.
func energy2007(kind uint32) (text, unit string) {
	text, unit = "XXXXXX.XX", "kWh"
	switch kind {
	case 0x00:
		text = "±XXXXXX.XX"
	case 0x01, 0x02, 0x15, 0x16, 0x29, 0x2A, 0x3D, 0x3E:
	case 0x03, 0x04:
		text, unit = "±XXXXXX.XX", "kvarh"
	case 0x05, 0x06, 0x07, 0x08:
		unit = "kvarh"
	case 0x09, 0x0A:
		unit = "kVAh"
	default:
		return "", ""
	}
	return text, unit
}

// momentary are the quantities of DI3 = 02 by their DI2.
var momentary = [...]struct{ text, unit string }{
	0x01: {"XXX.X", "V"}, 0x02: {"±XXX.XXX", "A"}, 0x03: {"±XX.XXXX", "kW"}, 0x04: {"±XX.XXXX", "kvar"},
	0x05: {"±XX.XXXX", "kVA"}, 0x06: {"±X.XXX", ""}, 0x07: {"XXX.X", "°"}, 0x08: {"XX.XX", "%"}, 0x09: {"XX.XX", "%"},
	0x0C: {"XXX.X", "V"},
}

func auxiliary2007(which uint32) (text, unit string) {
	switch which {
	case 0x01: // of the neutral
		return "±XXX.XXX", "A"
	case 0x02:
		return "XX.XX", "Hz"
	case 0x03, 0x04: // of one minute, and the present demand
		return "±XX.XXXX", "kW"
	case 0x05:
		return "±XX.XXXX", "kvar"
	case 0x06:
		return "±XX.XXXX", "kVA"
	case 0x07: // in the meter
		return "±XXX.X", "°C"
	case 0x08, 0x09: // of the clock's battery, and of the one for reading without supply
		return "XX.XX", "V"
	case 0x0A: // that the clock's battery has worked
		return "XXXXXXXX", "min"
	}
	return "", ""
}

func format1997(code uint32) (text, unit string) {
	high, low := code>>4, code&15
	switch {
	case code>>12 == 9 && low <= 4: // energies of this month, the last, and the one before
		unit = "kWh"
		if code>>8&3 == 1 {
			unit = "kvarh"
		}
		return "XXXXXX.XX", unit
	case code>>12 == 0xA && low <= 4:
		return "XX.XXXX", "kW"
	case high == 0xB61 && low >= 1 && low <= 3:
		return "XXXX", "V"
	case high == 0xB62 && low >= 1 && low <= 3:
		return "XX.XX", "A"
	case high == 0xB63 && low <= 3:
		return "XX.XXXX", "kW"
	case high == 0xB64 && low <= 3:
		return "XX.XX", "kvar"
	case high == 0xB65 && low <= 3:
		return "X.XXX", ""
	case code == 0xC010:
		return "YYMMDDWW", ""
	case code == 0xC011:
		return "hhmmss", ""
	case code == 0xC032:
		return strings.Repeat("N", 12), ""
	}
	return "", ""
}
