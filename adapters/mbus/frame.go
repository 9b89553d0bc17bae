package mbus

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"edgegateway/adapters/meter"
)

// The link layer (EN 13757-2; IEC 60870-5 format FT 1.2).
const (
	shortStart = 0x10
	longStart  = 0x68
	end        = 0x16
	single     = 0xE5 // acknowledgement

	sndNKE  = 0x40
	sndUD   = 0x53
	reqUD2  = 0x5B
	fcb     = 0x20 // frame count bit: a meter repeats its last telegram while it stays
	rspUD   = 0x08
	control = 0x0F // function, without the bits of flow

	ciSelect = 0x52
	ciLong   = 0x72 // header of 12 bytes
	ciShort  = 0x7A // of 4
	ciNone   = 0x78
	ciFixed  = 0x73

	toSelected = 253
	toAnyone   = 254 // who is alone
)

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// shortFrame is a request without data.
func shortFrame(c, address byte) []byte { return []byte{shortStart, c, address, c + address, end} }

// longFrame is a request with data.
func longFrame(c, address, ci byte, data []byte) []byte {
	n := byte(3 + len(data))
	b := append([]byte{longStart, n, n, longStart, c, address, ci}, data...)
	return append(b, sum(b[4:]), end)
}

// frame is a long frame.
type frame struct {
	control, address, ci byte
	data                 []byte
}

// parse reads the long frame that b begins with. size is how many bytes it takes, 0 when b begins with none, and more
// than b has when the rest is missing.
func parse(b []byte) (f frame, size int) {
	if b[0] != longStart || len(b) > 3 && (b[1] != b[2] || b[3] != longStart || b[1] < 3) {
		return f, 0
	}
	if len(b) < 4 {
		return f, 9
	}
	size = int(b[1]) + 6
	switch {
	case len(b) < size:
		return f, size
	case b[size-1] != end || sum(b[4:size-2]) != b[size-2]:
		return f, 0
	}
	return frame{b[4], b[5], b[6], b[7 : size-2]}, size
}

// search looks for the first long frame in got that take wants. missing is the least number of bytes that one needs.
func search(got []byte, take func(frame) bool) (answer []byte, missing int) {
	return meter.Search(got, 9, parse, take)
}

// acknowledged looks for E5 behind the echo of what was sent.
func acknowledged(got, sent []byte) []byte {
	from := 0
	if bytes.HasPrefix(got, sent) {
		from = len(sent)
	}
	if i := bytes.IndexByte(got[from:], single); i >= 0 {
		return got[from+i : from+i+1]
	}
	return nil
}

// secondary is the address by which a meter is selected: number, maker, version and medium as they go on the wire, F for
// a digit and FF for a byte that may be anything.
type secondary [8]byte

// parseSecondary reads 8 digits, the meter's number, or 16: with maker, version and medium behind it.
func parseSecondary(s string) (a secondary, ok bool) {
	full := strings.ToUpper(s)
	if len(full) == 8 {
		full += "FFFFFFFF"
	}
	b, err := hex.DecodeString(full)
	if err != nil || len(b) != 8 || strings.Trim(full[:8], "0123456789F") != "" {
		return a, false
	}
	copy(a[:], []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[6], b[7]})
	return a, true
}

// String is the address as parseSecondary reads it, all 16 digits.
func (a secondary) String() string {
	return fmt.Sprintf("%02X%02X%02X%02X%02X%02X%02X%02X", a[3], a[2], a[1], a[0], a[5], a[4], a[6], a[7])
}

// meets says that a meter's own address is one that was asked for.
func (a secondary) meets(b secondary) bool {
	for i := range a {
		for _, half := range []byte{0xF0, 0x0F} {
			wanted := a[i] & half
			any := wanted == half && i < 4 || i >= 4 && a[i] == 0xFF
			if !any && wanted != b[i]&half {
				return false
			}
		}
	}
	return true
}

// header is what a telegram says of its meter.
type header struct {
	address secondary
	access  byte
	status  byte
	known   bool // the address stands in it
}

// maker is the three letters of the maker's code.
func (h header) maker() string {
	n := int(h.address[4]) | int(h.address[5])<<8
	letters := []byte{byte(n>>10&31) + 64, byte(n>>5&31) + 64, byte(n&31) + 64}
	for _, c := range letters {
		if c < 'A' || c > 'Z' {
			return fmt.Sprintf("%04X", n)
		}
	}
	return string(letters)
}

// mediums are the device types that occur most (EN 13757-3, table 3).
var mediums = map[byte]string{
	0x00: "other", 0x01: "oil", 0x02: "electricity", 0x03: "gas", 0x04: "heat (return)", 0x05: "steam", 0x06: "warm water",
	0x07: "water", 0x08: "heat cost allocator", 0x09: "compressed air", 0x0A: "cooling (return)", 0x0B: "cooling (flow)",
	0x0C: "heat (flow)", 0x0D: "heat and cooling", 0x0E: "bus", 0x0F: "unknown", 0x15: "hot water", 0x16: "cold water",
	0x17: "dual water", 0x18: "pressure", 0x19: "a/d converter",
}

func (h header) medium() string {
	if name, ok := mediums[h.address[7]]; ok {
		return name
	}
	return "medium " + strconv.Itoa(int(h.address[7]))
}

// open parts a telegram into header and records. problem is "" when it can be read.
func (f frame) open() (h header, records []byte, problem string) {
	switch f.ci {
	case ciLong:
		if len(f.data) < 12 {
			return h, nil, "its header is cut off"
		}
		copy(h.address[:], f.data)
		h.access, h.status, h.known = f.data[8], f.data[9], true
		return h, f.data[12:], ""
	case ciShort:
		if len(f.data) < 4 {
			return h, nil, "its header is cut off"
		}
		h.access, h.status = f.data[0], f.data[1]
		return h, f.data[4:], ""
	case ciNone:
		return h, f.data, ""
	case ciFixed, ciFixed + 4:
		return h, nil, "it has the fixed data structure, which this build does not read"
	}
	return h, nil, fmt.Sprintf("what it says (CI %02X) is no data", f.ci)
}
