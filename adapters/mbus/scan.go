package mbus

import (
	"context"
	"errors"
	"strconv"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/meter"
)

// Scan implements field.Scanner. Without From and To it searches the secondary addresses: it selects all meters, and where
// several answer at once, those with each first digit, and so on (EN 13757-3, 11.5). With primary addresses as From and
// To it asks each of them. Found are secondary addresses, or primary ones.
func (d *Driver) Scan(ctx context.Context, o field.ScanOptions, found func(field.Found), progress func(done, total int)) error {
	x := &scan{driver: d, ctx: ctx, o: o, found: found, progress: progress, total: 1, told: map[secondary]bool{}}
	modes, err := meter.Modes(d.talk.Line, o)
	if err != nil {
		return err
	}
	x.total = len(modes)
	for _, x.mode = range modes {
		if o.From != "" || o.To != "" {
			err = x.sweep()
		} else {
			err = x.below(secondary{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 0)
		}
		if err != nil {
			return err
		}
	}
	progress(x.total, x.total)
	return nil
}

// scan is one scan in progress.
type scan struct {
	driver      *Driver
	ctx         context.Context
	o           field.ScanOptions
	found       func(field.Found)
	progress    func(done, total int)
	mode        link.Mode
	done, total int
	told        map[secondary]bool
}

// sweep asks every primary address from From to To.
func (x *scan) sweep() error {
	from, to := 1, 250
	for _, end := range []struct {
		key, text string
		into      *int
	}{{"from", x.o.From, &from}, {"to", x.o.To, &to}} {
		if end.text == "" {
			continue
		}
		n, err := strconv.Atoi(end.text)
		if err != nil || n < 1 || n > 250 {
			return &field.DeviceError{Key: end.key, Value: end.text, Problem: "this is no primary address", Hint: `allowed are "1" to "250"; none searches the secondary addresses`}
		}
		*end.into = n
	}
	x.total += max(0, to-from)
	for n := from; n <= to; n++ {
		s := x.station(byte(n), nil)
		err := x.within(func() error {
			if err := s.acknowledge(x.ctx, shortFrame(sndNKE, s.primary)); err != nil {
				return err
			}
			return x.identify(s, strconv.Itoa(n))
		})
		if err = x.step(err); err != nil {
			return err
		}
	}
	return nil
}

func (x *scan) station(primary byte, a *secondary) *Station {
	return &Station{driver: x.driver, who: "scan", primary: primary, secondary: a, timeout: meter.FirstPositive(x.o.Timeout, x.driver.timeout()), count: fcb}
}

// within does something in the mode that is tried.
func (x *scan) within(do func() error) error { return meter.Within(x.driver.talk.Line, x.mode, do) }

// step counts a question, and lets others speak. Silence is no error here.
func (x *scan) step(err error) error {
	x.done++
	x.progress(min(x.done, x.total), x.total)
	if errors.Is(err, field.ErrSilent) {
		err = nil
	}
	if err == nil {
		err = x.ctx.Err()
	}
	field.Pause(x.ctx)
	return err
}

// below finds the meters whose number begins with the first digits of a.
func (x *scan) below(a secondary, known int) error {
	s := x.station(toSelected, &a)
	err := x.within(func() error {
		if err := s.acknowledge(x.ctx, longFrame(sndUD, toSelected, ciSelect, a[:])); err != nil {
			return err
		}
		return x.identify(s, "")
	})
	several := meter.Collided(err) // acknowledgements or telegrams that fell on each other
	if err := x.step(err); err != nil || !several || known == 8 {
		return err
	}
	x.total += 10
	for digit := range byte(10) {
		next := a
		// The highest digit stands in the upper half of the fourth byte.
		i, shift := 3-known/2, 4*(1-known%2)
		next[i] = next[i]&^(0x0F<<shift) | digit<<shift
		if err := x.below(next, known+1); err != nil {
			return err
		}
	}
	return nil
}

// identify reads the meter that has answered, and tells of it. address "" is its secondary one.
func (x *scan) identify(s *Station, address string) error {
	h, _, _, _, err := s.telegram(x.ctx)
	if err != nil || !h.known || x.told[h.address] {
		return err
	}
	x.told[h.address] = true
	if address == "" {
		address = h.address.String()
	}
	f := field.Found{Protocol: "mbus", Address: address, Mode: meter.ModeName(x.driver.talk.Line, x.mode), Identity: h.maker() + " " + h.address.String()[:8] + ", " + h.medium(),
		Detail: map[string]string{"vendor": h.maker(), "serial": h.address.String()[:8], "revision": strconv.Itoa(int(h.address[6])), "medium": h.medium()}}
	switch h.address[7] {
	case 0x04, 0x0C, 0x0D:
		f.Profile = "mbus-heat"
	case 0x06, 0x07, 0x15, 0x16:
		f.Profile = "mbus-water"
	}
	x.found(f)
	return nil
}
