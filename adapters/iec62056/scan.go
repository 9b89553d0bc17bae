package iec62056

import (
	"context"
	"errors"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/meter"
)

// Scan implements field.Scanner: it calls whatever meter there is, once in each mode asked for. Several meters on one
// line answer such a call all at once, so only one that is alone is found; a line of many is told by their addresses.
func (d *Driver) Scan(ctx context.Context, o field.ScanOptions, found func(field.Found), progress func(done, total int)) error {
	modes, err := meter.Modes(d.talk.Line, o)
	if err != nil {
		return err
	}
	start := d.start
	defer func() { d.start = start }()
	for i, mode := range modes {
		if i > 0 {
			d.start = start
			field.Pause(ctx)
		}
		name := ""
		if mode != (link.Mode{}) {
			d.start = mode
		}
		if d.moder != nil {
			name = d.start.String()
		}
		s := &Station{driver: d, who: "scan", timeout: meter.FirstPositive(o.Timeout, defaultTimeout)}
		s.parity = d.moder != nil && d.start.DataBits == 8 && d.start.Parity == 'N'
		id, err := s.call(ctx)
		switch {
		case err == nil:
			found(field.Found{Protocol: "iec62056", Address: "*", Mode: name, Identity: id.maker + " " + id.text, Profile: "iec62056-electricity",
				Detail: map[string]string{"vendor": id.maker, "product": id.text}})
			err = sleep(ctx, defaultGuard) // the meter waits as long for what we choose
		case errors.Is(err, field.ErrSilent):
			err = nil
		}
		if err != nil {
			return err
		}
		progress(i+1, len(modes))
	}
	d.start = start
	s := &Station{driver: d}
	return s.setBaud(start.Baud)
}
