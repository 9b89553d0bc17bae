package mbus

import (
	"fmt"
	"strings"
)

// Describe says what a frame on the wire means, for people who read a trace: "address 1: send your data",
// "address 1: AMT 03543109, heat (return), 8 records".
func Describe(b []byte) string {
	switch {
	case len(b) == 1 && b[0] == single:
		return "acknowledged"
	case len(b) == 5 && b[0] == shortStart && b[1]+b[2] == b[3] && b[4] == end:
		what := fmt.Sprintf("control %02X", b[1])
		switch b[1] {
		case sndNKE:
			what = "reset"
		case reqUD2, reqUD2 | fcb:
			what = "send your data"
		}
		return fmt.Sprintf("address %d: %s", b[2], what)
	}
	var f frame
	answer, _ := search(b, func(found frame) bool { f = found; return true })
	if answer == nil {
		return "no whole frame"
	}
	where := fmt.Sprintf("address %d: ", f.address)
	if f.ci == ciSelect && len(f.data) >= 8 {
		return where + "select " + secondary(f.data[:8]).String()
	}
	h, rest, problem := f.open()
	if problem != "" {
		return where + fmt.Sprintf("CI %02X, %d bytes", f.ci, len(f.data))
	}
	records, more, problem := parseRecords(rest)
	var parts []string
	if h.known {
		parts = append(parts, h.maker()+" "+h.address.String()[:8], h.medium())
	}
	if problem != "" {
		parts = append(parts, problem)
	} else {
		parts = append(parts, fmt.Sprintf("%d records", len(records)))
	}
	if more {
		parts = append(parts, "and more to come")
	}
	return where + strings.Join(parts, ", ")
}
