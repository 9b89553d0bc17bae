package dlt645

import (
	"encoding/hex"
	"fmt"
	"slices"

	"edgegateway/adapters/meter"
)

// The frame (DL/T 645-2007, 5.2): 68 A0…A5 68 C L DATA CS 16, low address byte first, each byte of DATA with 33 added.
const (
	startByte = 0x68
	endByte   = 0x16
	wakeByte  = 0xFE // sent ahead of a frame to wake a sleeping receiver
	offset    = 0x33
	anyDigits = 0xAA // in an address: whatever stands there

	header   = 10 // bytes of a frame ahead of its DATA
	overhead = 12 // bytes of a frame beside its DATA
	mostData = 200
)

// The bits of the control code beside the function (5.2.4).
const (
	fromMeter = 0x80
	abnormal  = 0x40
	further   = 0x20
	function  = 0x1F
)

// The functions of 2007; those of 1997 stand in version.
const (
	fnTime        = 0x08
	fnRead        = 0x11
	fnReadNext    = 0x12
	fnReadAddress = 0x13
	fnWrite       = 0x14
	fnFreeze      = 0x16
)

// version is the edition of the standard that a meter keeps; the zero version is not known yet.
type version uint8

const (
	v2007 version = iota + 1
	v1997
)

func (v version) String() string {
	if v == v1997 {
		return "DL/T 645-1997"
	}
	return "DL/T 645-2007"
}

// read is the function that reads, readNext the one that reads on, write the one that writes.
func (v version) read() byte {
	if v == v1997 {
		return 0x01
	}
	return fnRead
}

func (v version) readNext() byte {
	if v == v1997 {
		return 0x02
	}
	return fnReadNext
}

func (v version) write() byte {
	if v == v1997 {
		return 0x04
	}
	return fnWrite
}

// idSize is how many bytes a data identifier has.
func (v version) idSize() int {
	if v == v1997 {
		return 2
	}
	return 4
}

// address is a meter's twelve digits, the lowest two first.
type address [6]byte

var (
	anyone   = address{anyDigits, anyDigits, anyDigits, anyDigits, anyDigits, anyDigits}
	everyone = address{0x99, 0x99, 0x99, 0x99, 0x99, 0x99}
)

// parseAddress reads up to twelve digits; leading zeros may be left out. problem is "" when it is one.
func parseAddress(s string) (a address, problem string) {
	if s == "" {
		return a, "the meter's number is missing"
	}
	if len(s) > 12 {
		return a, fmt.Sprintf("a meter's number has 12 digits, and these are %d", len(s))
	}
	padded := fmt.Sprintf("%012s", s)
	b, err := hex.DecodeString(padded)
	if err != nil {
		return a, "this is no meter's number"
	}
	slices.Reverse(b)
	copy(a[:], b)
	if a == anyone {
		return a, ""
	}
	for _, c := range b {
		if c>>4 > 9 || c&15 > 9 {
			return a, "this is no meter's number"
		}
	}
	if a == everyone {
		return a, "this is the broadcast address, which no meter answers"
	}
	return a, ""
}

// String is the number as it stands on the meter.
func (a address) String() string {
	b := a
	slices.Reverse(b[:])
	return fmt.Sprintf("%X", b[:])
}

// meets says that an answer of the meter b is one to a request to a, which may leave digits open.
func (a address) meets(b address) bool {
	for i := range a {
		if a[i] != anyDigits && a[i] != b[i] {
			return false
		}
	}
	return true
}

// frame is what a frame says.
type frame struct {
	address address
	control byte
	data    []byte // without the offset
}

// encode makes the bytes of a frame, behind so many wake-up bytes.
func (f frame) encode(wake int) []byte {
	b := make([]byte, 0, wake+overhead+len(f.data))
	for range wake {
		b = append(b, wakeByte)
	}
	start := len(b)
	b = append(b, startByte)
	b = append(b, f.address[:]...)
	b = append(b, startByte, f.control, byte(len(f.data)))
	for _, c := range f.data {
		b = append(b, c+offset)
	}
	return append(b, sum(b[start:]), endByte)
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// parse reads the frame that b begins with. size is how many bytes it takes, 0 when b begins with none, and more than
// b has when the rest is missing.
func parse(b []byte) (f frame, size int) {
	if b[0] != startByte || len(b) > 7 && b[7] != startByte {
		return f, 0
	}
	if len(b) < 10 {
		return f, overhead
	}
	size = overhead + int(b[9])
	switch {
	case b[9] > mostData:
		return f, 0
	case len(b) < size:
		return f, size
	case b[size-1] != endByte || sum(b[:size-2]) != b[size-2]:
		return f, 0
	}
	copy(f.address[:], b[1:7])
	f.control = b[8]
	f.data = make([]byte, b[9])
	for i := range f.data {
		f.data[i] = b[10+i] - offset
	}
	return f, size
}

// search looks for the first frame in got that take wants. missing is the least number of bytes that one still needs.
func search(got []byte, take func(frame) bool) (answer []byte, missing int) {
	return meter.Search(got, overhead, parse, take)
}
