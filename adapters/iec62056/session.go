package iec62056

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/meter"
)

// mostForeign bounds the readouts of other meters that one read passes over.
const mostForeign = 8

// window bounds what is looked at for one line or message, so that a flood of bytes costs little.
const window = 4 << 10

// longest bounds a readout; those of meters with load profiles have some ten thousand characters.
const longest = 256 << 10

// Read implements field.Station.
func (s *Station) Read(ctx context.Context, group string) (field.Record, error) {
	g := meter.Find(s.groups, group)
	if g == nil {
		return field.Record{}, fmt.Errorf("the device has no tags in the group %q", group)
	}
	reading := g.Begin(ctx)
	reading.Next()
	if s.registers {
		s.readRegisters(ctx, reading, g)
		return reading.Finish()
	}
	sets, err := s.readAll(ctx)
	if ok, _ := reading.Settle(err); ok {
		s.driver.ready = time.Now().Add(slowReaction)
		for _, p := range g.Points {
			s.give(reading, p, sets)
		}
	}
	return reading.Finish()
}

// give takes one point's value out of what was read; what is not there stays without.
func (s *Station) give(reading *meter.Reading[what], p *meter.Point[what], sets []dataSet) {
	v, ok := p.Where.place.find(sets)
	if !ok {
		return
	}
	if p.Text() {
		reading.Text(p, v.text)
		return
	}
	unit := p.Tag.Unit
	if p.Tag.Scale != 0 {
		unit = "" // the tag says itself what it makes of the meter's number
	}
	if n, ok := v.number(unit); ok {
		reading.Number(p, n)
	} else {
		reading.Mark(p, field.Invalid)
	}
}

// readAll reads the whole readout. One of another meter, as far as that shows, is passed over.
func (s *Station) readAll(ctx context.Context) ([]dataSet, error) {
	id, err := s.call(ctx)
	for n := 0; ; n++ {
		if err == nil && n == mostForeign {
			err = s.bad("only other meters answer")
		}
		if err != nil {
			return nil, err
		}
		var sets []dataSet
		if sets, err = s.follow(ctx, id); err != nil || s.own(sets) {
			return sets, err
		}
		id, err = s.hear(ctx, nil)
	}
}

// own says that a readout is this meter's, or does not tell whose it is.
func (s *Station) own(sets []dataSet) bool {
	if s.identify == nil {
		return true
	}
	v, ok := s.identify.find(sets)
	return ok && v.text == s.address
}

// call begins a session: it calls the meter at the first rate, and gives its identification. In mode D it waits for one.
func (s *Station) call(ctx context.Context) (identity, error) {
	if err := ctx.Err(); err != nil {
		return identity{}, err
	}
	if wait := time.Until(s.driver.ready); wait > 0 {
		if err := s.driver.sleep(ctx, wait); err != nil {
			return identity{}, err
		}
	}
	if err := s.setBaud(s.driver.start.Baud); err != nil {
		return identity{}, err
	}
	if s.mode == 'D' {
		return s.hear(ctx, nil)
	}
	return s.hear(ctx, request(s.address))
}

// hear sends what is to be sent, or nothing, and waits for an identification.
func (s *Station) hear(ctx context.Context, send []byte) (id identity, err error) {
	_, err = s.ask(ctx, send, func(got []byte) (start, end int) {
		for i := range got {
			if got[i] != '/' {
				continue
			}
			n := bytes.IndexByte(got[i:], '\n')
			if n < 0 {
				return 0, 0
			}
			var ok bool
			if id, ok = parseIdentity(trimEnd(got[i : i+n])); ok {
				return i, i + n + 1
			}
		}
		return 0, 0
	})
	return id, err
}

// ask sends, and waits for what find finds: where it starts and ends in what came, without parity; 0, 0 for not yet.
func (s *Station) ask(ctx context.Context, send []byte, find func(got []byte) (start, end int)) ([]byte, error) {
	// Nothing says which meter an identification or a readout is of: a late one would do for any other meter's.
	const twin = "any"
	q := meter.Question{Request: send, Secret: secret(send), Who: s.who, Twin: twin, Timeout: s.timeout, Stray: stray}
	if s.parity {
		q.Request = even(send)
	}
	if len(send) > 0 {
		q.Stats = &s.stats
	}
	if find != nil {
		q.Answer = func(got []byte) ([]byte, int, int, error) {
			start, end := find(plain(got[:min(len(got), window)]))
			if end == 0 {
				return nil, 0, 1, nil
			}
			return got[start:end], end, 0, nil
		}
	}
	answer, err := s.driver.talk.Ask(ctx, q)
	return plain(answer), err
}

// stray finds a late readout, to its check character.
func stray(got []byte) ([]byte, int, int, error) {
	for i := range got {
		if got[i]&low == etx && i+1 < len(got) {
			return got[:i+2], i + 2, 0, nil
		}
	}
	return nil, 0, 1, nil
}

// follow does what the identification asks for, and reads the data lines.
func (s *Station) follow(ctx context.Context, id identity) ([]dataSet, error) {
	mode, rate := s.mode, id.rate
	if mode == 0 {
		switch {
		case rate >= '0' && rate < '0'+byte(len(rates)):
			mode = 'C'
		case rate >= 'A' && rate <= 'F':
			mode = 'B'
		default:
			mode = 'A'
		}
	}
	switch mode {
	case 'B':
		if rate >= 'A' && rate <= 'F' {
			if err := s.setBaud(rates[rate-'A'+1]); err != nil {
				return nil, err
			}
		}
	case 'C':
		if err := s.choose(ctx, id, false); err != nil {
			return nil, err
		}
	case 'D':
		return s.lines(ctx, false)
	}
	return s.lines(ctx, true)
}

// choose acknowledges an identification and changes to the rate that it offers, or to the fastest that is wanted.
func (s *Station) choose(ctx context.Context, id identity, programming bool) error {
	n := int(id.rate) - '0'
	if n < 0 || n >= len(rates) {
		return s.bad("the identification has no rate of mode C")
	}
	for s.maxBaud > 0 && n > 0 && rates[n] > s.maxBaud {
		n--
	}
	reaction := slowReaction
	if id.quick() {
		reaction = quickReaction
	}
	if err := s.driver.sleep(ctx, reaction); err != nil {
		return err
	}
	if _, err := s.ask(ctx, option(byte('0'+n), programming), nil); err != nil {
		return err
	}
	return s.setBaud(rates[n])
}

// setBaud changes the line's rate, where it can. A rate that the port can't do is the meter's silence: others speak on the
// line.
func (s *Station) setBaud(baud int) error {
	m := s.driver.moder
	if m == nil {
		return nil
	}
	mode := s.driver.start
	mode.Baud = baud
	s.fast = mode.Char()
	if m.Mode() == mode {
		return nil
	}
	err := m.SetMode(mode)
	var down *link.DownError
	switch {
	case errors.As(err, &down):
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	case err != nil:
		return fmt.Errorf("%s: %w: %w", s.who, field.ErrSilent, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bad is an answer that is none.
func (s *Station) bad(why string) error {
	return fmt.Errorf("%s: %w to what was asked: %s", s.who, field.ErrSilent, why)
}

// lines reads data lines to the end of the readout. Each is waited for by itself: between two characters a meter may
// pause for 1500 ms. checked is for readouts with STX, ETX and check character.
func (s *Station) lines(ctx context.Context, checked bool) (sets []dataSet, err error) {
	var check byte
	total, ended := 0, false
	first := checked
	for {
		line, err := s.ask(ctx, nil, func(got []byte) (start, end int) { return piece(got, first) })
		if err != nil {
			return nil, err
		}
		total += len(line)
		if total > longest {
			return nil, s.bad("the readout does not end")
		}
		if first {
			line, first = line[1:], false // STX, which the check character leaves out
		}
		last := checked && len(line) > 1 && line[len(line)-2] == etx
		if last {
			s.readout = total
			switch {
			case check^bcc(line[:len(line)-1]) != line[len(line)-1]:
				return nil, s.bad("its check character is wrong")
			case !ended:
				return nil, s.bad("the readout is not whole: its end mark is missing")
			}
			return sets, nil
		}
		check ^= bcc(line)
		text := trimEnd(line)
		ended = ended || text == "!"
		if ended && !checked {
			s.readout = total
			return sets, nil
		}
		sets = append(sets, parseLine(text)...)
	}
}

// piece finds the next line, or ETX and the check character. The first one begins with STX; what stands before it is
// the echo of the acknowledgement, or noise of the change of rate.
func piece(got []byte, first bool) (start, end int) {
	if first {
		if start = bytes.IndexByte(got, stx); start < 0 {
			return 0, 0
		}
	}
	for i := start; i < len(got); i++ {
		switch {
		case got[i] == '\n':
			return start, i + 1
		case got[i] == etx && i+1 < len(got):
			return start, i + 2
		case got[i] == etx:
			return 0, 0
		}
	}
	return 0, 0
}

// readRegisters reads each point by itself, in programming mode. The session is not interrupted for others: the meter
// would not know that it goes on.
func (s *Station) readRegisters(ctx context.Context, reading *meter.Reading[what], g *meter.Group[what]) {
	err := s.enter(ctx)
	for _, p := range g.Points {
		if err != nil {
			break
		}
		var sets []dataSet
		sets, err = s.command(ctx, "R1", p.Where.place.whole()+"()")
		if err != nil {
			break
		}
		reading.Settle(nil)
		if errorOf(sets) == "" {
			s.give(reading, p, sets)
		}
	}
	if err != nil {
		reading.Settle(err)
	}
	if err == nil || ctx.Err() == nil {
		_, _ = s.ask(ctx, command("B0", ""), nil) // a meter that does not hear it leaves the session by itself
		s.driver.ready = time.Now().Add(slowReaction)
	}
}

// enter opens programming mode, with the password where one is known.
func (s *Station) enter(ctx context.Context) error {
	id, err := s.call(ctx)
	if err != nil {
		return err
	}
	if err := s.choose(ctx, id, true); err != nil {
		return err
	}
	if _, err := s.message(ctx, nil, soh); err != nil { // P0
		return err
	}
	if s.password == "" {
		return nil
	}
	sets, err := s.command(ctx, "P1", "("+s.password+")")
	if err != nil {
		return err
	}
	if text := errorOf(sets); text != "" {
		return refusal(text)
	}
	return nil
}

// command sends a programming command, and gives what the answer says; nothing for an acknowledgement.
func (s *Station) command(ctx context.Context, name, data string) ([]dataSet, error) {
	if err := s.driver.sleep(ctx, slowReaction); err != nil {
		return nil, err
	}
	sent := command(name, data)
	text, err := s.message(ctx, sent, stx)
	if err != nil {
		return nil, err
	}
	return parseLine(text), nil
}

// message sends, and waits for a message that begins with SOH or STX, or for an acknowledgement, which is "". A
// repeated request (NAK) is a refusal.
func (s *Station) message(ctx context.Context, send []byte, begins byte) (text string, err error) {
	wrong, refused := false, false
	_, err = s.ask(ctx, send, func(got []byte) (start, end int) {
		from := 0
		if len(send) > 0 && bytes.HasPrefix(got, send) {
			from = len(send) // the line's echo
		}
		for i := from; i < len(got); i++ {
			switch {
			case got[i] == begins:
				n := bytes.IndexByte(got[i:], etx)
				if n < 0 || i+n+1 >= len(got) {
					return 0, 0
				}
				body := got[i+1 : i+n+1]
				if wrong = bcc(body) != got[i+n+1]; wrong {
					continue
				}
				text = string(body[:len(body)-1])
				return i, i + n + 2
			case begins == stx && (got[i] == ack || got[i] == nak):
				refused = got[i] == nak
				return i, i + 1
			}
		}
		return 0, 0
	})
	switch {
	case err != nil && wrong:
		return "", s.bad("its check character is wrong")
	case err != nil:
		return "", err
	case refused:
		return "", &field.ExceptionError{Name: "the meter does not acknowledge"}
	}
	return text, nil
}

var _ moder = (*link.View)(nil)
