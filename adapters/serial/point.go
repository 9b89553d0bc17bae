package serial

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// TagKeys are the keys that only this protocol's tags have.
func TagKeys() []string { return []string{"request", "pattern", "write_as", "write_ok"} }

// point is a tag, bound: where it stands in a frame, and how it is read.
type point struct {
	tag     field.Tag
	where   func(frame, content []byte, match [][]byte) (raw []byte, ok bool)
	need    int // bytes that a frame must have for it
	form    form
	size    int // bytes of a binary value
	low     bool
	swapped bool // words of two bytes
	bit     int  // of a binary value, -1 for the whole
	mask    uint64
	scaling field.Scaling
	words   map[string]field.Value
	nulls   []string
	slot    int

	pattern *regexp.Regexp // of the frames that hold it
	writeAs string         // "" when it cannot be written
	writeOK *regexp.Regexp // what the device confirms a write with; nil to read the tag back
}

type form uint8

const (
	textFloat form = iota
	textInt
	textUint
	textHex
	textBool
	textWord
	textAngle // NMEA 0183: degrees and minutes, the hemisphere in the next field
	binInt
	binUint
	binFloat
	binBCD
	binBool
	binWord
)

// types are the types of a tag, by where it stands. The size is in bytes.
var textTypes = map[string]form{"float64": textFloat, "int64": textInt, "uint64": textUint, "hex": textHex, "bool": textBool,
	"string": textWord, "nmea-angle": textAngle}

var binTypes = map[string]struct {
	form form
	size int
}{
	"int8": {binInt, 1}, "int16": {binInt, 2}, "int24": {binInt, 3}, "int32": {binInt, 4}, "int64": {binInt, 8},
	"uint8": {binUint, 1}, "uint16": {binUint, 2}, "uint24": {binUint, 3}, "uint32": {binUint, 4}, "uint64": {binUint, 8},
	"float32": {binFloat, 4}, "float64": {binFloat, 8}, "bcd8": {binBCD, 1}, "bcd16": {binBCD, 2}, "bcd32": {binBCD, 4},
	"bool": {binBool, 1}, "string": {binWord, 0},
}

const atHint = `allowed are "field 2" (with a separator), the name of a group of the pattern, "frame" for the whole, and "byte 3" or "byte 3 bit 0"`

// newPoint reads a tag. It reports every fault that it finds.
func newPoint(tag field.Tag, s *speech, address string) (*point, []error) {
	p := &point{tag: tag, bit: -1, mask: math.MaxUint64, pattern: s.pattern}
	var faults []error
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	if text, ok := tag.Extra["pattern"]; ok {
		var err error
		if p.pattern, err = expression(text, address); err != nil {
			fault("pattern", text, "this is no regular expression: "+err.Error(), "the notation is that of RE2")
		}
	}
	binary := p.locate(tag.At, s, fault)
	p.readType(tag, binary, fault)
	p.scaling = field.NewScaling(tag.Scale, tag.Offset)
	number := p.form != textBool && p.form != textWord && p.form != binBool && p.form != binWord
	if p.scaling.On() && (!number || len(tag.Enum) > 0) {
		fault("scale", strconv.FormatFloat(tag.Scale, 'g', -1, 64), "only a number can be scaled", "leave scale and offset out")
	}
	if tag.Mask != "" {
		mask, err := strconv.ParseUint(tag.Mask, 0, 64)
		if err != nil || mask == 0 || p.form != binUint && p.form != binInt && p.form != textHex {
			fault("mask", tag.Mask, "this is no mask, or the tag is no whole number in binary or hexadecimal form", `write it as "0x0FFF"`)
		}
		p.mask = mask
	}
	p.nulls = tag.Null
	if len(tag.Enum) > 0 {
		if p.form == textFloat || p.form == binFloat || p.form == textAngle {
			fault("enum", tag.Type, "only whole numbers, texts and truth values have words", "leave the enum out, or give the tag another type")
		}
		p.words = map[string]field.Value{}
		for raw, word := range tag.Enum {
			p.words[raw] = field.Text(word)
		}
	}
	p.readWriting(tag, address, fault)
	for _, k := range slices.Sorted(maps.Keys(tag.Extra)) {
		if !slices.Contains(TagKeys(), k) {
			fault(k, tag.Extra[k], "a tag of a serial device has no such key", field.Suggest(k, TagKeys()...))
		}
	}
	return p, faults
}

// locate reads where the tag stands. binary is true when it stands there in binary form.
func (p *point) locate(at string, s *speech, fault func(key, value, problem, hint string)) (binary bool) {
	words := strings.Fields(at)
	number := func(i, most int) int {
		n, err := strconv.Atoi(words[i])
		if err != nil || n < 0 || n > most {
			fault("at", at, fmt.Sprintf("%q is out of range", words[i]), fmt.Sprintf("allowed are 0 to %d", most))
			return 0
		}
		return n
	}
	switch {
	case at == "frame":
		p.where = func(_, content []byte, _ [][]byte) ([]byte, bool) { return content, true }
	case len(words) == 2 && words[0] == "field":
		if s.separator == "" {
			fault("at", at, "the device has no separator that fields stand between", `give one: quirks = { separator = "," }`)
			return false
		}
		n := number(1, 999)
		p.where = func(_, content []byte, _ [][]byte) ([]byte, bool) { return p.fieldOf(content, s.separator, n) }
	case (len(words) == 2 || len(words) == 4 && words[2] == "bit") && words[0] == "byte":
		n := number(1, longest-1)
		if len(words) == 4 {
			p.bit = number(3, 63)
		}
		p.where = func(frame, _ []byte, _ [][]byte) ([]byte, bool) {
			if n+p.size > len(frame) {
				return nil, false
			}
			return frame[n : n+p.size], true
		}
		p.need = n // and the size, once it is known
		return true
	case len(words) == 1 && p.pattern != nil && slices.Contains(p.pattern.SubexpNames()[1:], at):
		i := p.pattern.SubexpIndex(at)
		p.where = func(_, _ []byte, match [][]byte) ([]byte, bool) {
			if match == nil || match[i] == nil {
				return nil, false
			}
			return match[i], true
		}
	case len(words) == 1 && p.pattern != nil:
		fault("at", at, "the pattern has no group of this name", field.Suggest(at, append(groupsOf(p.pattern), "frame")...))
	default:
		fault("at", at, "this is no place in a frame", atHint)
	}
	return false
}

func groupsOf(re *regexp.Regexp) []string {
	return slices.DeleteFunc(slices.Clone(re.SubexpNames()), func(s string) bool { return s == "" })
}

// fieldOf gives the n-th field, counted from 0; an angle takes the next one, its hemisphere, along.
func (p *point) fieldOf(content []byte, separator string, n int) ([]byte, bool) {
	fields := strings.Split(string(content), separator)
	if n >= len(fields) || p.form == textAngle && n+1 >= len(fields) {
		return nil, false
	}
	if p.form == textAngle {
		return []byte(strings.TrimSpace(fields[n]) + " " + strings.TrimSpace(fields[n+1])), true
	}
	return []byte(strings.TrimSpace(fields[n])), true
}

func (p *point) readType(tag field.Tag, binary bool, fault func(key, value, problem, hint string)) {
	if !binary {
		name := tag.Type
		if name == "" {
			name = "float64"
		}
		f, ok := textTypes[name]
		if !ok {
			fault("type", name, "text has no such type", field.Suggest(name, slices.Sorted(maps.Keys(textTypes))...))
		}
		p.form = f
		if f == textAngle && !strings.HasPrefix(tag.At, "field ") {
			fault("type", name, "an angle of NMEA 0183 takes two fields", `write at = "field 2"`)
		}
		if tag.Order != "" {
			fault("order", tag.Order, "text has no order of bytes", "leave it out")
		}
		return
	}
	name := tag.Type
	if name == "" && p.bit >= 0 {
		name = "bool"
	}
	t, ok := binTypes[name]
	if !ok {
		problem := "there is no such type"
		if name == "" {
			problem = "the type is missing"
		}
		fault("type", name, problem, field.Suggest(name, slices.Sorted(maps.Keys(binTypes))...))
		return
	}
	p.form, p.size = t.form, t.size
	switch {
	case p.form == binWord && (tag.Length < 1 || tag.Length > 250):
		fault("length", strconv.Itoa(tag.Length), "a string needs its length in bytes", "allowed are 1 to 250")
	case p.form == binWord:
		p.size = tag.Length
	case tag.Length != 0:
		fault("length", strconv.Itoa(tag.Length), "only a string has a length", "leave it out")
	}
	if p.bit >= 0 {
		if p.form != binBool {
			fault("type", name, "one bit is a truth value", `write "bool", or leave "bit" out of at`)
		}
		p.size = p.bit/8 + 1
	}
	p.need += p.size
	switch tag.Order {
	case "", "ABCD":
	case "DCBA":
		p.low = true
	case "CDAB":
		p.swapped = true
	case "BADC":
		p.low, p.swapped = true, true
	default:
		fault("order", tag.Order, "there is no such order", field.Suggest(tag.Order, "ABCD", "CDAB", "BADC", "DCBA"))
	}
}

// readWriting reads how the tag is written.
func (p *point) readWriting(tag field.Tag, address string, fault func(key, value, problem, hint string)) {
	p.writeAs = tag.Extra["write_as"]
	if ok := tag.Extra["write_ok"]; ok != "" {
		re, err := expression(ok, address)
		if err != nil {
			fault("write_ok", ok, "this is no regular expression: "+err.Error(), "the notation is that of RE2")
		}
		p.writeOK = re
	}
	switch {
	case tag.Write && p.writeAs == "":
		fault("write_as", "", "the tag is listed as writable, and nothing says what is sent to write it",
			`write_as = "SET {value}\r\n", or take the tag off the device's writable list`)
	case p.writeAs != "" && !strings.Contains(p.writeAs, valueMark):
		fault("write_as", p.writeAs, "the value has no place in it", "put {value} where the value stands")
	}
}
