package iec62056

import (
	"fmt"
	"strings"
)

// Describe says what a message on the wire means, for people who read a trace: "call of meter 12345678",
// "identification: ABC, 9600 baud offered, MT174", "1.8.0(000123.45*kWh)".
func Describe(b []byte) string {
	p := plain(b)
	text := strings.Trim(string(p), "\r\n")
	switch {
	case len(p) == 0:
		return "no whole frame"
	case strings.HasPrefix(text, "/?") && strings.HasSuffix(text, "!"):
		if address := text[2 : len(text)-1]; address != "" {
			return "call of meter " + address
		}
		return "call of any meter"
	case p[0] == '/':
		id, ok := parseIdentity(text)
		if !ok {
			return "no whole frame"
		}
		s := "identification: " + id.maker + ", "
		if n := int(id.rate) - '0'; n >= 0 && n < len(rates) {
			s += fmt.Sprintf("%d baud offered, ", rates[n])
		}
		return s + id.text
	case p[0] == ack && len(p) == 6:
		what := "readout"
		if p[3] == '1' {
			what = "programming mode"
		}
		if n := int(p[2]) - '0'; n >= 0 && n < len(rates) {
			return fmt.Sprintf("%s at %d baud", what, rates[n])
		}
		return what
	case p[0] == ack:
		return "acknowledged"
	case p[0] == nak:
		return "not acknowledged"
	case p[0] == soh && len(text) >= 3:
		switch name := text[1:3]; name {
		case "P0", "P1", "P2":
			return "password" // what it is, is nobody's business
		case "B0":
			return "break"
		default:
			body, _, _ := strings.Cut(text[3:], string(rune(etx)))
			return name + " " + strings.TrimLeft(body, string(rune(stx)))
		}
	case p[0] == stx, strings.ContainsAny(text, "(!"):
		body, _, _ := strings.Cut(strings.TrimLeft(text, string(rune(stx))), string(rune(etx)))
		if strings.ContainsFunc(body, unprintable) { // a frame of another protocol on the same wires
			return "no whole frame"
		}
		return body
	}
	return "no whole frame"
}

// unprintable says that no data line holds the character (6.2: ISO 646 without its control characters).
func unprintable(c rune) bool { return (c < ' ' || c == low) && c != '\r' && c != '\n' }
