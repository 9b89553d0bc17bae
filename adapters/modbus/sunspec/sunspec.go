// Package sunspec knows how devices describe themselves by the SunSpec information models: a marker, then a chain of
// blocks, each with the number of its model and its length, whose points mean the same in every maker's device.
//
//	"SunS" · 1, 66, who it is · 103, 50, inverter · 160, 48, its inputs · … · 0xFFFF
//
// Walk finds the chain, a Ref says which point of which model is meant, Locate where it lies in this device, and Decode
// what it is. It does no I/O itself.
//
// It promises that a value and its scale factor are decoded from one piece of data, which Place spans; that a point
// which the device does not implement has no value; and that models it does not know are passed over by their length.
// A caller may not assume that a device has any model but the first.
package sunspec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// Bases are where the marker may stand, in holding registers, the usual one first.
var Bases = [...]int{40000, 50000, 0}

// Marker is what stands there: "SunS".
const Marker = "SunS"

const (
	endOfChain = 0xFFFF
	mostBlocks = 100 // of one device: a chain that does not end is not believed
)

// ErrNone says that the device does not describe itself in this way.
var ErrNone = errors.New("there is no SunSpec marker")

// Block is one model of a device, as its chain has it.
type Block struct {
	ID     int
	Start  int // address of the register behind id and length: where the standard's offset 2 is
	Length int // registers from there on
}

// Read reads holding registers. A refusal of the device is a *field.ExceptionError.
type Read func(start, count int) ([]byte, error)

// Walk finds the marker and follows the chain. The error is ErrNone, or Read's own where it is no refusal. A chain that
// breaks off ends there.
func Walk(read Read) ([]Block, error) {
	for _, base := range Bases {
		data, err := refusable(read, base, 2)
		if err != nil {
			return nil, err
		}
		if string(data) == Marker {
			return chain(read, base+2)
		}
	}
	return nil, ErrNone
}

func chain(read Read, at int) ([]Block, error) {
	var blocks []Block
	for len(blocks) < mostBlocks && at+2 <= 65536 {
		head, err := refusable(read, at, 2)
		if err != nil {
			return nil, err
		}
		if len(head) != 4 {
			break
		}
		id, length := int(binary.BigEndian.Uint16(head)), int(binary.BigEndian.Uint16(head[2:]))
		if id == endOfChain || id == 0 || at+2+length > 65536 {
			break
		}
		blocks = append(blocks, Block{id, at + 2, length})
		at += 2 + length
	}
	return blocks, nil
}

// refusable reads, and takes a refusal for no data.
func refusable(read Read, start, count int) ([]byte, error) {
	data, err := read(start, count)
	var refused *field.ExceptionError
	if errors.As(err, &refused) && !errors.Is(err, field.ErrAbsent) {
		return nil, nil
	}
	return data, err
}

// point is one value of a model.
type point struct {
	name   string
	kind   byte // its letter in the table
	offset int  // in registers behind id and length, or from the beginning of its group
	words  int
	scale  string // the point that is its power of ten, or a number; "" for none
}

// model is one model.
type model struct {
	id     int
	points []point
	length int // registers that the points take
	group  string
	repeat []point
	each   int // registers of one repetition
}

// find looks a model up.
func find(id int) (*model, bool) {
	for _, row := range table {
		if slices.Contains(row.ids, id) {
			m := &model{id: id, group: row.group}
			m.points, m.length = parsePoints(row.points)
			m.repeat, m.each = parsePoints(row.repeat)
			return m, true
		}
	}
	return nil, false
}

func parsePoints(text string) (points []point, length int) {
	for _, word := range strings.Fields(text) {
		name, rest, _ := strings.Cut(word, ":")
		kind, scale, _ := strings.Cut(rest, "*")
		p := point{name: name, kind: kind[0], offset: length, words: 1, scale: scale}
		switch p.kind {
		case 'U', 'I', 'f', 'a', 'b':
			p.words = 2
		case 'Q', 'L', 'A':
			p.words = 4
		case 's':
			p.words, _ = strconv.Atoi(kind[1:])
		}
		length += p.words
		points = append(points, p)
	}
	return points, length
}

// Ref names a point: of the first of these models that a device has, and of which of them when it has several.
type Ref struct {
	models []int
	nth    int // from 0
	group  int // which repetition, from 0; -1 for a point outside of groups
	name   string
	kind   byte // of the first model's point
	scaled bool // any of the models gives it with a scale factor, or as a float
}

// AddressHint is what a reference may look like.
const AddressHint = `write "sunspec 103 W", "sunspec 101|102|103 W" for whichever the device has, "sunspec 203 #2 W" for its second, or "sunspec 160 module 1 DCW"`

// ParseRef reads a reference: "sunspec 103 W". The error says what is wrong, and what is allowed.
func ParseRef(at string) (Ref, error) {
	words := strings.Fields(at)
	if len(words) < 3 || words[0] != "sunspec" {
		return Ref{}, errors.New("this is no SunSpec point: " + AddressHint)
	}
	r := Ref{group: -1}
	for id := range strings.SplitSeq(words[1], "|") {
		n, err := strconv.Atoi(id)
		if err != nil {
			return Ref{}, fmt.Errorf("%q is no number of a model: %s", id, AddressHint)
		}
		r.models = append(r.models, n)
	}
	rest := words[2:]
	if nth, ok := strings.CutPrefix(rest[0], "#"); ok {
		n, err := strconv.Atoi(nth)
		if err != nil || n < 1 || n > mostBlocks {
			return Ref{}, fmt.Errorf("%q: the first block of a model is #1", rest[0])
		}
		r.nth, rest = n-1, rest[1:]
	}
	group := ""
	if len(rest) == 3 {
		n, err := strconv.Atoi(rest[1])
		if err != nil || n < 1 || n > 1000 {
			return Ref{}, fmt.Errorf("%q: the first repetition of a group is 1", rest[1])
		}
		group, r.group, rest = rest[0], n-1, rest[2:]
	}
	if len(rest) != 1 {
		return Ref{}, errors.New("this is no SunSpec point: " + AddressHint)
	}
	r.name = rest[0]
	return r, r.check(group)
}

// check looks the point up in each model.
func (r *Ref) check(group string) error {
	for i, id := range r.models {
		m, ok := find(id)
		if !ok {
			return fmt.Errorf("model %d is not known here: known are %s", id, known())
		}
		if group != "" && group != m.group {
			if m.group == "" {
				return fmt.Errorf("model %d has no groups", id)
			}
			return fmt.Errorf("model %d has no group %q, but %q", id, group, m.group)
		}
		p, ok := m.point(*r)
		if !ok {
			return fmt.Errorf("model %d has no point %q: %s", id, r.name, field.Suggest(r.name, m.names(*r)...))
		}
		if i == 0 {
			r.kind = p.kind
		}
		r.scaled = r.scaled || p.scale != "" || p.kind == 'f' || p.kind != r.kind
	}
	return nil
}

func known() string {
	var ids []string
	for _, row := range table {
		for _, id := range row.ids {
			ids = append(ids, strconv.Itoa(id))
		}
	}
	return strings.Join(ids, ", ")
}

// in are the points among which a reference's is.
func (m *model) in(r Ref) []point {
	if r.group >= 0 {
		return m.repeat
	}
	return m.points
}

func (m *model) point(r Ref) (point, bool) {
	points := m.in(r)
	i := slices.IndexFunc(points, func(p point) bool { return p.name == r.name && p.kind != 'x' && p.kind != 'p' })
	if i < 0 {
		return point{}, false
	}
	return points[i], true
}

func (m *model) names(r Ref) []string {
	var names []string
	for _, p := range m.in(r) {
		if p.kind != 'x' && p.kind != 'p' {
			names = append(names, p.name)
		}
	}
	return names
}

// Kind is of the point's values, whichever model gives it.
func (r Ref) Kind() field.Kind {
	switch {
	case r.kind == 's':
		return field.KindString
	case r.scaled:
		return field.KindFloat64
	case r.kind == 'i' || r.kind == 'I' || r.kind == 'L':
		return field.KindInt
	default:
		return field.KindUint
	}
}

// Length is how many registers the block of the reference's first model has, without repetitions: for a forecast.
func (r Ref) Length() (id, length int) {
	m, _ := find(r.models[0])
	return m.id, m.length
}
