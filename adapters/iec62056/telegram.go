package iec62056

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"edgegateway/adapters/link"
)

// Control characters (IEC 62056-21, 6.3). What comes is looked at without its eighth bit, which is the parity where a
// line of 8 data bits stands for one of 7.
const (
	soh = 0x01
	stx = 0x02
	etx = 0x03
	ack = 0x06
	nak = 0x15
	low = 0x7F
)

// bcc is the check character: XOR of what follows the first SOH or STX, through ETX (6.3.4, after ISO 1155).
func bcc(b []byte) (x byte) {
	for _, c := range b {
		x ^= c & low
	}
	return x
}

// command makes a programming command: "P1", "R1" or "B0"; a break has no data.
func command(name, data string) []byte {
	b := append([]byte{soh}, name...)
	if name != "B0" {
		b = append(append(b, stx), data...)
	}
	b = append(b, etx)
	return append(b, bcc(b[1:]))
}

// secret is what a message that is sent holds of a password (P1, 6.5): all behind its STX, since the check character too
// tells of it.
func secret(message []byte) []link.Span {
	head := len("_P1_")
	if len(message) <= head || message[0] != soh || message[1] != 'P' {
		return nil
	}
	return []link.Span{{From: head, To: len(message)}}
}

// option is the acknowledgement with which we choose (6.3.4): normal protocol, rate, and readout or programming.
func option(rate byte, programming bool) []byte {
	y := byte('0')
	if programming {
		y = '1'
	}
	return []byte{ack, '0', rate, y, '\r', '\n'}
}

// request calls one meter, or with "" any.
func request(address string) []byte { return []byte("/?" + address + "!\r\n") }

// rates are those of the baud rate identification in mode C, '0' to '6' (6.3.14); mode B has 'A' to 'F' from 600 on.
var rates = [...]int{300, 600, 1200, 2400, 4800, 9600, 19200}

// identity is a meter's identification message.
type identity struct {
	maker string // three letters
	rate  byte   // the baud rate identification
	text  string
}

// quick says that the meter answers, and may be answered, within 20 ms instead of 200: its third letter is small.
func (i identity) quick() bool { return i.maker[2] >= 'a' }

// parseIdentity reads "/XXXZ…" without its line end.
func parseIdentity(line string) (i identity, ok bool) {
	if len(line) < 5 || line[0] != '/' {
		return i, false
	}
	for _, c := range line[1:4] {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return i, false
		}
	}
	return identity{line[1:4], line[4], line[5:]}, true
}

// plain copies what came, without parity bits.
func plain(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = c & low
	}
	return out
}

// even gives each character of seven bits its parity as the eighth.
func even(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		x := c ^ c>>4
		x ^= x >> 2
		x ^= x >> 1
		out[i] = c | x<<7
	}
	return out
}

// dataSet is one data set: its address, and the values in its parentheses.
type dataSet struct {
	address string
	values  []value
}

type value struct{ text, unit string }

// parseLine reads the data sets of one line: 1.8.0(000123.45*kWh), 1.6.1(00.12*kW)(2611301200).
func parseLine(line string) (sets []dataSet) {
	for line != "" {
		open := strings.IndexByte(line, '(')
		if open < 0 {
			return sets
		}
		end := strings.IndexByte(line[open:], ')')
		if end < 0 {
			return sets
		}
		text, unit, _ := strings.Cut(line[open+1:open+end], "*")
		address := line[:open]
		line = line[open+end+1:]
		v := value{text, unit}
		if address == "" && len(sets) > 0 { // a further value of the set before
			last := &sets[len(sets)-1]
			last.values = append(last.values, v)
			continue
		}
		sets = append(sets, dataSet{address, []value{v}})
	}
	return sets
}

// place is a tag's address, in parts: "1-0:" medium and channel, "1.8.0", "*255" the earlier period.
type place struct {
	medium, code, period string
	index                int // of the value in its parentheses, from 0
}

// parsePlace reads "1-0:1.8.0*255", with " value 2" behind it for the second value.
func parsePlace(s string) (p place, ok bool) {
	code, number, more := strings.Cut(s, " value ")
	if more {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 99 {
			return p, false
		}
		p.index = n - 1
	}
	if strings.ContainsAny(code, "()!/ ") || len(code) > 32 {
		return p, false
	}
	if i := strings.IndexByte(code, ':'); i >= 0 {
		p.medium, code = code[:i+1], code[i+1:]
	}
	if i := strings.IndexAny(code, "*&"); i >= 0 {
		code, p.period = code[:i], code[i:]
	}
	p.code = code
	return p, code != ""
}

// whole is the address as a command has it.
func (p place) whole() string { return p.medium + p.code + p.period }

// meets says that a data set's address is the place: what the place leaves out may be anything, but for the earlier
// periods, which are another value.
func (p place) meets(address string) bool {
	q, ok := parsePlace(address)
	return ok && p.code == q.code && (p.medium == "" || p.medium == q.medium) &&
		(p.period == q.period || p.period == "" && (q.period == "*255" || q.period == "&255"))
}

// find gives the value of a place.
func (p place) find(sets []dataSet) (v value, ok bool) {
	for _, s := range sets {
		if p.meets(s.address) && p.index < len(s.values) {
			return s.values[p.index], true
		}
	}
	return value{}, false
}

// number reads the value as a number in a unit; "" is the meter's own. ok is false when it is none, or of another
// quantity.
func (v value) number(unit string) (f float64, ok bool) {
	text := strings.TrimSpace(v.text)
	if text == "" || strings.ContainsAny(text, "xXpPnNiI_") { // what Go takes for a number, and no meter prints
		return 0, false
	}
	exponent := 0
	if unit != "" && v.unit != "" && !strings.EqualFold(unit, v.unit) {
		from, quantity := prefix(v.unit)
		to, other := prefix(unit)
		if quantity != other {
			return 0, false
		}
		exponent = from - to
	}
	if strings.ContainsAny(text, "eE") {
		return 0, false
	}
	f, err := strconv.ParseFloat(fmt.Sprintf("%se%d", text, exponent), 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// prefix parts a unit of electricity into its power of ten and its quantity.
func prefix(unit string) (exponent int, quantity string) {
	if len(unit) > 1 {
		rest := strings.ToLower(unit[1:])
		switch rest {
		case "w", "wh", "var", "varh", "va", "vah", "v", "a":
			switch unit[0] {
			case 'k', 'K':
				return 3, rest
			case 'M':
				return 6, rest
			case 'G':
				return 9, rest
			case 'm':
				return -3, rest
			}
		}
	}
	return 0, strings.ToLower(unit)
}

// errorOf is what a meter says instead of data, "ER05" of "(ER05)"; "" when it says none.
func errorOf(sets []dataSet) string {
	if len(sets) == 1 && sets[0].address == "" && strings.HasPrefix(strings.ToUpper(sets[0].values[0].text), "ER") {
		return sets[0].values[0].text
	}
	return ""
}

// trimEnd cuts the line end off.
func trimEnd(b []byte) string { return string(bytes.TrimRight(b, "\r\n")) }
