package dlt645

import (
	"context"
	"errors"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/meter"
)

// scanTimeout covers the 500 ms that the standard grants a meter, and what a wake-up takes.
const scanTimeout = 600 * time.Millisecond

// Scan implements field.Scanner: it asks everyone for the address. One meter alone answers it; when several answer at
// once, what comes is rubbish, and the search goes on with the last two digits given, then the last four, and so on.
// Meters of 1997 are found by reading their energy. ScanOptions.From and To bound the numbers that are told.
func (d *Driver) Scan(ctx context.Context, o field.ScanOptions, found func(field.Found), progress func(done, total int)) error {
	x := &scan{driver: d, ctx: ctx, found: found, progress: progress, total: 2, told: map[address]bool{},
		timeout: meter.FirstPositive(o.Timeout, scanTimeout), from: "000000000000", to: "999999999999"}
	for _, end := range []struct {
		text string
		into *string
		key  string
	}{{o.From, &x.from, "from"}, {o.To, &x.to, "to"}} {
		if end.text == "" {
			continue
		}
		a, problem := parseAddress(end.text)
		if problem != "" {
			return &field.DeviceError{Key: end.key, Value: end.text, Problem: problem, Hint: "write the twelve digits of a meter's number"}
		}
		*end.into = a.String()
	}
	modes, err := meter.Modes(d.talk.Line, o)
	if err != nil {
		return err
	}
	x.total = 2 * len(modes)
	for _, x.mode = range modes {
		for _, v := range []version{v2007, v1997} {
			if err := x.below(anyone, 0, v); err != nil {
				return err
			}
		}
	}
	progress(x.total, x.total)
	return nil
}

// scan is one scan in progress.
type scan struct {
	driver      *Driver
	ctx         context.Context
	found       func(field.Found)
	progress    func(done, total int)
	timeout     time.Duration
	from, to    string
	mode        link.Mode
	done, total int
	told        map[address]bool
}

// below finds the meters of an edition whose lowest bytes are the first known ones of a.
func (x *scan) below(a address, known int, v version) error {
	several, err := x.ask(a, v, known)
	if err != nil || !several || known == len(a) {
		return err
	}
	x.total += 100
	for n := range 100 {
		next := a
		next[known] = byte(n/10<<4 | n%10)
		if err := x.below(next, known+1, v); err != nil {
			return err
		}
	}
	return nil
}

// ask asks once. several says that more than one answered.
func (x *scan) ask(a address, v version, known int) (several bool, err error) {
	if x.done > 0 {
		field.Pause(x.ctx)
	}
	fn, data := byte(fnReadAddress), []byte(nil)
	switch {
	case v == v1997:
		fn, data = v.read(), id{v, 0x9010}.bytes()
	case known > 0: // function 13 knows no part of an address
		fn, data = v.read(), id{v, 0x00010000}.bytes()
	}
	var f frame
	err = meter.Within(x.driver.talk.Line, x.mode, func() (err error) {
		f, err = x.driver.ask(x.ctx, v, a, fn, data, meter.Question{Who: "scan", Timeout: x.timeout}, defaultWake, none)
		return err
	})
	x.done++
	x.progress(min(x.done, x.total), x.total)
	var refused *field.ExceptionError
	switch {
	case meter.Collided(err):
		return true, nil
	case errors.Is(err, field.ErrSilent), errors.As(err, &refused):
		return false, nil
	case err != nil:
		return false, err
	}
	if number := f.address.String(); !x.told[f.address] && number >= x.from && number <= x.to {
		x.told[f.address] = true
		profile := "dlt645-2007-three-phase"
		if v == v1997 {
			profile = "dlt645-1997"
		}
		x.found(field.Found{Protocol: "dlt645", Address: number, Mode: meter.ModeName(x.driver.talk.Line, x.mode), Identity: v.String(), Profile: profile})
	}
	return false, nil
}
