// Package iec62056 simulates a meter on IEC 62056-21, in modes A, B, C and D, with a codec of its own.
//
// It promises that the meter answers at the rate that the standard has at that moment, that it takes no option and no
// command at another, and that in programming mode it wants its password where it has one. A caller may not assume
// that several meters on one line are told apart by anything but their addresses.
package iec62056

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/sim/port"
)

var bauds = [...]int{300, 600, 1200, 2400, 4800, 9600, 19200}

// Meter is one meter. It is a port.Machine.
type Meter struct {
	mu       sync.Mutex
	address  string
	ident    string // "/ABC5MT174"
	mode     byte
	initial  int
	paced    bool
	wait     time.Duration
	hook     func(baud int)
	items    [][2]string // address, what stands in parentheses with them: "(000123.45*kWh)"
	password string
	silent   bool
	every    time.Duration // mode D

	baud     int
	state    state
	allowed  bool      // in programming mode
	since    time.Time // when the state was entered
	pushed   time.Time
	sessions int
}

type state uint8

const (
	idle      state = iota
	offered         // identified itself, waits for an option
	programme       // waits for commands
)

// patience is how long the meter waits before it forgets a session.
const patience = 2 * time.Second

// New makes a meter that identifies itself with ident ("/ABC5MT174") and speaks a mode, 'A' to 'D', from a first rate on.
func New(address, ident string, mode byte, initial int) *Meter {
	return &Meter{address: address, ident: ident, mode: mode, initial: initial, baud: initial, wait: 20 * time.Millisecond}
}

// Set gives a data set its values, with their parentheses: Set("1.8.0", "(000123.45*kWh)").
func (m *Meter) Set(address, values string) *Meter {
	return m.with(func() {
		for i := range m.items {
			if m.items[i][0] == address {
				m.items[i][1] = values
				return
			}
		}
		m.items = append(m.items, [2]string{address, values})
	})
}

// Paced makes the meter as slow as its wire.
func (m *Meter) Paced() *Meter { return m.with(func() { m.paced = true }) }

// Wait sets how long the meter takes before it answers.
func (m *Meter) Wait(d time.Duration) *Meter { return m.with(func() { m.wait = d }) }

// Password makes programming mode ask for one.
func (m *Meter) Password(p string) *Meter { return m.with(func() { m.password = p }) }

// Silent switches the meter off and on.
func (m *Meter) Silent(off bool) *Meter { return m.with(func() { m.silent = off }) }

// Push sets how often a meter of mode D speaks.
func (m *Meter) Push(every time.Duration) *Meter { return m.with(func() { m.every = every }) }

// OnBaud has f called when the meter changes its rate.
func (m *Meter) OnBaud(f func(baud int)) *Meter { return m.with(func() { m.hook = f }) }

// Sessions counts the calls that the meter answered.
func (m *Meter) Sessions() (n int) { m.with(func() { n = m.sessions }); return n }

// Baud is the rate at which the meter speaks now.
func (m *Meter) Baud() (b int) { m.with(func() { b = m.baud }); return b }

func (m *Meter) with(f func()) *Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	return m
}

func (m *Meter) setBaud(baud int) {
	if m.baud == baud {
		return
	}
	m.baud = baud
	if m.hook != nil {
		m.hook(baud)
	}
}

// Char implements port.Machine.
func (m *Meter) Char() (d time.Duration) { m.with(func() { d = m.char(m.baud) }); return d }

func (m *Meter) char(baud int) time.Duration {
	if !m.paced {
		return 0
	}
	return 10 * time.Second / time.Duration(baud)
}

// Take implements port.Machine.
func (m *Meter) Take(got []byte, quiet bool) (used int, out []port.Out) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.state != idle && now.Sub(m.since) > patience {
		m.end()
	}
	if m.mode == 'D' {
		if m.every == 0 || m.silent || now.Sub(m.pushed) < m.every {
			return len(got), nil
		}
		m.pushed = now
		return len(got), m.say(m.ident+"\r\n\r\n"+m.readout(), m.baud)
	}
	clean := make([]byte, len(got))
	for i, c := range got {
		clean[i] = c & 0x7F
	}
	switch m.state {
	case offered:
		used, out = m.takeOption(clean)
	case programme:
		used, out = m.takeCommand(clean)
	}
	if used == 0 {
		used, out = m.takeCall(clean)
	}
	if used == 0 && quiet {
		used = len(got)
	}
	return used, out
}

func (m *Meter) enter(s state) { m.state, m.since = s, time.Now() }

func (m *Meter) end() {
	m.enter(idle)
	m.allowed = false
	m.setBaud(m.initial)
}

// say is an answer at a rate.
func (m *Meter) say(text string, baud int) []port.Out {
	return []port.Out{{After: m.wait, Char: m.char(baud), Bytes: []byte(text)}}
}

func (m *Meter) takeCall(got []byte) (used int, out []port.Out) {
	i := bytes.Index(got, []byte("/?"))
	if i < 0 {
		return 0, nil
	}
	n := bytes.Index(got[i:], []byte("!\r\n"))
	if n < 0 {
		return 0, nil
	}
	used = i + n + 3
	called := string(got[i+2 : i+n])
	m.setBaud(m.initial)
	if m.silent || called != "" && called != m.address {
		return used, nil
	}
	m.sessions++
	out = m.say(m.ident+"\r\n", m.initial)
	switch m.mode {
	case 'A':
		return used, append(out, m.say(m.block(), m.initial)...)
	case 'B':
		baud := bauds[m.ident[4]-'A'+1]
		out[0].Then = func() { m.with(func() { m.setBaud(baud) }) }
		data := m.say(m.block(), baud)
		data[0].After += 200 * time.Millisecond
		data[0].Then = func() { m.with(m.end) }
		return used, append(out, data...)
	}
	out[0].Then = func() { m.with(func() { m.enter(offered) }) }
	return used, out
}

func (m *Meter) takeOption(got []byte) (used int, out []port.Out) {
	i := bytes.IndexByte(got, 0x06)
	if i < 0 || len(got) < i+6 {
		return 0, nil
	}
	o := got[i : i+6]
	if o[1] != '0' || o[2] < '0' || o[2] > m.ident[4] || o[4] != '\r' || o[5] != '\n' {
		m.end()
		return i + 6, nil
	}
	baud := bauds[o[2]-'0']
	m.setBaud(baud)
	if o[3] == '1' {
		m.enter(programme)
		m.allowed = m.password == ""
		return i + 6, m.say(telegram("\x01P0\x02("+"12345"+")\x03"), baud)
	}
	out = m.say(m.block(), baud)
	out[0].Then = func() { m.with(m.end) }
	return i + 6, out
}

func (m *Meter) takeCommand(got []byte) (used int, out []port.Out) {
	i := bytes.IndexByte(got, 0x01)
	n := bytes.IndexByte(got[max(i, 0):], 0x03)
	if i < 0 || n < 0 || len(got) < i+n+2 {
		return 0, nil
	}
	used = i + n + 2
	text := string(got[i : i+n+1])
	if telegram(text) != string(got[i:used]) {
		return used, m.say("\x15", m.baud)
	}
	m.since = time.Now()
	name, data := text[1:3], strings.Trim(text[3:], "\x02\x03")
	switch name {
	case "B0":
		m.end()
		return used, nil
	case "P1":
		if data != "("+m.password+")" {
			return used, m.say(telegram("\x02(ER04)\x03"), m.baud)
		}
		m.allowed = true
		return used, m.say("\x06", m.baud)
	case "R1":
		address, _, _ := strings.Cut(data, "(")
		for _, item := range m.items {
			if item[0] == address && m.allowed {
				return used, m.say(telegram("\x02"+item[0]+item[1]+"\x03"), m.baud)
			}
		}
		return used, m.say(telegram("\x02(ER02)\x03"), m.baud)
	}
	return used, m.say("\x15", m.baud)
}

// telegram adds the check character: the exclusive or of what follows the first character.
func telegram(s string) string {
	var x byte
	for i := 1; i < len(s); i++ {
		x ^= s[i]
	}
	return s + string(rune(x))
}

func (m *Meter) readout() string {
	var b strings.Builder
	for _, item := range m.items {
		fmt.Fprintf(&b, "%s%s\r\n", item[0], item[1])
	}
	return b.String() + "!\r\n"
}

func (m *Meter) block() string { return telegram("\x02" + m.readout() + "\x03") }
