// Package mbus simulates meters on the wired M-Bus (EN 13757-2 and -3), with a codec of its own.
//
// It promises that a meter answers only its primary address, or 253 while it is selected, that it repeats its last
// telegram while the frame count bit stays, and that meters which answer at once destroy each other's answers, but for
// acknowledgements that fall together. A caller may not assume that the records are looked at: they are sent as given.
package mbus

import (
	"bytes"
	"encoding/hex"
	"fmt"
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
}

// New makes a line without meters; char is the wire time of one character, 0 for no pacing.
func New(char time.Duration) *Bus { return &Bus{char: char} }

// Meter is one meter.
type Meter struct {
	bus       *Bus
	primary   byte
	ident     [8]byte // number, maker, version, medium as they go on the wire
	telegrams [][]byte
	wait      time.Duration
	silent    bool

	selected bool
	last     byte // frame count bit of the last request, or none
	next     int  // telegram
	access   byte
	requests int
}

const none = 0xFF

// Add puts a meter on the line: its number of eight digits, its maker's three letters, version and medium.
func (b *Bus) Add(primary byte, number, maker string, version, medium byte) *Meter {
	m := &Meter{bus: b, primary: primary, wait: 15 * time.Millisecond, last: none}
	digits := octets(number)
	for i := range 4 {
		m.ident[i] = digits[3-i]
	}
	code := 0
	for _, c := range maker {
		code = code<<5 | int(c-64)
	}
	m.ident[4], m.ident[5], m.ident[6], m.ident[7] = byte(code), byte(code>>8), version, medium
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meters = append(b.meters, m)
	return m
}

// Records sets what the meter sends: one text for each telegram, "0C 13 45 23 01 00".
func (m *Meter) Records(telegrams ...string) *Meter {
	return m.with(func() {
		m.telegrams = nil
		for _, t := range telegrams {
			m.telegrams = append(m.telegrams, octets(t))
		}
	})
}

// Wait sets how long the meter takes before it answers.
func (m *Meter) Wait(d time.Duration) *Meter { return m.with(func() { m.wait = d }) }

// Silent switches the meter off and on.
func (m *Meter) Silent(off bool) *Meter { return m.with(func() { m.silent = off }) }

// Requests counts what the meter was asked.
func (m *Meter) Requests() (n int) { m.with(func() { n = m.requests }); return n }

func (m *Meter) with(f func()) *Meter {
	m.bus.mu.Lock()
	defer m.bus.mu.Unlock()
	f()
	return m
}

func octets(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(fmt.Sprintf("%q: %v", s, err))
	}
	return b
}

// Char implements port.Machine.
func (b *Bus) Char() time.Duration { return b.char }

// Take implements port.Machine.
func (b *Bus) Take(got []byte, quiet bool) (used int, out []port.Out) {
	for i := range got {
		rest := got[i:]
		switch {
		case rest[0] == 0x10 && len(rest) >= 5 && rest[4] == 0x16 && rest[3] == rest[1]+rest[2]:
			return i + 5, b.answers(rest[1], rest[2], nil)
		case rest[0] == 0x68 && len(rest) >= 4 && rest[1] == rest[2] && rest[3] == 0x68 && rest[1] >= 3:
			n := int(rest[1]) + 6
			if len(rest) < n {
				continue
			}
			var check byte
			for _, c := range rest[4 : n-2] {
				check += c
			}
			if rest[n-1] == 0x16 && rest[n-2] == check {
				return i + n, b.answers(rest[4], rest[5], rest[6:n-2])
			}
		}
	}
	if quiet {
		return len(got), nil
	}
	return 0, nil
}

func (b *Bus) answers(control, address byte, data []byte) []port.Out {
	b.mu.Lock()
	defer b.mu.Unlock()
	var frames [][]byte
	var wait time.Duration
	for _, m := range b.meters {
		if m.silent {
			continue
		}
		if f := m.answer(control, address, data); f != nil {
			frames = append(frames, f)
			wait = max(wait, m.wait)
		}
	}
	if len(frames) == 0 {
		return nil
	}
	out := bytes.Clone(frames[0])
	for i := range out {
		for _, f := range frames[1:] {
			if i < len(f) {
				out[i] &= f[i]
			}
		}
	}
	if n := len(out); len(frames) > 1 && n > 6 {
		out[n-2] = 1 // and the sum of the rest: a checksum that is wrong, whatever the answers were
		for _, c := range out[4 : n-2] {
			out[n-2] += c
		}
	}
	return []port.Out{{After: wait, Char: b.char, Bytes: out}}
}

// means says that a selection means the meter.
func (m *Meter) means(pattern []byte) bool {
	for i, p := range pattern {
		for _, half := range []byte{0xF0, 0x0F} {
			if i < 4 && p&half == half || i >= 4 && p == 0xFF {
				continue
			}
			if p&half != m.ident[i]&half {
				return false
			}
		}
	}
	return true
}

func (m *Meter) answer(control, address byte, data []byte) []byte {
	if address == 253 && control&^0x20 == 0x53 && len(data) == 9 && data[0] == 0x52 {
		m.requests++
		if m.selected = m.means(data[1:]); m.selected {
			m.last, m.next = none, 0
			return []byte{0xE5}
		}
		return nil
	}
	if address != m.primary && address != 254 && (address != 253 || !m.selected) {
		return nil
	}
	m.requests++
	switch control {
	case 0x40:
		m.last, m.next = none, 0
		return []byte{0xE5}
	case 0x5B, 0x7B:
		count := control & 0x20
		if m.last != none && count != m.last {
			m.next = (m.next + 1) % max(len(m.telegrams), 1)
		}
		if count != m.last {
			m.access++
		}
		m.last = count
		return m.telegram()
	}
	return nil
}

func (m *Meter) telegram() []byte {
	body := append([]byte{0x08, m.primary, 0x72}, m.ident[:]...)
	body = append(body, m.access, 0, 0, 0)
	if m.next < len(m.telegrams) {
		body = append(body, m.telegrams[m.next]...)
	}
	n := byte(len(body))
	f := append([]byte{0x68, n, n, 0x68}, body...)
	var check byte
	for _, c := range body {
		check += c
	}
	return append(f, check, 0x16)
}
