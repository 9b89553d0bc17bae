package dlt645

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/meter"
)

// Write implements field.Writer. An item is written with the device's password, in both editions. Writing "clock" sends
// the time to every meter on the line, and reads this one's to see whether it took it: "now", or "2026-11-30 14:05:00".
// Writing "freeze" freezes this meter: "now", or the moment at which it freezes by itself from now on, MMDDhhmm with 99
// for every ("99010000": each month's first).
func (s *Station) Write(ctx context.Context, tag string, v field.Value) error {
	p := meter.Tag(s.groups, tag)
	switch {
	case p == nil:
		return fmt.Errorf("%q: %w", tag, field.ErrUnknownTag)
	case !p.Tag.Write:
		return fmt.Errorf("tag %q: %w: it is not on the device's writable list", tag, field.ErrReadOnly)
	}
	var err error
	switch p.Where.word {
	case "clock":
		err = s.sendTime(ctx, v)
	case "freeze":
		err = s.freeze(ctx, v)
	default:
		err = s.writeItem(ctx, p, v)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, field.ErrSilent) {
		return fmt.Errorf("tag %q: %w; whether the meter took the value is not known", tag, err)
	}
	return fmt.Errorf("tag %q: %w", tag, err)
}

// timeLayout is how the clock is shown and written.
const timeLayout = "2006-01-02 15:04:05"

// none judges the data of an answer that has none to speak of.
func none(frame) string { return "" }

// writeItem sends DI PA P0 P1 P2 and the value; in 2007 the operator's code C0…C3 stands ahead of the value.
func (s *Station) writeItem(ctx context.Context, p *meter.Point[what], v field.Value) error {
	if s.password == nil {
		return fmt.Errorf(`%w: the meter asks for a password, and none is known: name its file with the device's key "password"`, field.ErrReadOnly)
	}
	number := 0.0
	if !p.Text() {
		f, ok := v.Float()
		if !ok || !v.Finite() {
			return fmt.Errorf("%s: %w: allowed is a number", v, field.ErrRange)
		}
		number = p.Raw(f)
	}
	value, err := p.Where.format.encode(number, v.String())
	if err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	data := slices.Concat(p.Where.id.bytes(), s.password)
	if s.version == v2007 {
		data = append(data, s.operator...)
	}
	data = append(data, value...)
	start := s.wake + header
	password, check := start+s.version.idSize(), start+len(data)
	q := s.question()
	q.Secret = []link.Span{{From: password, To: password + len(s.password)}, {From: check, To: check + 1}}
	_, err = s.driver.ask(ctx, s.version, s.address, s.version.write(), data, q, s.wake, none)
	return err
}

// near is how far a meter's clock may be from the time that it was sent.
const near = time.Minute

// sendTime broadcasts a time (function 08). Meters take it when it is at most five minutes from theirs, once a day, and
// none answers: so the clock is read afterwards.
func (s *Station) sendTime(ctx context.Context, v field.Value) error {
	t := s.driver.now()
	if text := v.AsText(); text != "now" {
		var err error
		if t, err = time.Parse(timeLayout, text); err != nil {
			return fmt.Errorf(`%s: %w: allowed are "now" and a time such as "2026-11-30 14:05:00"`, v, field.ErrRange)
		}
	}
	data := reversed(t.Format("060102150405"))
	if _, err := s.driver.talk.Ask(ctx, meter.Question{Request: frame{everyone, fnTime, data}.encode(s.wake), Who: "every meter", Stats: &s.stats}); err != nil {
		return err
	}
	day, err := s.fetch(ctx, dateRequest())
	if err != nil {
		return err
	}
	hour, err := s.fetch(ctx, timeRequest())
	if err != nil {
		return err
	}
	shown, ok := moment(day, hour)
	is, err := time.Parse(timeLayout, shown)
	if wall, _ := time.Parse(timeLayout, t.Format(timeLayout)); !ok || err != nil || is.Sub(wall).Abs() > near {
		return fmt.Errorf("the meter did not take the time, it shows %q: meters take one that is at most five minutes from theirs, once a day", shown)
	}
	return nil
}

func (s *Station) freeze(ctx context.Context, v field.Value) error {
	pattern := v.AsText()
	if pattern == "now" {
		pattern = "99999999"
	}
	if len(pattern) != 8 || strings.Trim(pattern, "0123456789") != "" {
		return fmt.Errorf(`%s: %w: allowed are "now", and month, day, hour and minute with 99 for every, such as "99010000"`, v, field.ErrRange)
	}
	_, err := s.ask(ctx, fnFreeze, reversed(pattern), none)
	return err
}

// reversed are the digits as BCD, the last two first.
func reversed(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // its callers have looked
	}
	slices.Reverse(b)
	return b
}
