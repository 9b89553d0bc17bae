// Package dlt645 simulates meters on DL/T 645, of 2007 and of 1997, with a codec of its own.
//
// It promises that meters answer only what is addressed to them (or to all, or to the digits that a wildcard leaves),
// that two that answer at once destroy each other's answers, and that what was written, frozen and set is there to be
// looked at. A caller may not assume that a meter knows an item which was not Set.
package dlt645

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/sim/port"
)

// Bus is the meters on one line. It is a port.Machine.
type Bus struct {
	char time.Duration

	mu     sync.Mutex
	meters []*Meter
	times  []string // that were broadcast
}

// New makes a line without meters; char is the wire time of one character, 0 for no pacing.
func New(char time.Duration) *Bus { return &Bus{char: char} }

// Meter is one meter.
type Meter struct {
	bus     *Bus
	address string // twelve digits
	old     bool   // of 1997
	wait    time.Duration

	items    map[string][]byte // identifier → bytes as they go on the wire, without the offset
	password string            // level and six digits: "02123456"
	silent   bool
	deaf     bool // takes no time that is broadcast
	most     int  // bytes of data that one frame holds
	writes   []string
	freezes  []string
	requests int
}

// Add puts a meter of 2007, or with old one of 1997, on the line.
func (b *Bus) Add(address string, old bool) *Meter {
	m := &Meter{bus: b, address: address, old: old, wait: 20 * time.Millisecond, items: map[string][]byte{}, most: 200, password: "02123456"}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meters = append(b.meters, m)
	return m
}

// Set gives an item its value: digits with the highest first, as the standard prints them, such as "00010000",
// "00120642". For a block the elements stand in the order of the wire: "2301 2302 2303".
func (m *Meter) Set(id string, values ...string) *Meter {
	m.bus.mu.Lock()
	defer m.bus.mu.Unlock()
	var data []byte
	for _, v := range values {
		data = append(data, low(v)...)
	}
	m.items[id] = data
	return m
}

// Wait sets how long the meter takes before it answers; the standard allows 20 to 500 ms.
func (m *Meter) Wait(d time.Duration) *Meter { return m.with(func() { m.wait = d }) }

// Silent switches the meter off and on.
func (m *Meter) Silent(off bool) *Meter { return m.with(func() { m.silent = off }) }

// Deaf makes the meter pass over times that are broadcast, as one does whose clock is far off.
func (m *Meter) Deaf() *Meter { return m.with(func() { m.deaf = true }) }

// Password sets what a write must bring: the level and six digits.
func (m *Meter) Password(p string) *Meter { return m.with(func() { m.password = p }) }

// Frames bounds the data of one frame, so that longer items come in several.
func (m *Meter) Frames(most int) *Meter { return m.with(func() { m.most = most }) }

func (m *Meter) with(f func()) *Meter {
	m.bus.mu.Lock()
	defer m.bus.mu.Unlock()
	f()
	return m
}

// Requests counts what the meter was asked.
func (m *Meter) Requests() (n int) { m.with(func() { n = m.requests }); return n }

// Writes are what was written, as "identifier=digits"; Freezes what the meter was frozen with.
func (m *Meter) Writes() (w []string) { m.with(func() { w = slices.Clone(m.writes) }); return w }

// Freezes are the patterns with which the meter was frozen.
func (m *Meter) Freezes() (f []string) { m.with(func() { f = slices.Clone(m.freezes) }); return f }

// Times are the times that were broadcast, as YYMMDDhhmmss.
func (b *Bus) Times() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.times)
}

// low is the digits as BCD with the lowest first.
func low(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", s, err))
	}
	slices.Reverse(b)
	return b
}

// high is low the other way.
func high(b []byte) string {
	c := slices.Clone(b)
	slices.Reverse(c)
	return strings.ToUpper(hex.EncodeToString(c))
}

// Char implements port.Machine.
func (b *Bus) Char() time.Duration { return b.char }

// Take implements port.Machine.
func (b *Bus) Take(got []byte, quiet bool) (used int, out []port.Out) {
	for i := 0; i+12 <= len(got); i++ {
		if got[i] != 0x68 || got[i+7] != 0x68 {
			continue
		}
		end := i + 12 + int(got[i+9])
		if end > len(got) {
			if quiet {
				continue
			}
			return i, nil
		}
		var check byte
		for _, c := range got[i : end-2] {
			check += c
		}
		if got[end-1] != 0x16 || got[end-2] != check {
			continue
		}
		return end, b.answers(got[i:end])
	}
	if quiet {
		return len(got), nil
	}
	return 0, nil
}

// answers are what the meters send upon one request: more than one at once is rubbish.
func (b *Bus) answers(req []byte) []port.Out {
	b.mu.Lock()
	defer b.mu.Unlock()
	to, control := high(req[1:7]), req[8]
	data := make([]byte, req[9])
	for i := range data {
		data[i] = req[10+i] - 0x33
	}
	if control == 0x08 && to == "999999999999" && len(data) == 6 {
		at := high(data)
		b.times = append(b.times, at)
		for _, m := range b.meters {
			if !m.deaf {
				m.items["04000101"], m.items["04000102"] = low(at[:6]+"01"), low(at[6:])
			}
		}
		return nil
	}
	var frames [][]byte
	var wait time.Duration
	for _, m := range b.meters {
		if m.silent || !addressed(to, m.address) {
			continue
		}
		m.requests++
		if f := m.answer(control, data); f != nil {
			frames = append(frames, f)
			wait = max(wait, m.wait)
		}
	}
	switch len(frames) {
	case 0:
		return nil
	case 1:
		return []port.Out{{After: wait, Char: b.char, Bytes: frames[0]}}
	}
	mixed := bytes.Clone(frames[0])
	for i := range mixed {
		for _, f := range frames[1:] {
			if i < len(f) {
				mixed[i] &= f[i] // the zero wins on the wire
			}
		}
	}
	n := len(mixed)
	mixed[n-2] = 1 // and the sum of the rest: a checksum that is wrong, whatever the answers were
	for _, c := range mixed[wake : n-2] {
		mixed[n-2] += c
	}
	return []port.Out{{After: wait, Char: b.char, Bytes: mixed}}
}

// addressed says whether an address, perhaps with open digits, means a meter.
func addressed(to, address string) bool {
	for i := range to {
		if to[i] != 'A' && to[i] != address[i] {
			return false
		}
	}
	return true
}

// wake is how many wake-up bytes a meter sends ahead of its answer.
const wake = 4

func (m *Meter) frame(control byte, data []byte) []byte {
	f := append([]byte{0xFE, 0xFE, 0xFE, 0xFE, 0x68}, low(m.address)...)
	f = append(f, 0x68, control, byte(len(data)))
	for _, c := range data {
		f = append(f, c+0x33)
	}
	var check byte
	for _, c := range f[wake:] {
		check += c
	}
	return append(f, check, 0x16)
}

func (m *Meter) refuse(control, why byte) []byte { return m.frame(control|0xC0, []byte{why}) }

// answer is the frame that the meter sends; nil for none.
func (m *Meter) answer(control byte, data []byte) []byte {
	read, next, write, size, operator := byte(0x11), byte(0x12), byte(0x14), 4, 4
	if m.old {
		read, next, write, size, operator = 0x01, 0x02, 0x04, 2, 0
	}
	value := size + 4 + operator // where it stands in a write: behind the identifier, PA P0 P1 P2 and the operator's code
	switch {
	case control == read && len(data) >= size:
		return m.part(control, data[:size], 0)
	case control == next && len(data) >= size:
		n := 1
		if !m.old && len(data) > size {
			n = int(data[size])
		}
		return m.part(control, data[:size], n)
	case control == 0x13 && !m.old && len(data) == 0:
		return m.frame(0x93, low(m.address))
	case control == write && len(data) > value:
		if level := fmt.Sprintf("%02X", data[size]) + high(data[size+1:size+4]); level != m.password {
			return m.refuse(control, 0x04)
		}
		id := high(data[:size])
		if _, known := m.items[id]; !known {
			return m.refuse(control, 0x02)
		}
		m.items[id] = bytes.Clone(data[value:])
		m.writes = append(m.writes, id+"="+high(data[value:]))
		return m.frame(control|0x80, nil)
	case control == 0x16 && !m.old && len(data) == 4:
		m.freezes = append(m.freezes, high(data))
		return m.frame(0x96, nil)
	}
	return nil
}

// part is the n-th frame of an item.
func (m *Meter) part(control byte, id []byte, n int) []byte {
	value, known := m.items[high(id)]
	from := n * m.most
	if !known || n > 0 && from >= len(value) {
		return m.refuse(control, 0x02)
	}
	rest := value[from:]
	answer := control | 0x80
	if len(rest) > m.most {
		rest, answer = rest[:m.most], answer|0x20
	}
	data := append(bytes.Clone(id), rest...)
	if n > 0 && !m.old {
		data = append(data, byte(n))
	}
	return m.frame(answer, data)
}
