package modbus

import (
	"context"

	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// read reads the main group and wants it to succeed.
func read(t testing.TB, s *Station) field.Record {
	t.Helper()
	r, err := s.Read(context.Background(), field.MainGroup)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

// exceptions lists the points that have the quality.
func exceptions(r field.Record, q field.Quality) (names []string) {
	for i, p := range r.Group.Points {
		if r.QualityOf(i) == q {
			names = append(names, p.Name)
		}
	}
	return names
}

// TestRefusedAddress: one bad address of a hundred costs a few requests once, then its own point alone.
func TestRefusedAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		for i := range 200 {
			d.regs[register.Holding][i] = uint16(i)
		}
		d.missing = []register.Span{{Space: register.Holding, Start: 137, Count: 1}}
		s, _ := wired(t, d, field.Device{Tags: registers(100, 100)})
		check := func(when string, requests int, refused ...string) {
			t.Helper()
			r := read(t, s)
			if n := len(d.asks()); n != requests {
				t.Errorf("%s: %d requests, want %d", when, n, requests)
			}
			if got := exceptions(r, field.Exception); !slices.Equal(got, refused) {
				t.Errorf("%s: exceptions %v, want %v", when, got, refused)
			}
			for i := range r.Values {
				if r.QualityOf(i) == field.Good && r.Values[i] != field.Uint(uint64(100+i)) {
					t.Errorf("%s: %s is %v", when, r.Group.Points[i].Name, r.Values[i])
				}
			}
		}
		// 100 → 50 → 25 → 13 → 6 → 3 → 1: the whole and six pairs of halves.
		check("at first", 13, "r137")
		for range 3 {
			check("afterwards", 2, "r137")
		}
		if n := s.Stats().Refused; n != 1 {
			t.Errorf("%d points refused, want 1", n)
		}
		for believed := firstLesson; believed < lessonTime; believed *= 2 {
			time.Sleep(believed - time.Second)
			check("before "+believed.String(), 2, "r137")
			time.Sleep(time.Second)
			check("after "+believed.String(), 13, "r137")
		}
		time.Sleep(lessonTime - time.Second)
		check("before a day is over", 2, "r137")
		time.Sleep(time.Second)
		check("a day later", 13, "r137")
		d.missing = nil
		check("repaired, not known yet", 2, "r137")
		time.Sleep(lessonTime)
		check("repaired", 1)
		if n := s.Stats().Refused; n != 0 {
			t.Errorf("%d points refused, want none", n)
		}
	})
}

// TestAllRefused: the search is bounded, goes on with the next Read, and leaves one sign of life.
func TestAllRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		d.missing = []register.Span{{Space: register.Holding, Start: 0, Count: 1000}}
		s, line := wired(t, d, field.Device{Tags: registers(0, 125)})
		reads := 0
		for s.Stats().Refused < 125 {
			if reads++; reads > 20 {
				t.Fatalf("after %d reads only %d points are known to be refused", reads, s.Stats().Refused)
			}
			if r := read(t, s); len(exceptions(r, field.Exception)) != 125 {
				t.Fatalf("qualities %v", r.Quality)
			}
			if n := len(d.asks()); n > divisions+2 {
				t.Fatalf("one Read took %d requests", n)
			}
		}
		read(t, s)
		if n := len(d.asks()); n != 1 {
			t.Errorf("%d requests when everything is refused, want one as a sign of life", n)
		}
		line.Peer = nil
		r, err := s.Read(t.Context(), field.MainGroup)
		if !errors.Is(err, field.ErrSilent) || len(exceptions(r, field.Timeout)) != 125 {
			t.Errorf("the device died: %v, %v", err, r.Quality)
		}
	})
}

// TestRefusesWhileItStarts: a device that starts may refuse everything for some seconds, also one that was read for long
// before. That must not cost a day.
func TestRefusesWhileItStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		s, _ := wired(t, d, field.Device{Tags: registers(0, 20)})
		all := []register.Span{{Space: register.Holding, Start: 0, Count: 1000}}
		for _, quiet := range []time.Duration{0, time.Hour, 90 * 24 * time.Hour} {
			time.Sleep(quiet)
			if r := read(t, s); r.Quality != nil {
				t.Fatalf("%v after the last time: %v", quiet, r.Quality)
			}
			d.missing = all
			for range 20 {
				read(t, s)
				time.Sleep(time.Second)
			}
			d.missing = nil
			time.Sleep(firstLesson)
			if r := read(t, s); r.Quality != nil {
				t.Errorf("a minute after it started: %v", r.Quality)
			}
		}
	})
}

// TestLearnedHole: registers that nobody asked for and that the device has not are not read through twice.
func TestLearnedHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		d.missing = []register.Span{{Space: register.Holding, Start: 15, Count: 1}}
		s, _ := wired(t, d, field.Device{Tags: append(registers(0, 10), registers(20, 10)...)})
		if r := read(t, s); r.Quality != nil {
			t.Errorf("qualities %v", r.Quality)
		}
		d.asks()
		read(t, s)
		if got, want := d.asks(), []register.Span{{Space: register.Holding, Start: 0, Count: 10}, {Space: register.Holding, Start: 20, Count: 10}}; !slices.Equal(got, want) {
			t.Errorf("asked for %v, want %v", got, want)
		}
	})
}

// TestLearnedLimit: a device that gives less than the specification allows is asked for less.
func TestLearnedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		d.most = 40
		s, _ := wired(t, d, field.Device{Tags: registers(0, 100)})
		if r := read(t, s); r.Quality != nil {
			t.Errorf("qualities %v", r.Quality)
		}
		d.asks()
		if r := read(t, s); r.Quality != nil {
			t.Errorf("qualities %v", r.Quality)
		}
		if asked := d.asks(); len(asked) > 4 {
			t.Errorf("asked for %v", asked)
		}
	})
}

// TestIllegalFunction: a space that the device does not serve is given up at once.
func TestIllegalFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		d.force[3] = 1
		s, _ := wired(t, d, field.Device{Tags: append(registers(0, 20), field.Tag{Name: "c", At: "coil 50"})})
		for _, want := range []int{2, 1} {
			if r := read(t, s); len(exceptions(r, field.Exception)) != 20 || r.QualityOf(20) != field.Good {
				t.Errorf("qualities %v", r.Quality)
			}
			if n := len(d.asks()); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		}
	})
}

// TestBusy: what passes is not held against the device.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		s, _ := wired(t, d, field.Device{Tags: registers(0, 20)})
		for _, code := range []byte{4, 5, 6, 8} {
			d.force[3] = code
			if r := read(t, s); len(exceptions(r, field.Exception)) != 20 {
				t.Errorf("exception %d: qualities %v", code, r.Quality)
			}
			delete(d.force, 3)
			if r := read(t, s); r.Quality != nil {
				t.Errorf("after exception %d: qualities %v", code, r.Quality)
			}
			if n := len(d.asks()); n != 2 {
				t.Errorf("exception %d: %d requests for two reads", code, n)
			}
		}
	})
}

// TestAbsent: the gateway's report that nobody is there ends the Read, as silence does.
func TestAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []byte{10, 11} {
			d := newDevice(TCP)
			d.force[0] = code
			s, _ := wired(t, d, field.Device{Tags: append(registers(0, 5), registers(500, 5)...)})
			r, err := s.Read(t.Context(), field.MainGroup)
			var exception *field.ExceptionError
			if !errors.Is(err, field.ErrAbsent) || !errors.As(err, &exception) || exception.Code != int(code) {
				t.Errorf("exception %d: %v", code, err)
			}
			if n := len(d.asks()); n != 1 || len(exceptions(r, field.Timeout)) != 10 {
				t.Errorf("exception %d: %d requests, qualities %v", code, n, r.Quality)
			}
			if err := s.Probe(t.Context()); !errors.Is(err, field.ErrAbsent) {
				t.Errorf("exception %d: Probe: %v", code, err)
			}
		}
	})
}

// TestSilentBlock: one timeout a Read, whatever there is left to ask; what was read before stays.
func TestSilentBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		d.silent[500] = true
		tags := slices.Concat(registers(0, 3), registers(500, 3), registers(1000, 3), registers(2000, 3))
		s, _ := wired(t, d, field.Device{Tags: tags, Timeout: time.Second})
		began := time.Now()
		r := read(t, s)
		if took := time.Since(began); took != time.Second {
			t.Errorf("the Read took %v, want one timeout", took)
		}
		if n := len(d.asks()); n != 2 || len(exceptions(r, field.Good)) != 3 || len(exceptions(r, field.Timeout)) != 9 {
			t.Errorf("%d requests, qualities %v", n, r.Quality)
		}
	})
}

// TestPause: a command gets in between two requests, on the same station.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		tags := slices.Concat(registers(0, 3), registers(500, 3), registers(1000, 3))
		tags[0].Write = true
		s, _ := wired(t, d, field.Device{Tags: tags})
		pauses := 0
		ctx := field.WithPause(t.Context(), func() {
			pauses++
			if err := s.Write(t.Context(), "r0", field.Int(7)); err != nil {
				t.Errorf("Write in a pause: %v", err)
			}
		})
		r, err := s.Read(ctx, field.MainGroup)
		if err != nil || r.Quality != nil || pauses != 2 || len(d.wrote) != 2 {
			t.Errorf("%v, qualities %v, %d pauses, wrote %v", err, r.Quality, pauses, d.wrote)
		}
	})
}

// TestReplan: once the turnaround is known a gap may be cheaper than a request; the shapes stay.
func TestReplan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		d.delay = 20 * time.Millisecond
		s, line := wired(t, d, field.Device{Tags: append(registers(0, 2), registers(18, 2)...)})
		line.Wire = timing(9600)
		s.replan()
		shape := s.Groups()[0]
		read(t, s)
		if asked := d.asks(); len(asked) != 2 {
			t.Errorf("at first: %v", asked)
		}
		read(t, s)
		if asked := d.asks(); len(asked) != 1 {
			t.Errorf("with a turnaround of %v: %v", s.Stats().Turnaround, asked)
		}
		if s.Groups()[0] != shape {
			t.Error("the shape changed")
		}
	})
}

// TestRest: a device that wants a pause after each answer gets it.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		s, _ := wired(t, d, field.Device{Tags: append(registers(0, 2), registers(500, 2)...), Quirks: map[string]string{"pause": "30ms"}})
		began := time.Now()
		read(t, s)
		if took := time.Since(began); took != 30*time.Millisecond {
			t.Errorf("two requests took %v, want one pause between them", took)
		}
	})
}

// TestGuardTellsFunctionsApart: only a request that the late answer would fit waits for it.
func TestGuardTellsFunctionsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(RTU)
		d.silent[0] = true
		s, line := wired(t, d, field.Device{Tags: append(registers(0, 2), field.Tag{Name: "c", At: "coil 500", Group: field.SlowGroup})})
		if _, err := s.Read(t.Context(), field.MainGroup); !errors.Is(err, field.ErrSilent) {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context(), field.SlowGroup); err != nil || line.Listened != 0 {
			t.Errorf("another function: %v, listened %d times", err, line.Listened)
		}
		delete(d.silent, 0)
		if read(t, s); line.Listened != 1 {
			t.Errorf("the same function: listened %d times", line.Listened)
		}
		if read(t, s); line.Listened != 1 {
			t.Errorf("after an answer: listened %d times", line.Listened)
		}
	})
}

// TestSpaces reads bits and registers of all four spaces.
func TestSpaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, f := range []Framing{RTU, TCP} {
			d := newDevice(f)
			d.regs = [4]map[int]uint16{register.Coil: {8: 1, 17: 1}, register.Discrete: {3: 1}, register.Input: {1: 10}, register.Holding: {1: 20}}
			s, _ := wired(t, d, field.Device{Tags: []field.Tag{
				{Name: "h", At: "holding 1", Type: "uint16"}, {Name: "i", At: "input 1", Type: "uint16"},
				{Name: "d", At: "discrete 3"}, {Name: "c17", At: "coil 17"}, {Name: "c8", At: "coil 8"}, {Name: "c9", At: "coil 9", Type: "bool"},
			}})
			want := []field.Value{field.Uint(20), field.Uint(10), field.Bool(true), field.Bool(true), field.Bool(true), field.Bool(false)}
			if r := read(t, s); !slices.Equal(r.Values, want) {
				t.Errorf("%v: %v, want %v", f, r.Values, want)
			}
		}
	})
}

// TestReadAllocates holds the cost of a read in the steady state.
func TestReadAllocates(t *testing.T) {
	d := newDevice(TCP)
	s, _ := wired(t, d, field.Device{Tags: registers(0, 100)})
	s.driver.line = answering{Line: s.driver.line, answer: make([]byte, 9+200)}
	got := testing.AllocsPerRun(100, func() {
		if r := read(t, s); r.Quality != nil {
			t.Fatal(r.Quality)
		}
	})
	if got > 1 {
		t.Errorf("a read allocates %v times, want once, for its values", got)
	}
}
