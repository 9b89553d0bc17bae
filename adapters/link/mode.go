package link

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Mode is how characters stand on a serial line. The zero Mode is not valid.
type Mode struct {
	Baud     int  // bits per second: MinBaud … MaxBaud, odd ones such as 14400 too, where the port's driver can
	DataBits int  // 7 or 8
	Parity   byte // 'N', 'E' or 'O'
	StopBits int  // 1 or 2
}

// The range of Mode.Baud.
const (
	MinBaud = 50
	MaxBaud = 4_000_000
)

// ParseMode reads "9600 8N1": the baud rate, a blank, data bits (7, 8), parity (N, E, O) and stop bits (1, 2). The
// error says which part is wrong and what is allowed there.
func ParseMode(s string) (Mode, error) {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return Mode{}, fmt.Errorf(`%q is no serial mode: write the baud rate, a blank, and data bits, parity and stop bits, such as "9600 8N1"`, s)
	}
	baud, err := strconv.Atoi(fields[0])
	if err != nil || baud < MinBaud || baud > MaxBaud {
		return Mode{}, fmt.Errorf(`%q: baud rate %q: allowed are %d to %d, such as 9600 in "9600 8N1"`, s, fields[0], MinBaud, MaxBaud)
	}
	format := strings.ToUpper(fields[1])
	if len(format) != 3 {
		return Mode{}, fmt.Errorf(`%q: %q must be data bits, parity and stop bits, such as 8N1, 8E1 or 7E1`, s, fields[1])
	}
	data, parity, stop := format[0], format[1], format[2]
	switch {
	case data != '7' && data != '8':
		return Mode{}, fmt.Errorf(`%q: data bits %q: allowed are 7 and 8, such as "9600 8N1"`, s, string(data))
	case parity != 'N' && parity != 'E' && parity != 'O':
		return Mode{}, fmt.Errorf(`%q: parity %q: allowed are N (none), E (even) and O (odd), such as "9600 8E1"`, s, string(parity))
	case stop != '1' && stop != '2':
		return Mode{}, fmt.Errorf(`%q: stop bits %q: allowed are 1 and 2, such as "9600 8N2"`, s, string(stop))
	}
	return Mode{Baud: baud, DataBits: int(data - '0'), Parity: parity, StopBits: int(stop - '0')}, nil
}

// String is the mode as ParseMode reads it.
func (m Mode) String() string {
	return fmt.Sprintf("%d %d%c%d", m.Baud, m.DataBits, m.Parity, m.StopBits)
}

// bits is the number of bits that one character takes on the wire.
func (m Mode) bits() int {
	n := 1 + m.DataBits + m.StopBits
	if m.Parity != 'N' {
		n++
	}
	return n
}

// Char is the wire time of one character: start, data, parity and stop bits.
func (m Mode) Char() time.Duration {
	return time.Duration(m.bits()) * time.Second / time.Duration(m.Baud)
}

// Silence is the least silence between two frames: 3.5 characters, and 1.75 ms above 19200 baud (Modbus over serial
// line V1.02, 2.5.1.1).
func (m Mode) Silence() time.Duration {
	if m.Baud > 19200 {
		return 1750 * time.Microsecond
	}
	return 7 * time.Duration(m.bits()) * time.Second / time.Duration(2*m.Baud)
}
