package modbus

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// mishap is what befalls one answer: the faults that fell, sorted out.
type mishap struct {
	fallen []Fault
	rng    *rand.Rand
}

func (m *mishap) of(kinds ...Kind) *Fault {
	for i := range m.fallen {
		if slices.Contains(kinds, m.fallen[i].Kind) {
			return &m.fallen[i]
		}
	}
	return nil
}

func (m *mishap) noise(k Kind) []byte {
	f := m.of(k)
	if f == nil {
		return nil
	}
	if f.Bytes != nil {
		return f.Bytes
	}
	b := make([]byte, 1+m.rng.IntN(8))
	for i := range b {
		b[i] = byte(m.rng.Uint32())
	}
	return b
}

func (x *session) answer(ctx context.Context, r *request, u *Unit, began, end time.Time) error {
	m := u.draw()
	if m.of(Echo) != nil {
		x.out.send(transmission{at: began, pieces: []piece{{data: r.raw}}})
	}
	if f := m.of(HalfOpen, Close, Reset); f != nil {
		return x.drop(ctx, f.Kind)
	}
	var forced byte
	if f := m.of(Exception, ExceptionSplit); f != nil {
		if forced = f.Code; forced == 0 {
			forced = 4
		}
	}
	pdu := u.serve(r.pdu, forced)
	at := x.due(end, u.think())
	if m.of(Silent) != nil {
		return nil
	}
	if f := m.of(Late); f != nil {
		at = at.Add(f.Delay)
	}
	u.answered(pdu)
	x.out.send(transmission{at: at, pieces: x.pieces(r, pdu, m)})
	return nil
}

// pieces makes the frame of an answer, and of it what the faults leave.
func (x *session) pieces(r *request, pdu []byte, m *mishap) []piece {
	if m.of(Short) != nil {
		pdu = stretch(pdu, -2)
	}
	if m.of(Long) != nil {
		pdu = stretch(pdu, 2)
	}
	frame := x.wrap(r, r.unit, pdu)
	if m.of(BadCRC) != nil {
		x.spoil(frame)
	}
	if m.of(WrongTransaction) != nil {
		x.swap(frame)
	}
	if noise := m.noise(NoiseBetween); noise != nil {
		frame = slices.Insert(frame, len(frame)/2, noise...)
	}

	var before []byte
	if m.of(Foreign) != nil {
		before = x.foreign(r, pdu)
	}
	before = append(before, m.noise(NoiseBefore)...)
	after := m.noise(NoiseAfter)

	switch split, exception := m.of(Split), m.of(ExceptionSplit); {
	case split != nil:
		pieces := []piece{{data: before}}
		for i, part := range tear(frame, m.rng) {
			pause := orElse(split.Delay, 5*time.Millisecond)
			if i == 0 {
				pause = 0
			}
			pieces = append(pieces, piece{pause, part})
		}
		return append(pieces, piece{0, after})
	case exception != nil:
		last := len(frame) - 1
		return []piece{{data: slices.Concat(before, frame[:last])},
			{orElse(exception.Delay, 20*time.Millisecond), slices.Concat(frame[last:], after)}}
	default:
		return []piece{{data: slices.Concat(before, frame, after)}}
	}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// stretch makes the answer longer or shorter by n bytes, and its byte count, where it has one, agree.
func stretch(pdu []byte, n int) []byte {
	counted := pdu[0] <= readInputs || pdu[0] == readWriteRegs
	if len(pdu)+n < 1 || counted && (len(pdu)+n < 2 || int(pdu[1])+n > 0xFF) {
		return pdu
	}
	pdu = slices.Clone(pdu)
	if n > 0 {
		pdu = append(pdu, make([]byte, n)...)
	} else {
		pdu = pdu[:len(pdu)+n]
	}
	if counted {
		pdu[1] += byte(n)
	}
	return pdu
}

// foreign is a good answer of the same shape with other values, from the next unit, or on TCP of another transaction.
func (x *session) foreign(r *request, pdu []byte) []byte {
	pdu = slices.Clone(pdu)
	for i := 2; i < len(pdu); i++ {
		pdu[i] ^= 0xFF
	}
	frame := x.wrap(r, r.unit+1, pdu)
	x.swap(frame)
	return frame
}

// tear cuts the frame at random into 2 to 4 pieces.
func tear(frame []byte, rng *rand.Rand) [][]byte {
	cuts := []int{0, len(frame)}
	for range 1 + rng.IntN(3) {
		cuts = append(cuts, 1+rng.IntN(len(frame)-1))
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var parts [][]byte
	for i := range len(cuts) - 1 {
		parts = append(parts, frame[cuts[i]:cuts[i+1]])
	}
	return parts
}

// drop ends the connection in the fault's way. On a serial port there is none, and nothing happens.
func (x *session) drop(ctx context.Context, k Kind) error {
	c, ok := x.port.(net.Conn)
	if !ok {
		return nil
	}
	switch k {
	case HalfOpen:
		<-ctx.Done()
	case Reset:
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	}
	return errHangUp
}
