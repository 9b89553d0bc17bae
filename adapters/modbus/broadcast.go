package modbus

import (
	"context"

	"encoding/binary"
	"fmt"
	"time"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// broadcastRest is what every device is given to carry out a broadcast, before the next request (Modbus over serial
// line V1.02, 2.4.1: 100 to 200 ms).
const broadcastRest = 200 * time.Millisecond

// Mute implements field.Mute: the station is the broadcast address.
func (s *Station) Mute() bool { return s.mute }

// errMute is what reading a broadcast address gives.
var errMute = fmt.Errorf("%w: the broadcast address is never answered", field.ErrSilent)

// checkMute reports what a broadcast address cannot have.
func (s *Station) checkMute(p *register.Point) (faults []error) {
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: p.Tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	switch {
	case p.Described != nil || !p.Space.Writable():
		fault("at", p.Tag.At, "a broadcast can only write", "give it the address of a coil or a holding register")
	case !p.Tag.Write:
		fault("at", p.Tag.At, "nothing answers at the broadcast address, so the tag can only be written", "name it in the device's writable list, or take it out")
	case p.Mask&register.Ones(2*p.Count) != register.Ones(2*p.Count) && !p.Space.Bits() && !(s.quirks.writeMask && p.Count == 1):
		fault("at", p.Tag.At, "a part of a register cannot be broadcast: the rest would have to be read first", "write the whole register, or set the quirk write_mask where all devices know function 22")
	case p.Tag.ReadBack || len(p.Tag.Requires) > 0 || p.Tag.Limits != nil && p.Tag.Limits.Step > 0:
		fault("at", p.Tag.At, "readback, requires and limits.step need a value that is read, and nothing answers a broadcast", "leave them out")
	}
	return faults
}

// broadcast sends one write to every device on the line. Nobody confirms it.
func (s *Station) broadcast(ctx context.Context, p *register.Point, v field.Value) error {
	pdu, err := s.broadcastPDU(p, v)
	if err != nil {
		return err
	}
	d := s.driver
	s.stats.requests.Add(1)
	if _, err := d.line.Exchange(ctx, s.pack(pdu[0], pdu[1:]...), 0, nil); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	}
	s.ready = time.Now().Add(broadcastRest)
	return s.wait(ctx)
}

// broadcastPDU makes the request: a coil, one register, a part of one, or several.
func (s *Station) broadcastPDU(p *register.Point, v field.Value) ([]byte, error) {
	start := binary.BigEndian.AppendUint16(nil, uint16(p.Start))
	if p.Typ.Form == register.FormString {
		data := make([]byte, 2*p.Count)
		if err := p.EncodeText(v, data); err != nil {
			return nil, err
		}
		return several(start, p.Count, data), nil
	}
	raw, err := p.Encode(v)
	if err != nil {
		return nil, err
	}
	if p.Space == register.Coil {
		return append(append([]byte{modbus.FuncCodeWriteSingleCoil}, start...), byte(raw)*0xFF, 0), nil
	}
	data := make([]byte, 2*p.Count)
	p.Order.Cut(raw, data)
	switch {
	case p.Mask&register.Ones(len(data)) != register.Ones(len(data)):
		keep := make([]byte, 2)
		p.Order.Cut(^p.Mask, keep)
		return append(append(append([]byte{modbus.FuncCodeMaskWriteRegister}, start...), keep...), data...), nil
	case p.Count == 1 && !s.quirks.writeMultiple:
		return append(append([]byte{modbus.FuncCodeWriteSingleRegister}, start...), data...), nil
	default:
		return several(start, p.Count, data), nil
	}
}

// several is function 16.
func several(start []byte, count int, data []byte) []byte {
	pdu := append([]byte{modbus.FuncCodeWriteMultipleRegisters}, start...)
	pdu = append(pdu, 0, byte(count), byte(len(data)))
	return append(pdu, data...)
}
