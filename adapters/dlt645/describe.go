package dlt645

import (
	"fmt"
)

// Describe says what a frame on the wire means, for people who read a trace: "meter 000012345670: read 00010000",
// "meter 000012345670: 00010000, 4 bytes", "meter 000012345670: refused, no such data".
func Describe(b []byte) string {
	var f frame
	size := 0
	for i := range b {
		if f, size = parse(b[i:]); size > 0 && size <= len(b)-i {
			break
		}
		size = 0
	}
	if size == 0 {
		return "no whole frame"
	}
	return fmt.Sprintf("meter %s: %s", f.address, describe(f))
}

func describe(f frame) string {
	fn := f.control & function
	v, known := v2007, true
	verb := ""
	switch fn {
	case fnTime:
		verb = "set the time"
	case fnRead:
		verb = "read"
	case fnReadNext:
		verb = "read on"
	case fnReadAddress:
		verb = "read the address"
	case fnWrite:
		verb = "write"
	case 0x15:
		verb = "write the address"
	case fnFreeze:
		verb = "freeze"
	case 0x17:
		verb = "change the baud rate"
	case 0x18:
		verb = "change the password"
	case 0x19:
		verb = "clear the maximum demand"
	case 0x1A:
		verb = "clear the meter"
	case 0x1B:
		verb = "clear the events"
	case v1997.read():
		v, verb = v1997, "read"
	case v1997.readNext():
		v, verb = v1997, "read on"
	case v1997.write():
		v, verb = v1997, "write"
	default:
		verb, known = fmt.Sprintf("function %02X", fn), false
	}
	item := ""
	if n := v.idSize(); known && len(f.data) >= n && (fn == fnRead || fn == fnReadNext || fn == fnWrite || v == v1997) {
		var code uint32
		for i := range n {
			code |= uint32(f.data[i]) << (8 * i)
		}
		item = id{v, code}.String()
	}
	switch {
	case f.control&fromMeter == 0:
		if item != "" {
			return verb + " " + item
		}
		return verb
	case f.control&abnormal != 0 && len(f.data) > 0:
		return "refused: " + refusal(v, f.data[0]).Name
	case item != "" && len(f.data) > v.idSize():
		s := fmt.Sprintf("%s, %d bytes", item, len(f.data)-v.idSize())
		if f.control&further != 0 {
			s += ", and more to come"
		}
		return s
	}
	return "confirmed: " + verb
}
