package field

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// appendString writes a string as its place among those already seen in this block, or as 0 and itself.
func (e *BlockEncoder) appendString(b []byte, s string) []byte {
	if n, ok := e.strings[s]; ok {
		return binary.AppendUvarint(b, n)
	}
	e.strings[s] = uint64(len(e.strings)) + 1
	b = binary.AppendUvarint(append(b, 0), uint64(len(s)))
	return append(b, s...)
}

func (e *BlockEncoder) appendEvents(b []byte, records []Record) []byte {
	clear(e.strings)
	for i := range records {
		ev := records[i].Event
		b = e.appendString(b, ev.Kind)
		b = e.appendString(b, ev.Subject)
		b = e.appendString(b, ev.Text)
		b = binary.AppendUvarint(b, uint64(len(ev.More)))
		for _, m := range ev.More {
			b = e.appendString(b, m.Name)
			b = appendValue(b, m.Value)
		}
	}
	return b
}

func (r *blockReader) events(records []Record) {
	var seen []string
	text := func() string {
		n := r.uvarint()
		switch {
		case r.bad || n > uint64(len(seen)):
			r.bad = true
			return ""
		case n > 0:
			return seen[n-1]
		}
		s := r.text()
		seen = append(seen, s)
		return s
	}
	for i := range records {
		ev := &Event{Kind: text(), Subject: text(), Text: text()}
		records[i].Event = ev
		n := r.uvarint()
		if r.bad || n > uint64(len(r.b)) { // a member costs more than a byte
			r.bad = true
			return
		}
		for range n {
			if r.bad {
				return
			}
			ev.More = append(ev.More, Member{Name: text(), Value: r.value()})
		}
	}
}

// Check says what is wrong with the shape of a record: it must be one of reading, event and reply, and a reading must
// have as many values, and qualities if any, as its group has points.
func (r *Record) Check() error {
	kinds := 0
	for _, there := range [...]bool{r.Group != nil, r.Event != nil, r.Reply != nil} {
		if there {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return errors.New("a record is one of reading, event and reply")
	case r.Group == nil:
		return nil
	case len(r.Values) != len(r.Group.Points):
		return fmt.Errorf("%s has %d points, the record %d values", r.Group.Device, len(r.Group.Points), len(r.Values))
	case r.Quality != nil && len(r.Quality) != len(r.Values):
		return fmt.Errorf("the record of %s has %d values, but %d qualities", r.Group.Device, len(r.Values), len(r.Quality))
	case len(r.Values) > MaxBlockValues:
		return fmt.Errorf("the record of %s has %d values; at most %d fit a block", r.Group.Device, len(r.Values), MaxBlockValues)
	}
	return nil
}

// AppendGroup appends a group's shape as a keeper's dictionary holds it: a version byte, the CRC-32C of the rest, then
// device, name, profile and points. Equal shapes give equal bytes.
func AppendGroup(dst []byte, g *Group) []byte {
	start := len(dst)
	dst = append(dst, blockVersion, 0, 0, 0, 0)
	text := func(s string) {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	text(g.Device)
	text(g.Name)
	text(g.Profile)
	dst = binary.AppendUvarint(dst, uint64(len(g.Points)))
	for _, p := range g.Points {
		text(p.Name)
		dst = append(dst, byte(p.Kind))
		text(p.Unit)
	}
	binary.LittleEndian.PutUint32(dst[start+1:], castagnoli(dst[start+5:]))
	return dst
}

// DecodeGroup reads what AppendGroup wrote. Its error wraps ErrBlock.
func DecodeGroup(b []byte) (*Group, error) {
	if len(b) < 5 || b[0] != blockVersion || binary.LittleEndian.Uint32(b[1:]) != castagnoli(b[5:]) {
		return nil, fmt.Errorf("%w: a group's shape cannot be read", ErrBlock)
	}
	r := &blockReader{b: b[5:]}
	g := &Group{Device: r.text(), Name: r.text(), Profile: r.text()}
	n := r.uvarint()
	if n > uint64(len(r.b)) { // a point costs three bytes at least
		return nil, fmt.Errorf("%w: a group of %d points", ErrBlock, n)
	}
	for range n {
		g.Points = append(g.Points, Point{Name: r.text(), Kind: Kind(r.byte()), Unit: r.text()})
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: a group's parts do not add up", ErrBlock)
	}
	return g, nil
}
