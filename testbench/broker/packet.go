package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Packet types of MQTT 3.1.1 (2.2.1).
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typeSubscribe  = 8
	typeSuback     = 9
	typePingreq    = 12
	typeDisconnect = 14
)

var errMalformed = errors.New("malformed MQTT packet")

// packet is one MQTT control packet as it is on the wire.
type packet struct {
	raw  []byte
	head int // bytes of the fixed header
}

func (p packet) kind() byte   { return p.raw[0] >> 4 }
func (p packet) flags() byte  { return p.raw[0] & 0x0F }
func (p packet) body() []byte { return p.raw[p.head:] }
func (p packet) qos() byte    { return p.flags() >> 1 & 3 }

// cut splits the first packet off a stream; ok is false while it is not all there.
func cut(b []byte) (p packet, ok bool, err error) {
	length, shift := 0, 0
	for i := 1; i < len(b); i++ {
		if i > 4 {
			return p, false, errMalformed
		}
		length |= int(b[i]&0x7F) << shift
		shift += 7
		if b[i] < 0x80 {
			head := i + 1
			if len(b) < head+length {
				return p, false, nil
			}
			return packet{b[: head+length : head+length], head}, true, nil
		}
	}
	return p, false, nil
}

// readPacket reads one packet from a stream.
func readPacket(r *bufio.Reader) (packet, error) {
	head, err := r.Peek(2)
	for n := 2; err == nil && head[n-1] >= 0x80; {
		if n++; n > 5 {
			return packet{}, errMalformed
		}
		head, err = r.Peek(n)
	}
	if err != nil {
		return packet{}, err
	}
	length := 0
	for i, c := range head[1:] {
		length |= int(c&0x7F) << (7 * i)
	}
	raw := make([]byte, len(head)+length)
	if _, err := io.ReadFull(r, raw); err != nil {
		return packet{}, err
	}
	return packet{raw, len(head)}, nil
}

// assemble makes a packet.
func assemble(first byte, body ...[]byte) []byte {
	length := 0
	for _, b := range body {
		length += len(b)
	}
	raw := []byte{first}
	for {
		c := byte(length & 0x7F)
		if length >>= 7; length > 0 {
			raw = append(raw, c|0x80)
			continue
		}
		raw = append(raw, c)
		break
	}
	for _, b := range body {
		raw = append(raw, b...)
	}
	return raw
}

// text is a string as MQTT writes it: its length in two bytes first.
func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// takeText reads a string off the front.
func takeText(b []byte) (s string, rest []byte, err error) {
	if len(b) < 2 {
		return "", nil, errMalformed
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return "", nil, errMalformed
	}
	return string(b[2 : 2+n]), b[2+n:], nil
}

// clientID reads the client id out of a CONNECT.
func (p packet) clientID() (string, error) {
	_, rest, err := takeText(p.body()) // the protocol's name
	if err != nil || len(rest) < 4 {
		return "", errMalformed
	}
	if rest[0] >= 5 {
		return "", errMalformed // MQTT 5 has properties here
	}
	id, _, err := takeText(rest[4:]) // behind level, flags, keep alive
	return id, err
}

// publish takes a PUBLISH apart.
func (p packet) publish() (m Message, id uint16, err error) {
	topic, rest, err := takeText(p.body())
	if err != nil {
		return m, 0, err
	}
	if p.qos() > 0 {
		if len(rest) < 2 {
			return m, 0, errMalformed
		}
		id, rest = binary.BigEndian.Uint16(rest), rest[2:]
	}
	return Message{Topic: topic, Payload: rest, Retained: p.flags()&1 != 0, Repeated: p.flags()&8 != 0}, id, nil
}
