package modbus

import (
	"context"

	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
	"edgegateway/adapters/modbus/sunspec"
)

const (
	scanTimeout    = 200 * time.Millisecond // for a unit on a serial line: the slowest that are usual take 100 ms
	scanTimeoutTCP = 500 * time.Millisecond // for one behind an address: the gateway has its own timeout before
	lastUnit       = 247

	deaf = 8 // units in a row that look the same on TCP, from which on they are taken for one that answers at any address
)

// moder is a line whose mode can be changed between two exchanges.
type moder interface {
	Mode() link.Mode
	SetMode(link.Mode) error
}

// Scan implements field.Scanner: it asks every unit for one register, since any answer, also a refusal, tells that the
// unit lives; then those that live for what they are. Nothing is written.
func (d *Driver) Scan(ctx context.Context, o field.ScanOptions, found func(field.Found), progress func(done, total int)) error {
	from, to, err := d.scanRange(o)
	if err != nil {
		return err
	}
	modes, err := d.scanModes(o)
	if err != nil {
		return err
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = scanTimeout
		if d.framing == TCP {
			timeout = scanTimeoutTCP
		}
	}
	done, total := 0, len(modes)*(to-from+1)
	progress(done, total)
	same, before := 0, ""
	for _, mode := range modes {
		for unit := from; unit <= to; unit++ {
			var f *field.Found
			if err := d.at(mode, func() (err error) {
				f, err = d.look(ctx, byte(unit), timeout)
				return err
			}); err != nil {
				return err
			}
			switch {
			case f == nil:
				same = 0
			case same > 0 && f.Identity == before:
				same++
			default:
				same, before = 1, f.Identity
			}
			if f != nil {
				f.Mode = modeName(mode, d.line)
				if d.framing == TCP && same == deaf {
					f.Detail["any_unit"] = "it answers at every address: it is probably one device that does not look at it"
					found(*f)
					progress(total, total)
					return nil
				}
				found(*f)
			}
			done++
			progress(done, total)
			field.Pause(ctx)
		}
	}
	return nil
}

// scanRange reads the first and the last unit.
func (d *Driver) scanRange(o field.ScanOptions) (from, to int, err error) {
	read := func(key, s string, otherwise int) int {
		if s == "" {
			return otherwise
		}
		n, e := strconv.Atoi(s)
		if e != nil || n < 1 || n > lastUnit && (d.framing != TCP || n != 255) {
			err = &field.DeviceError{Key: key, Value: s, Problem: "this is no Modbus unit address", Hint: fmt.Sprintf("allowed are 1 to %d", lastUnit)}
		}
		return n
	}
	from, to = read("from", o.From, 1), read("to", o.To, lastUnit)
	if err == nil && from > to {
		err = &field.DeviceError{Key: "from", Value: o.From, Problem: "the first address is above the last", Hint: "exchange the two"}
	}
	return from, to, err
}

// scanModes reads the line modes to try; one zero Mode is the line as it is.
func (d *Driver) scanModes(o field.ScanOptions) ([]link.Mode, error) {
	if len(o.Modes) == 0 {
		return []link.Mode{{}}, nil
	}
	if _, ok := d.line.(moder); !ok {
		return nil, &field.DeviceError{Key: "modes", Value: strings.Join(o.Modes, ", "), Problem: "this line has no modes", Hint: "leave the modes out"}
	}
	var modes []link.Mode
	for _, s := range o.Modes {
		m, err := link.ParseMode(s)
		if err != nil {
			return nil, &field.DeviceError{Key: "modes", Value: s, Problem: err.Error(), Hint: `write "9600 8N1"`}
		}
		modes = append(modes, m)
	}
	return modes, nil
}

// at does something in a mode, and leaves the line in the one that it had.
func (d *Driver) at(mode link.Mode, do func() error) error {
	l, ok := d.line.(moder)
	own := link.Mode{}
	if ok {
		own = l.Mode()
	}
	if !ok || mode == own || mode == (link.Mode{}) {
		return do()
	}
	if err := l.SetMode(mode); err != nil {
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	}
	err := do()
	if back := l.SetMode(own); back != nil && err == nil {
		err = fmt.Errorf("%w: %w", field.ErrLine, back)
	}
	return err
}

func modeName(mode link.Mode, line link.Line) string {
	if mode != (link.Mode{}) {
		return mode.String()
	}
	if l, ok := line.(moder); ok {
		return l.Mode().String()
	}
	return ""
}

// look asks one unit whether it lives, and then what it is; nil for a unit that does not answer. The error is the
// line's or the context's.
func (d *Driver) look(ctx context.Context, unit byte, timeout time.Duration) (*field.Found, error) {
	s := &Station{driver: d, unit: unit, packager: d.packager(unit), timeout: timeout, quirks: quirks{}}
	f := &field.Found{Protocol: "modbus", Address: strconv.Itoa(int(unit)), Detail: map[string]string{}}
	_, err := s.fetch(ctx, s.request(register.Span{Space: register.Holding, Start: 0, Count: 1}))
	var garbage *link.GarbageError
	switch {
	case fatal(ctx, err):
		return nil, err
	case errors.As(err, &garbage):
		// Once more, since it may have been noise. Two devices with one address, or one in another mode, do it again.
		if _, err = s.fetch(ctx, s.request(register.Span{Space: register.Holding, Start: 0, Count: 1})); fatal(ctx, err) {
			return nil, err
		}
		if errors.As(err, &garbage) {
			f.Identity = "something answers, but not in sound frames: two devices with this address, or one in another mode"
			f.Detail["trouble"] = garbage.Error()
			return f, nil
		}
	}
	if !lives(err) {
		return nil, nil
	}
	return f, d.ask(ctx, s, f)
}

// ask finds out what a unit is.
func (d *Driver) ask(ctx context.Context, s *Station, f *field.Found) error {
	s.timeout = max(s.timeout, scanTimeoutTCP) // what must be composed takes longer than a register
	if err := s.sample(ctx, f); err != nil {
		return err
	}
	objects, err := s.identify(ctx)
	if fatal(ctx, err) {
		return err
	}
	for name, value := range objects {
		f.Detail[name] = value
	}
	id, err := s.serverID(ctx)
	if fatal(ctx, err) {
		return err
	}
	if err == nil {
		f.Detail["server_id"] = id
	}
	for _, base := range sunspec.Bases {
		data, err := s.fetch(ctx, s.request(register.Span{Space: register.Holding, Start: base, Count: 2}))
		if fatal(ctx, err) {
			return err
		}
		if err == nil && string(data) == sunspec.Marker {
			f.Detail["sunspec"] = strconv.Itoa(base)
			f.Profile = "sunspec"
			break
		}
	}
	f.Identity = identityOf(f.Detail)
	return nil
}

// sample reads the first register that the unit gives, and keeps both frames, as they are on a serial line: a profile's
// first test.
func (s *Station) sample(ctx context.Context, f *field.Found) error {
	for _, where := range []register.Span{{Space: register.Input, Start: 0, Count: 1}, {Space: register.Holding, Start: 0, Count: 1}, {Space: register.Holding, Start: 1, Count: 1}, {Space: register.Input, Start: 1, Count: 1}} {
		data, err := s.fetch(ctx, s.request(where))
		if fatal(ctx, err) {
			return err
		}
		if err != nil {
			continue
		}
		h := modbus.NewRTUClientHandler("")
		h.SlaveId = s.unit
		pdu := s.driver.framing.pdu(s.request(where))
		request, err := h.Encode(&modbus.ProtocolDataUnit{FunctionCode: pdu[0], Data: pdu[1:]})
		if err != nil {
			return nil // no frame, no sample
		}
		answer, err := h.Encode(&modbus.ProtocolDataUnit{FunctionCode: pdu[0], Data: append([]byte{byte(len(data))}, data...)})
		if err != nil {
			return nil
		}
		f.Detail["sample_at"] = where.String()
		f.Detail["sample_request"], f.Detail["sample_answer"] = fmt.Sprintf("% X", request), fmt.Sprintf("% X", answer)
		return nil
	}
	return nil
}

// identityOf puts what a device told of itself into one line.
func identityOf(detail map[string]string) string {
	var words []string
	for _, key := range []string{"vendor", "product_name", "model", "product", "revision"} {
		if v := detail[key]; v != "" {
			words = append(words, v)
		}
	}
	if len(words) == 0 && detail["server_id"] != "" {
		words = append(words, detail["server_id"])
	}
	if detail["sunspec"] != "" {
		words = append(words, "(SunSpec)")
	}
	return strings.Join(words, " ")
}

// lives says that an exchange ended with an answer of the unit itself, if only with a refusal.
func lives(err error) bool {
	var refused *field.ExceptionError
	return err == nil || errors.As(err, &refused) && !errors.Is(err, field.ErrAbsent)
}

// fatal says that an exchange failed for a reason which will hit the next one too.
func fatal(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, field.ErrLine))
}
