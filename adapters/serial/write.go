package serial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// Write implements field.Writer. It sends the tag's write_as with the value in its place, and takes the write for done
// when the device says so (write_ok) or when the tag, read back, has that value. It is never sent twice.
func (s *Station) Write(ctx context.Context, name string, v field.Value) error {
	p := s.byName[name]
	switch {
	case p == nil:
		return fmt.Errorf("%w: %q", field.ErrUnknownTag, name)
	case !p.tag.Write:
		return fmt.Errorf("%w: %q", field.ErrReadOnly, name)
	}
	text, err := p.print(v)
	if err != nil {
		return err
	}
	command, err := s.speech.spell(strings.ReplaceAll(p.writeAs, valueMark, text), s.address, false)
	if err != nil {
		return fmt.Errorf("write_as of %q: %w", name, err)
	}
	if p.writeOK != nil {
		_, err := s.exchange(ctx, command, s.timeout, func(text []byte, _ int) bool { return p.writeOK.Match(text) })
		return err
	}
	if err := s.driver.calm(ctx); err != nil {
		return err
	}
	if _, err := s.driver.line.Exchange(ctx, command, 0, nil); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	}
	return s.readBack(ctx, p, v)
}

// readBack reads the tag and compares it with what was written.
func (s *Station) readBack(ctx context.Context, p *point, want field.Value) error {
	for _, g := range s.groups {
		for _, q := range g.questions {
			if !slices.Contains(q.points, p) {
				continue
			}
			frame, err := s.ask(ctx, q)
			if err != nil {
				return fmt.Errorf("it was sent, and cannot be read back: %w", err)
			}
			r := g.record(field.Timeout)
			q.fill(s.speech, frame, &r)
			if got := r.Values[p.slot]; r.Quality[p.slot] != field.Good || !same(got, want) {
				return &field.ExceptionError{Name: fmt.Sprintf("it still reads %s, and %s was written", got, want)}
			}
			return nil
		}
	}
	return errors.New("the tag is in no question")
}

// same compares a value read with one written: numbers within what a decimal notation loses.
func same(got, want field.Value) bool {
	g, isNumber := got.Float()
	w, ok := want.Float()
	if !isNumber || !ok {
		return got.String() == want.String()
	}
	return math.Abs(g-w) <= 1e-6*max(1, math.Abs(w))
}

// print writes a value as the device reads it: the raw number, or the raw word of an enumeration.
func (p *point) print(v field.Value) (string, error) {
	if p.words != nil {
		for raw, word := range p.words {
			if word.AsText() == v.AsText() {
				return raw, nil
			}
		}
		return "", fmt.Errorf("%w: there is no word %q", field.ErrRange, v)
	}
	f, number := v.Float()
	switch {
	case v.Kind() == field.KindString:
		if strings.ContainsFunc(v.AsText(), func(r rune) bool { return r < ' ' || r == '\\' }) {
			return "", fmt.Errorf("%w: a text with control characters is not sent", field.ErrRange)
		}
		return v.AsText(), nil
	case v.Kind() == field.KindBool && v.AsBool():
		return "1", nil
	case v.Kind() == field.KindBool:
		return "0", nil
	case !number:
		return "", fmt.Errorf("%w: %s is no number", field.ErrRange, v)
	}
	raw := p.scaling.Invert(f)
	if p.form == textInt || p.form == textUint || p.form >= binInt && p.form != binFloat {
		if raw != math.Trunc(raw) || math.Abs(raw) > 1<<53 {
			return "", fmt.Errorf("%w: %s is no whole number of its steps", field.ErrRange, v)
		}
	}
	return strconv.FormatFloat(raw, 'f', -1, 64), nil
}
