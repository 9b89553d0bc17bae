package modbus

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
)

// TestConformance runs the seam's suite over both framings.
func TestConformance(t *testing.T) {
	for _, framing := range []Framing{RTU, TCP, ASCII} {
		t.Run(framing.String(), func(t *testing.T) { fieldtest.Run(t, subject(framing)) })
	}
}

// subject is a device whose two main tags are a counter of rounds.
func subject(framing Framing) fieldtest.Subject {
	return fieldtest.Subject{
		Driver: func(l link.Line) field.Driver { return New(l, framing, Options{}) },
		Device: field.Device{Name: "pump", Address: "17", Timeout: 400 * time.Millisecond, Tags: []field.Tag{
			{Name: "level", At: "input 100", Type: "uint16"},
			{Name: "flow", At: "input 101", Type: "int32", Order: "CDAB"},
		}},
		Want: func(round int) []field.Value {
			return []field.Value{field.Uint(uint64(round)), field.Int(int64(-round))}
		},
		Answer: func(request []byte, round int) []byte {
			_, pdu := unwrap(framing, request)
			data := make([]byte, 0, 6)
			data = binary.BigEndian.AppendUint16(data, uint16(round))
			data = binary.BigEndian.AppendUint16(data, uint16(-round))
			data = binary.BigEndian.AppendUint16(data, 0xFFFF)
			n := 2 * int(binary.BigEndian.Uint16(pdu[3:]))
			return wrap(framing, request, append([]byte{pdu[0], byte(n)}, data[:n]...))
		},
		Refuse: func(request []byte) []byte {
			_, pdu := unwrap(framing, request)
			return wrap(framing, request, []byte{pdu[0] | 0x80, 2})
		},
		Foreign: func(answer []byte) []byte {
			answer = slices.Clone(answer)
			if framing == TCP {
				answer[0]++
				return answer
			}
			if framing == ASCII {
				unit, pdu := unwrap(framing, answer)
				return ascii(append([]byte{unit + 1}, pdu...))
			}
			answer[0]++
			return seal(answer[:len(answer)-2])
		},
		Short: func(answer []byte) []byte {
			_, pdu := unwrap(framing, answer)
			pdu = slices.Clone(pdu[:len(pdu)-2])
			pdu[1] -= 2
			return wrap(framing, answer, pdu)
		},
		Stream: framing == TCP,
	}
}

// The far end packs by itself, so that a wrong codec does not agree with itself.

func unwrap(f Framing, adu []byte) (unit byte, pdu []byte) {
	if f == TCP {
		return adu[6], adu[7:]
	}
	if f == ASCII {
		b := unhex(string(adu[1 : len(adu)-2]))
		return b[0], b[1 : len(b)-1]
	}
	return adu[0], adu[1 : len(adu)-2]
}

func wrap(f Framing, request, pdu []byte) []byte {
	if f == TCP {
		adu := append(slices.Clone(request[:7]), pdu...)
		binary.BigEndian.PutUint16(adu[4:], uint16(len(pdu)+1))
		return adu
	}
	if f == ASCII {
		unit, _ := unwrap(f, request)
		return ascii(append([]byte{unit}, pdu...))
	}
	return seal(append([]byte{request[0]}, pdu...))
}

// ascii makes the frame of ASCII mode: the LRC is what the sum of all bytes lacks of 256.
func ascii(b []byte) []byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return fmt.Appendf(nil, ":%X%02X\r\n", b, -sum)
}

// seal appends the CRC of the specification's appendix (polynomial A001), bit by bit.
func seal(frame []byte) []byte {
	crc := uint16(0xFFFF)
	for _, b := range frame {
		crc ^= uint16(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return append(slices.Clone(frame), byte(crc), byte(crc>>8))
}
