package register

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// Space is one of the address spaces of a device. They are separate: input 5 is not holding 5. The queues of fifo are
// read by the address of their pointer register (Modbus Application Protocol V1.1b3, 6.18).
type Space uint8

const (
	Coil Space = iota
	Discrete
	Input
	Holding
	Fifo
)

// MostQueued is how many registers a queue can hold.
const MostQueued = 31

// SpaceNames are the spaces as addresses name them, in the order of the constants.
var SpaceNames = [...]string{"coil", "discrete", "input", "holding", "fifo"}

// String is the word of the space in an address.
func (s Space) String() string { return SpaceNames[s] }

// Bits says that the space is addressed by the bit.
func (s Space) Bits() bool { return s <= Discrete }

// Writable says that the protocol has functions to write there.
func (s Space) Writable() bool { return s == Coil || s == Holding }

// Function is the code that reads the space.
func (s Space) Function() byte { return [...]byte{1, 2, 4, 3, 24}[s] }

// Span is a run of addresses in one space: registers, or bits.
type Span struct {
	Space        Space
	Start, Count int
}

// End is the first address behind the span.
func (s Span) End() int { return s.Start + s.Count }

// Overlaps says that the spans have an address in common.
func (s Span) Overlaps(o Span) bool {
	return s.Space == o.Space && s.Start < o.End() && o.Start < s.End()
}

// String is the span as quirks write it: "holding 10-19".
func (s Span) String() string {
	if s.Count == 1 {
		return fmt.Sprintf("%s %d", s.Space, s.Start)
	}
	return fmt.Sprintf("%s %d-%d", s.Space, s.Start, s.End()-1)
}

// AddressHint is what an address may look like.
const AddressHint = `an address is "coil 0", "discrete 7", "input 72", "holding 200", "holding 210 bit 3" or "fifo 1240 entry 0", counted from 0 as on the wire`

// addressError says what is wrong with a tag's address.
type addressError struct{ Problem, Hint string }

func (e *addressError) Error() string { return e.Problem + " (" + e.Hint + ")" }

// ParseAt reads a tag's address. bit is that of a register, or the entry of a queue; -1 when none is named.
func ParseAt(at string) (sp Space, start, bit int, err *addressError) {
	if sp, start, bit, err = readAt(at); err != nil && err.Hint == "" {
		err.Hint = guessAddress(at)
	}
	return sp, start, bit, err
}

// readAt is parseAt, without a guess at what was meant where that is not plain.
func readAt(at string) (sp Space, start, bit int, err *addressError) {
	words := strings.Fields(at)
	if len(words) == 0 {
		return 0, 0, 0, &addressError{"the address is missing", AddressHint}
	}
	sp, ok := SpaceOf(words[0])
	part, most := "bit", uint64(15)
	if sp == Fifo {
		part, most = "entry", MostQueued-1
	}
	if !ok || len(words) != 2 && (len(words) != 4 || words[2] != part) {
		return 0, 0, 0, &addressError{"this is no address", ""}
	}
	start, ok = ParseNumber(words[1], 65535)
	if !ok {
		if _, err := strconv.ParseInt(words[1], 0, 64); err == nil || errors.Is(err, strconv.ErrRange) {
			return 0, 0, 0, &addressError{"the address is out of range", "addresses are 0 to 65535"}
		}
		return 0, 0, 0, &addressError{"this is no address", ""}
	}
	if len(words) == 2 {
		return sp, start, -1, nil
	}
	if sp.Bits() {
		return 0, 0, 0, &addressError{"a " + sp.String() + " is a single bit already", fmt.Sprintf("write %q", sp.String()+" "+words[1])}
	}
	bit, ok = ParseNumber(words[3], most)
	if !ok && sp == Fifo {
		return 0, 0, 0, &addressError{"a queue has no entry " + words[3], fmt.Sprintf("entries are 0 (the oldest) to %d; without one it is how many there are", MostQueued-1)}
	}
	if !ok {
		return 0, 0, 0, &addressError{"a register has no bit " + words[3], "bits are 0 (the lowest) to 15"}
	}
	return sp, start, bit, nil
}

// SpaceOf finds the space of that name.
func SpaceOf(word string) (Space, bool) {
	for i, name := range SpaceNames {
		if word == name {
			return Space(i), true
		}
	}
	return 0, false
}

// ParseNumber reads a decimal or 0x-hexadecimal number. A leading zero does not make it octal.
func ParseNumber(s string, limit uint64) (int, bool) {
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		s, base = hex, 16
	}
	n, err := strconv.ParseUint(s, base, 32)
	return int(n), err == nil && n <= limit
}

// guessAddress says what was probably meant by something that is no address.
func guessAddress(at string) string {
	if meant, ok := classicReference(at); ok {
		return fmt.Sprintf("%q is the 1-based reference of %q", strings.TrimSpace(at), meant)
	}
	word, numbers := split(at)
	name, ok := field.Nearest(word, SpaceNames[:]...)
	if !ok || len(numbers) == 0 {
		return AddressHint
	}
	meant := name + " " + numbers[0]
	if len(numbers) > 1 && (name == "input" || name == "holding") {
		meant += " bit " + numbers[1]
	}
	if _, _, _, err := readAt(meant); err != nil {
		return AddressHint
	}
	return fmt.Sprintf("did you mean %q?", meant)
}

// classicReference translates the 1-based notations of data sheets, such as 40201, 400201 and 4x0201.
func classicReference(at string) (meant string, ok bool) {
	digits := strings.TrimSpace(at)
	if len(digits) < 3 {
		return "", false
	}
	table, rest := digits[0], digits[1:]
	if rest[0] == 'x' || rest[0] == 'X' {
		rest = rest[1:]
	} else if len(rest) != 4 && len(rest) != 5 {
		return "", false
	}
	n, err := strconv.ParseUint(rest, 10, 32)
	if err != nil || n < 1 || n > 65536 {
		return "", false
	}
	spaces := map[byte]Space{'0': Coil, '1': Discrete, '3': Input, '4': Holding}
	sp, ok := spaces[table]
	return fmt.Sprintf("%s %d", sp, n-1), ok
}

// split takes a would-be address apart: its first word and its numbers.
func split(at string) (word string, numbers []string) {
	runs := strings.FieldsFunc(at, func(r rune) bool { return !letter(r) && !digit(r) })
	for _, run := range runs {
		for run != "" {
			n := len(run) - len(strings.TrimLeftFunc(run, letter))
			if n > 0 && word == "" {
				word = strings.ToLower(run[:n])
			}
			run = run[n:]
			n = len(run) - len(strings.TrimLeftFunc(run, digit))
			if n > 0 {
				numbers = append(numbers, run[:n])
			}
			run = run[n:]
		}
	}
	return word, numbers
}

func letter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' }
func digit(r rune) bool  { return r >= '0' && r <= '9' }
