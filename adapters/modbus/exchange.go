package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// lateness is a request that was given up: until then its answer may still come.
type lateness struct {
	unit, function byte
	until          time.Time
}

// echoMemory is how many reads without an echo it takes to believe that the line does not echo any more.
const echoMemory = 16

// exchange sends a packed request of one unit and gives back the packed answer: checked for unit, function, size and
// checksum, normal or exception. Its error wraps field.ErrSilent, field.ErrLine or is the context's.
func (d *Driver) exchange(ctx context.Context, s *Station, adu []byte) ([]byte, error) {
	pdu := d.framing.pdu(adu)
	if d.framing == TCP {
		d.lastID++
		binary.BigEndian.PutUint16(adu, d.lastID)
	}
	if err := s.rest(ctx); err != nil {
		return nil, err
	}
	d.asked = ask(adu, pdu, s.unit, s.packager)
	if err := d.awaitStray(ctx, s); err != nil {
		return nil, err
	}
	s.stats.requests.Add(1)
	began := time.Now()
	answer, err := d.line.Exchange(ctx, adu, s.timeout, d.find)
	s.stats.late.Add(uint64(d.asked.late))
	if err == nil && d.framing == TCP && d.asked.fault != "" {
		err = &link.GarbageError{Got: answer[:min(len(answer), 16)], N: len(answer)}
	}
	if err != nil {
		return nil, d.failed(ctx, s, err)
	}
	s.answered(time.Since(began) - time.Duration(len(adu)+len(answer))*d.line.Timing().Char)
	d.noteEcho()
	return answer, nil
}

// noteEcho learns whether the line gives back what we send, from questions whose answers look otherwise.
func (d *Driver) noteEcho() {
	if d.asked.twin {
		return
	}
	d.heard = true
	if d.asked.echo {
		d.echoes = echoMemory
	} else if d.echoes > 0 {
		d.echoes--
	}
}

// awaitStray listens for the answer of a request that was given up, when it could be taken for the answer to the one
// that is about to be sent. An exception has no length, so unit and function are enough for a mistake.
func (d *Driver) awaitStray(ctx context.Context, s *Station) error {
	now := time.Now()
	kept := d.late[:0]
	var until time.Time
	for _, l := range d.late {
		switch {
		case !l.until.After(now):
		case l.unit == d.asked.unit && l.function == d.asked.pdu[0]:
			until = l.until
		default:
			kept = append(kept, l)
		}
	}
	d.late = kept
	if until.IsZero() {
		return nil
	}
	_, err := d.line.Exchange(ctx, nil, until.Sub(now), d.stray)
	if err == nil {
		s.stats.late.Add(1)
	}
	if ctx.Err() != nil {
		d.late = append(d.late, lateness{d.asked.unit, d.asked.pdu[0], until})
		return ctx.Err()
	}
	return nil // nothing came, or rubbish: the line is as quiet as it gets
}

// failed counts a request without an answer, remembers that the answer may be late, and puts the error into the
// words of the seam.
func (d *Driver) failed(ctx context.Context, s *Station, err error) error {
	var down *link.DownError
	var garbage *link.GarbageError
	if d.framing != TCP && !errors.As(err, &down) {
		d.late = append(d.late, lateness{d.asked.unit, d.asked.pdu[0], time.Now().Add(d.options.Guard)})
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &down):
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	case errors.Is(err, link.ErrTimeout):
		s.stats.timeouts.Add(1)
		return fmt.Errorf("unit %d: %w within %v", s.unit, field.ErrSilent, s.timeout)
	case errors.As(err, &garbage):
		s.stats.garbage.Add(1)
		if d.asked.fault != "" {
			return fmt.Errorf("unit %d: %w to what was asked: %s (%w)", s.unit, field.ErrSilent, d.asked.fault, err)
		}
		return fmt.Errorf("unit %d: %w: %w", s.unit, field.ErrSilent, err)
	default: // the line can't be set to the device's mode: others speak on it
		return fmt.Errorf("unit %d: %w: %w", s.unit, field.ErrSilent, err)
	}
}

// transport lets goburrow's client speak on our line, for one call.
type transport struct {
	ctx     context.Context
	station *Station
}

// Send implements modbus.Transporter.
func (t transport) Send(adu []byte) ([]byte, error) {
	answer, err := t.station.driver.exchange(t.ctx, t.station, adu)
	if err == nil && t.station.driver.framing == TCP {
		answer[headerSize-1] = t.station.unit // goburrow insists; sameUnit has judged it
	}
	return answer, err
}

// client speaks to the station's device for the length of one call.
func (s *Station) client(ctx context.Context) modbus.Client {
	return modbus.NewClient2(s.packager, transport{ctx, s})
}

// refusal is a device's exception in the words of the seam, or the gateway's report that there is no device.
func refusal(code byte) error {
	err := &field.ExceptionError{Code: int(code), Name: exceptionName(code)}
	if code == modbus.ExceptionCodeGatewayPathUnavailable || code == modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond {
		return fmt.Errorf("%w: %w", field.ErrAbsent, err)
	}
	return err
}

func exceptionName(code byte) string {
	switch code {
	case modbus.ExceptionCodeIllegalFunction:
		return "illegal function"
	case modbus.ExceptionCodeIllegalDataAddress:
		return "illegal data address"
	case modbus.ExceptionCodeIllegalDataValue:
		return "illegal data value"
	case modbus.ExceptionCodeServerDeviceFailure:
		return "server device failure"
	case modbus.ExceptionCodeAcknowledge:
		return "acknowledge: still working on it"
	case modbus.ExceptionCodeServerDeviceBusy:
		return "server device busy"
	case modbus.ExceptionCodeMemoryParityError:
		return "memory parity error"
	case modbus.ExceptionCodeGatewayPathUnavailable:
		return "gateway path unavailable"
	case modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond:
		return "gateway target device failed to respond"
	}
	return "not in the specification"
}
