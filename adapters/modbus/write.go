package modbus

import (
	"bytes"
	"context"

	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// Write implements field.Writer. A tag that is only a part of its registers (a bit, a mask) is read first, and written
// with the rest as it was. A value between two steps of a scaled tag is rounded to the nearer one.
func (s *Station) Write(ctx context.Context, tag string, v field.Value) error {
	p := s.byName[tag]
	switch {
	case p == nil:
		return s.unknown(tag)
	case !p.Space.Writable():
		return fmt.Errorf("tag %q: %w: no Modbus function writes to the space \"%s\"", tag, field.ErrReadOnly, p.Space)
	case !p.Tag.Write:
		return fmt.Errorf("tag %q: %w: it is not on the device's writable list", tag, field.ErrReadOnly)
	}
	if s.mute {
		return s.broadcast(ctx, p, v)
	}
	var err error
	if p.Space == register.Coil {
		err = s.writeCoil(ctx, p, v)
	} else {
		err = s.writeRegisters(ctx, p, v)
	}
	var refused *modbus.ModbusError
	switch {
	case errors.As(err, &refused):
		s.stats.exceptions.Add(1)
		return fmt.Errorf("tag %q: %w", tag, refusal(refused.ExceptionCode))
	case errors.Is(err, field.ErrSilent):
		return fmt.Errorf("tag %q: %w; whether the device took the value is not known", tag, err)
	}
	return err
}

// unknown names the tag that was probably meant, but not all that the device has.
func (s *Station) unknown(tag string) error {
	hint := ""
	if near, ok := field.Nearest(tag, slices.Sorted(maps.Keys(s.byName))...); ok {
		hint = fmt.Sprintf(" (did you mean %q?)", near)
	}
	return fmt.Errorf("%q: %w%s", tag, field.ErrUnknownTag, hint)
}

func (s *Station) writeCoil(ctx context.Context, p *register.Point, v field.Value) error {
	raw, err := p.Encode(v)
	if err != nil {
		return err
	}
	if s.quirks.writeMultiple {
		_, err = s.client(ctx).WriteMultipleCoils(uint16(p.Start), 1, []byte{byte(raw)})
	} else if err = s.learnEcho(ctx); err == nil {
		_, err = s.client(ctx).WriteSingleCoil(uint16(p.Start), uint16(raw)*0xFF00)
	}
	return s.confirmed(err)
}

func (s *Station) writeRegisters(ctx context.Context, p *register.Point, v field.Value) error {
	data := make([]byte, 2*p.Count)
	if p.Typ.Form == register.FormString {
		if err := p.EncodeText(v, data); err != nil {
			return err
		}
	} else {
		raw, err := p.Encode(v)
		if err != nil {
			return err
		}
		whole := register.Ones(len(data))
		if p.Mask&whole != whole && p.Count == 1 && s.quirks.writeMask {
			return s.confirmed(s.writeMasked(ctx, p, raw))
		}
		if p.Mask&whole != whole {
			rest, err := s.fetch(ctx, s.request(p.Span))
			if err != nil {
				return fmt.Errorf("reading what stands beside the value, before writing it: %w", err)
			}
			raw |= p.Order.Join(rest) &^ p.Mask
		}
		p.Order.Cut(raw, data)
	}
	return s.confirmed(s.send(ctx, p.Span, data))
}

// writeMasked sets the point's bits of one register and leaves the others to the device, which does not let anybody in
// between (Modbus Application Protocol V1.1b3, 6.16).
func (s *Station) writeMasked(ctx context.Context, p *register.Point, raw uint64) error {
	if err := s.learnEcho(ctx); err != nil {
		return err
	}
	var set, keep [2]byte
	p.Order.Cut(raw&p.Mask, set[:])
	p.Order.Cut(^p.Mask, keep[:])
	_, err := s.client(ctx).MaskWriteRegister(uint16(p.Start), binary.BigEndian.Uint16(keep[:]), binary.BigEndian.Uint16(set[:]))
	return err
}

// send writes registers with the function that suits them and the device.
func (s *Station) send(ctx context.Context, where register.Span, data []byte) error {
	start, count := uint16(where.Start), uint16(where.Count)
	switch {
	case s.quirks.writeReadback:
		now, err := s.client(ctx).ReadWriteMultipleRegisters(start, count, start, count, data)
		if err == nil && !bytes.Equal(now, data) {
			err = fmt.Errorf("the device took the value, but % x stands there instead of % x", now, data)
		}
		return err
	case count == 1 && !s.quirks.writeMultiple:
		if err := s.learnEcho(ctx); err != nil {
			return err
		}
		_, err := s.client(ctx).WriteSingleRegister(start, uint16(data[0])<<8|uint16(data[1]))
		return err
	default:
		_, err := s.client(ctx).WriteMultipleRegisters(start, count, data)
		return err
	}
}

// learnEcho makes sure that we know whether the line echoes, before a write whose confirmation looks like its echo: a
// dead device on an echoing line must not seem to confirm.
func (s *Station) learnEcho(ctx context.Context) error {
	if s.driver.framing == TCP || s.driver.heard {
		return nil
	}
	return s.Probe(ctx)
}

// confirmed counts a write that the device confirmed.
func (s *Station) confirmed(err error) error {
	if err == nil {
		s.stats.answers.Add(1)
	}
	return err
}
