// Package fieldtest is the contract of field.Driver and field.Station as a suite of tests: what each must yield when
// the device is silent, garbled, late, short of data, or another one than was asked, when the caller gives up, and
// when there is no line. Every driver that works on a link.Line runs it; a driver's own test is about twenty lines.
//
// It promises that a driver which passes gives no value that was not in an answer to that very request, and says why
// where it gives none. It is imported by tests only.
package fieldtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// Subject is one protocol, as the suite has to know it.
type Subject struct {
	// Driver makes a driver on a line, which may be nil.
	Driver func(link.Line) field.Driver
	// Device has a Timeout and a main group that one request reads.
	Device field.Device
	// Want is what the main group's points are in the given round: different ones in each round.
	Want func(round int) []field.Value
	// Answer is the device's right answer to a request, with the values of the given round.
	Answer func(request []byte, round int) []byte
	// Refuse is the device's answer that it does not have what is asked; nil where the protocol knows none.
	Refuse func(request []byte) []byte
	// Foreign makes of a right answer what another device would have sent, whole and sound.
	Foreign func(answer []byte) []byte
	// Short makes of a right answer a sound one that lacks some of what was asked.
	Short func(answer []byte) []byte
	// Stream says that the protocol runs on a Stream line, where there is no noise and no echo.
	Stream bool
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, c := range []struct {
		name   string
		run    func(*bench)
		serial bool // makes no sense on a stream
	}{
		{"binds without a line", bindOnly, false},
		{"good answer", good, false},
		{"answer in pieces", pieces, false},
		{"silence", silence, false},
		{"silence, then an answer", recovery, false},
		{"garbage", garbage, true},
		{"noise before the answer", noise, true},
		{"echo before the answer", echo, true},
		{"echo and nothing else", echoOnly, true},
		{"answer of another device", foreign, false},
		{"answer of another device before ours", foreignFirst, false},
		{"late answer", late, false},
		{"very late answer", veryLate, false},
		{"short answer", short, false},
		{"refusal", refusal, false},
		{"cancelled while waiting", cancelled, false},
		{"cancelled before", cancelledBefore, false},
		{"line down", down, false},
		{"probe", probe, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.serial && s.Stream {
				t.Skip("a stream has no noise and no echo")
			}
			synctest.Test(t, func(t *testing.T) { c.run(newBench(t, s)) })
		})
	}
}

// bench is one station on a line of its own.
type bench struct {
	*testing.T
	Subject
	line    *Line
	station field.Station
	round   int // of the next answer
}

func newBench(t *testing.T, s Subject) *bench {
	b := &bench{T: t, Subject: s, line: &Line{Stream: s.Stream}, round: 1}
	station, err := s.Driver(b.line).Bind(s.Device)
	if err != nil {
		t.Fatalf("Bind: %v", err)
	}
	b.station = station
	return b
}

// whole lets the device answer rightly, with what other does to each answer.
func (b *bench) whole(other func(request, answer []byte) []Chunk) {
	b.line.Peer = func(request []byte) []Chunk {
		answer := b.Answer(request, b.round)
		if other == nil {
			return []Chunk{{0, answer}}
		}
		return other(request, answer)
	}
}

func (b *bench) read() (field.Record, error) {
	b.Helper()
	r, err := b.station.Read(b.Context(), field.MainGroup)
	if r.Group != b.station.Groups()[0] || r.Group.Name != field.MainGroup {
		b.Fatalf("the record's group is %v, not the station's first", r.Group)
	}
	if len(r.Values) != len(r.Group.Points) || r.Quality != nil && len(r.Quality) != len(r.Values) {
		b.Fatalf("%d values and %d qualities for %d points", len(r.Values), len(r.Quality), len(r.Group.Points))
	}
	for i, p := range r.Group.Points {
		v, good := r.Values[i], r.QualityOf(i) == field.Good
		if good && v.Kind() != p.Kind || !good && !v.IsNull() {
			b.Errorf("point %q, which is a %s, is %s (%s) with quality %s", p.Name, p.Kind, v, v.Kind(), r.QualityOf(i))
		}
	}
	return r, err
}

// gives reads and wants the values of a round.
func (b *bench) gives(round int) {
	b.Helper()
	r, err := b.read()
	if err != nil {
		b.Fatalf("Read: %v", err)
	}
	if want := b.Want(round); !slices.Equal(r.Values, want) || r.Quality != nil {
		b.Fatalf("values %v, qualities %v, want %v and all good", r.Values, r.Quality, want)
	}
}

// fails reads and wants an error, and one quality for every point.
func (b *bench) fails(want error, q field.Quality) {
	b.Helper()
	r, err := b.read()
	if !errors.Is(err, want) {
		b.Errorf("Read: error %v, want one that is %q", err, want)
	}
	b.all(r, q)
}

func (b *bench) all(r field.Record, q field.Quality) {
	b.Helper()
	for i, p := range r.Group.Points {
		if r.QualityOf(i) != q || !r.Values[i].IsNull() {
			b.Errorf("point %q: %v with quality %s, want none with %s", p.Name, r.Values[i], r.QualityOf(i), q)
		}
	}
}

func bindOnly(b *bench) {
	station, err := b.Driver(nil).Bind(b.Device)
	if err != nil {
		b.Fatalf("Bind: %v", err)
	}
	if _, err := station.Read(b.Context(), field.MainGroup); !errors.Is(err, field.ErrLine) {
		b.Errorf("Read without a line: %v, want %v", err, field.ErrLine)
	}
	if len(b.line.Requests) > 0 {
		b.Errorf("Bind sent % x", b.line.Requests)
	}
	for i, g := range b.station.Groups() {
		if again := b.station.Groups()[i]; again != g {
			b.Errorf("Groups()[%d] is %p and then %p", i, g, again)
		}
	}
}

func good(b *bench) {
	b.whole(nil)
	b.gives(1)
	b.round = 2
	b.gives(2)
	if n := len(b.line.Requests); n != 2 {
		b.Errorf("two reads took %d requests", n)
	}
}

func pieces(b *bench) {
	for cut := 1; cut < len(b.Answer(b.firstRequest(), 1)); cut++ {
		b.whole(func(_, a []byte) []Chunk { return []Chunk{{0, a[:cut]}, {30 * time.Millisecond, a[cut:]}} })
		b.gives(b.round)
	}
}

// firstRequest is the request that a read of the main group sends.
func (b *bench) firstRequest() []byte {
	b.whole(nil)
	b.gives(b.round)
	return b.line.Requests[len(b.line.Requests)-1]
}

func silence(b *bench) {
	began := time.Now()
	b.fails(field.ErrSilent, field.Timeout)
	if n, took := len(b.line.Requests), time.Since(began); n != 1 || took != b.Device.Timeout {
		b.Errorf("a silent device cost %d requests and %v, want one and its timeout of %v", n, took, b.Device.Timeout)
	}
}

func recovery(b *bench) {
	b.fails(field.ErrSilent, field.Timeout)
	b.whole(nil)
	b.gives(1)
}

func garbage(b *bench) {
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{0, invert(a)}} })
	b.fails(field.ErrSilent, field.Timeout)
	b.whole(nil)
	b.gives(1)
}

func noise(b *bench) {
	for n := 1; n <= 8; n++ {
		b.whole(func(_, a []byte) []Chunk { return []Chunk{{0, append(invert(a)[:n], a...)}} })
		b.gives(1)
	}
}

func invert(a []byte) []byte {
	out := make([]byte, len(a))
	for i := range a {
		out[i] = ^a[i]
	}
	return out
}

func echo(b *bench) {
	b.whole(func(r, a []byte) []Chunk { return []Chunk{{0, append(slices.Clone(r), a...)}} })
	b.gives(1)
	b.whole(func(r, a []byte) []Chunk { return []Chunk{{0, r}, {40 * time.Millisecond, a}} })
	b.gives(1)
}

func echoOnly(b *bench) {
	b.line.Peer = func(r []byte) []Chunk { return []Chunk{{0, r}} }
	b.fails(field.ErrSilent, field.Timeout)
}

func foreign(b *bench) {
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{0, b.Foreign(a)}} })
	b.fails(field.ErrSilent, field.Timeout)
}

func foreignFirst(b *bench) {
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{0, append(b.Foreign(a), a...)}} })
	b.gives(1)
}

// late holds an answer back until its request was given up and the next one is due.
func late(b *bench) {
	for _, delay := range []time.Duration{1, b.Device.Timeout / 4} {
		b.whole(func(_, a []byte) []Chunk { return []Chunk{{b.Device.Timeout + delay, a}} })
		b.fails(field.ErrSilent, field.Timeout)
		b.round++
		b.whole(nil)
		b.gives(b.round)
		b.round++
		b.gives(b.round)
	}
}

// veryLate lets the late answer come while the next request waits for its own.
func veryLate(b *bench) {
	wait := b.Device.Timeout
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{wait + wait/4, a}} })
	b.fails(field.ErrSilent, field.Timeout)
	b.round++
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{wait / 2, a}} })
	b.gives(b.round)
}

func short(b *bench) {
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{0, b.Short(a)}} })
	b.fails(field.ErrSilent, field.Timeout)
}

func refusal(b *bench) {
	if b.Refuse == nil {
		b.Skip("the protocol has no refusal")
	}
	b.line.Peer = func(r []byte) []Chunk { return []Chunk{{0, b.Refuse(r)}} }
	r, err := b.read()
	if err != nil {
		b.Errorf("Read: %v, but the device answered", err)
	}
	b.all(r, field.Exception)
}

func cancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	wait := b.Device.Timeout / 2
	time.AfterFunc(wait, cancel)
	began := time.Now()
	b.whole(func(_, a []byte) []Chunk { return []Chunk{{b.Device.Timeout, a}} })
	r, err := b.station.Read(ctx, field.MainGroup)
	if !errors.Is(err, context.Canceled) || time.Since(began) != wait {
		b.Errorf("Read: %v after %v, want %v after %v", err, time.Since(began), context.Canceled, wait)
	}
	b.all(r, field.Timeout)
	b.round++
	b.whole(nil)
	b.gives(b.round)
}

func cancelledBefore(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	b.whole(nil)
	if _, err := b.station.Read(ctx, field.MainGroup); !errors.Is(err, context.Canceled) {
		b.Errorf("Read: %v, want %v", err, context.Canceled)
	}
	if len(b.line.Requests) > 0 {
		b.Error("a request was sent for a caller who had gone")
	}
}

func down(b *bench) {
	b.line.Down(errors.New("unplugged"))
	b.fails(field.ErrLine, field.Offline)
	b.line.Down(nil)
	b.whole(nil)
	b.gives(1)
}

func probe(b *bench) {
	p, ok := b.station.(field.Prober)
	if !ok {
		b.Skip("the station is no Prober")
	}
	if err := p.Probe(b.Context()); !errors.Is(err, field.ErrSilent) {
		b.Errorf("Probe of a silent device: %v, want %v", err, field.ErrSilent)
	}
	b.whole(nil)
	if err := p.Probe(b.Context()); err != nil {
		b.Errorf("Probe: %v", err)
	}
	if b.Refuse == nil {
		return
	}
	b.line.Peer = func(r []byte) []Chunk { return []Chunk{{0, b.Refuse(r)}} }
	if err := p.Probe(b.Context()); err != nil {
		b.Errorf("Probe of a device that refuses: %v, but it answered", err)
	}
}
