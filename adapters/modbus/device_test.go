package modbus

import (
	"context"

	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
)

// device is the far end of an in-memory line: one unit with registers and coils, all 0 at first.
type device struct {
	framing Framing
	regs    [4]map[int]uint16
	missing []register.Span // addresses that it does not have
	most    int             // registers or bits in one answer; 0 for as many as fit
	force   map[int]byte    // exception for a read that covers the address
	silent  map[int]bool    // no answer to a read that covers the address
	asked   []register.Span // what was read, in order
	wrote   []byte          // functions of writes, in order
	delay   time.Duration   // before each answer
	other   func([]byte) []fieldtest.Chunk
}

func newDevice(f Framing) *device {
	d := &device{framing: f, force: map[int]byte{}, silent: map[int]bool{}}
	for i := range d.regs {
		d.regs[i] = map[int]uint16{}
	}
	return d
}

func (d *device) peer(request []byte) []fieldtest.Chunk {
	_, pdu := unwrap(d.framing, request)
	answer := d.serve(pdu)
	if answer == nil {
		return nil
	}
	frame := wrap(d.framing, request, answer)
	if d.other != nil {
		return d.other(frame)
	}
	return []fieldtest.Chunk{{After: d.delay, Bytes: frame}}
}

func (d *device) serve(pdu []byte) []byte {
	start, count := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	value := func(sp register.Space, i int) uint16 { return d.regs[sp][i] }
	switch pdu[0] {
	case 1, 2, 3, 4:
		sp := map[byte]register.Space{1: register.Coil, 2: register.Discrete, 3: register.Holding, 4: register.Input}[pdu[0]]
		where := register.Span{Space: sp, Start: start, Count: count}
		d.asked = append(d.asked, where)
		for at := range d.silent {
			if where.Overlaps(register.Span{Space: sp, Start: at, Count: 1}) {
				return nil
			}
		}
		for at, code := range d.force {
			if where.Overlaps(register.Span{Space: sp, Start: at, Count: 1}) {
				return []byte{pdu[0] | 0x80, code}
			}
		}
		if slices.ContainsFunc(d.missing, where.Overlaps) {
			return []byte{pdu[0] | 0x80, 2}
		}
		if d.most > 0 && count > d.most {
			return []byte{pdu[0] | 0x80, 3}
		}
		if sp.Bits() {
			data := make([]byte, (count+7)/8)
			for i := range count {
				data[i/8] |= byte(value(sp, start+i)) << (i % 8)
			}
			return append([]byte{pdu[0], byte(len(data))}, data...)
		}
		data := []byte{pdu[0], byte(2 * count)}
		for i := range count {
			data = binary.BigEndian.AppendUint16(data, value(sp, start+i))
		}
		return data
	case 5:
		d.wrote = append(d.wrote, 5)
		d.regs[register.Coil][start] = binary.BigEndian.Uint16(pdu[3:]) >> 15
		return pdu
	case 6:
		d.wrote = append(d.wrote, 6)
		d.regs[register.Holding][start] = binary.BigEndian.Uint16(pdu[3:])
		return pdu
	case 15:
		d.wrote = append(d.wrote, 15)
		for i := range count {
			d.regs[register.Coil][start+i] = uint16(pdu[6+i/8] >> (i % 8) & 1)
		}
		return pdu[:5]
	case 16:
		d.wrote = append(d.wrote, 16)
		for i := range count {
			d.regs[register.Holding][start+i] = binary.BigEndian.Uint16(pdu[6+2*i:])
		}
		return pdu[:5]
	case 23:
		d.wrote = append(d.wrote, 23)
		at, n := int(binary.BigEndian.Uint16(pdu[5:])), int(binary.BigEndian.Uint16(pdu[7:]))
		for i := range n {
			d.regs[register.Holding][at+i] = binary.BigEndian.Uint16(pdu[10+2*i:])
		}
		out := []byte{23, byte(2 * count)}
		for i := range count {
			out = binary.BigEndian.AppendUint16(out, value(register.Holding, start+i))
		}
		return out
	}
	return []byte{pdu[0] | 0x80, 1}
}

// asks forgets and gives what was read so far.
func (d *device) asks() []register.Span {
	asked := d.asked
	d.asked = nil
	return asked
}

// wired binds a device description to a device on a line in memory.
func wired(t testing.TB, d *device, dev field.Device) (*Station, *fieldtest.Line) {
	t.Helper()
	line := &fieldtest.Line{Peer: d.peer, Stream: d.framing == TCP}
	dev.Name, dev.Address = "d", "5"
	s, err := New(line, d.framing, Options{}).Bind(dev)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Station), line
}

// registers describes n uint16 tags from an address on.
func registers(from, n int) []field.Tag {
	tags := make([]field.Tag, n)
	for i := range tags {
		tags[i] = field.Tag{Name: fmt.Sprintf("r%d", from+i), At: fmt.Sprintf("holding %d", from+i), Type: "uint16"}
	}
	return tags
}

// answering is a Modbus TCP line that answers every read of registers at once, and allocates nothing.
type answering struct {
	link.Line
	answer []byte
}

func (l answering) Exchange(_ context.Context, request []byte, _ time.Duration, complete link.Framer) ([]byte, error) {
	copy(l.answer, request[:8])
	size := 2 * int(binary.BigEndian.Uint16(request[10:]))
	binary.BigEndian.PutUint16(l.answer[4:], uint16(3+size))
	l.answer[8] = byte(size)
	answer, _, _, err := complete(l.answer[:9+size])
	return answer, err
}
