package main

import (
	"context"
	"fmt"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
)

// What a mains quantity can be, where there is mains: a register that is read with the wrong profile hardly ever falls
// between these.
const (
	leastHz, mostHz       = 45, 65
	leastVolts, mostVolts = 50, 1000
)

// fingerprint finds the profile that a device which says nothing of itself reads like: its frequency and its voltages
// are all there and all plausible. Of several it is the one with the most of them. It costs about one request for a
// profile; what tells nothing of the mains is not recognised.
func (s *scanner) fingerprint(ctx context.Context, f field.Found) (name, why string) {
	mode := f.Mode
	if mode == s.Mode {
		mode = ""
	}
	driver, err := s.driver(s.drivers, s.wire, field.Device{Protocol: f.Protocol, Mode: mode})
	if err != nil {
		return "", ""
	}
	best := 0
	for _, p := range s.profiles {
		if p.Protocol != f.Protocol || ctx.Err() != nil {
			continue
		}
		hertz, volts := mains(p)
		if len(hertz) == 0 {
			continue
		}
		field.Pause(ctx)
		seen, ok := s.plausible(ctx, driver, f, p, hertz[:1], leastHz, mostHz)
		if !ok {
			continue
		}
		if len(volts) > 0 {
			field.Pause(ctx)
			if _, ok = s.plausible(ctx, driver, f, p, volts, leastVolts, mostVolts); !ok {
				continue
			}
		}
		if n := 1 + len(volts); n > best {
			best, name, why = n, p.Name, fmt.Sprintf("reads like it: %s = %s Hz", hertz[0].Name, seen)
		}
	}
	return name, why
}

// mains are a profile's tags of frequencies and voltages that are in every record of its main group.
func mains(p *profile.Profile) (hertz, volts []field.Tag) {
	for _, t := range p.Tags {
		switch {
		case t.Group != "" && t.Group != field.MainGroup || t.Event:
		case t.Unit == "Hz":
			hertz = append(hertz, t)
		case t.Unit == "V":
			volts = append(volts, t)
		}
	}
	return hertz, volts
}

// plausible reads a few tags of a device as a profile has them; ok when all are there and between the bounds.
func (s *scanner) plausible(ctx context.Context, driver field.Driver, f field.Found, p *profile.Profile, tags []field.Tag, least, most float64) (first field.Value, ok bool) {
	station, err := driver.Bind(field.Device{Name: f.Address, Line: s.Name, Protocol: f.Protocol, Address: f.Address, Mode: f.Mode,
		Quirks: p.Quirks, Tags: tags})
	if err != nil {
		return first, false
	}
	r, err := station.Read(ctx, field.MainGroup)
	if err != nil || len(r.Values) == 0 {
		return first, false
	}
	for i, v := range r.Values {
		if n, number := v.Float(); r.QualityOf(i) != field.Good || !number || n < least || n > most {
			return first, false
		}
	}
	return r.Values[0], true
}
