package collect

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// TestWriteRules: each rule forbids by itself, nothing is sent then, and a write that is allowed is sent once.
func TestWriteRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, pump := r.device("pump", time.Second, "level", "flow")
		tags := []field.Tag{
			{Name: "level", Limits: &field.Limits{Max: 100, Step: 5, Every: 10 * time.Second}, Requires: map[string]string{"flow": "true"}},
			{Name: "flow"},
		}
		r.options.Devices[len(r.options.Devices)-1].Tags = tags
		pump.values = map[string]field.Value{"level": field.Float64(40), "flow": field.Bool(false)}
		r.run()
		time.Sleep(3 * time.Second)
		write := func(v float64, problem string) {
			t.Helper()
			before := pump.sent()
			try := r.loop.Try(t.Context(), "pump", "level", field.Float64(v))
			err := r.loop.Write(t.Context(), "pump", "level", field.Float64(v))
			switch {
			case problem == "" && (err != nil || try != nil || pump.sent() != before+1):
				t.Errorf("%v: %v (tried: %v), %d sent", v, err, try, pump.sent()-before)
			case problem != "" && (!errors.Is(err, field.ErrRefused) || try == nil || !strings.Contains(err.Error(), problem) || pump.sent() != before):
				t.Errorf("%v: %v (tried: %v), %d sent; want %q", v, err, try, pump.sent()-before, problem)
			}
		}
		write(42, "requires flow = true, and it is false")
		pump.says(func() { pump.values["flow"] = field.Bool(true) })
		write(46, "is a step of 6, and 5 is the most")
		write(44, "")
		write(44, "may be every 10s")
		time.Sleep(10 * time.Second)
		pump.says(func() { pump.quality = map[string]field.Quality{"flow": field.Exception} })
		write(44, "cannot be read")
		pump.says(func() { pump.quality = map[string]field.Quality{"level": field.Invalid} })
		write(44, "present value cannot be read")
		pump.says(func() { pump.quality = nil })
		write(45, "")
	})
}

// TestReadBack: a device that confirms and does something else is found out.
func TestReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, pump := r.device("pump", time.Second)
		r.options.Devices[len(r.options.Devices)-1].Tags = []field.Tag{{Name: "level", ReadBack: true, Scale: 0.1}}
		pump.values = map[string]field.Value{"level": field.Float64(42.5)}
		r.run()
		if err := r.loop.Write(t.Context(), "pump", "level", field.Float64(42.54)); err != nil {
			t.Errorf("rounded to a step: %v", err)
		}
		err := r.loop.Write(t.Context(), "pump", "level", field.Float64(44))
		if err == nil || errors.Is(err, field.ErrRefused) || !strings.Contains(err.Error(), "reads back 42.5 instead of 44") {
			t.Errorf("another value: %v", err)
		}
		pump.says(func() { pump.quality = map[string]field.Quality{"level": field.Exception} })
		if err := r.loop.Write(t.Context(), "pump", "level", field.Float64(44)); err == nil || !strings.Contains(err.Error(), "cannot be read back") {
			t.Errorf("not readable: %v", err)
		}
		if n := pump.sent(); n != 3 {
			t.Errorf("%d writes were sent, want 3: none is repeated", n)
		}
	})
}

// says changes what the station says.
func (s *station) says(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// sent counts the writes that it got.
func (s *station) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.written)
}
