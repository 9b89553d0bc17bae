package dlt645

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
	sim "edgegateway/testbench/sim/dlt645"
)

// wired is a driver on a line in memory, with the simulator at its far end.
func wired(bus *sim.Bus) (*Driver, *fieldtest.Line) {
	line := &fieldtest.Line{Peer: func(request []byte) (chunks []fieldtest.Chunk) {
		_, out := bus.Take(request, true)
		for _, o := range out {
			chunks = append(chunks, fieldtest.Chunk{After: o.After, Bytes: o.Bytes})
		}
		return chunks
	}}
	return New(line), line
}

func bind(t *testing.T, d *Driver, dev field.Device) *Station {
	t.Helper()
	s, err := d.Bind(dev)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Station)
}

func read(t *testing.T, s *Station) field.Record {
	t.Helper()
	r, err := s.Read(t.Context(), field.MainGroup)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

const number = "000012345670"

// TestReadsBlocksSignsAndTexts: one request a block, the sign bit, dates, and what the meter has nothing of.
func TestReadsBlocksSignsAndTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		bus.Add(number, false).
			Set("0203FF00", "801234", "801000", "000034", "000268").
			Set("0202FF00", "805250", "000000", "FFFFFF").
			Set("02800002", "5001").Set("04000101", "26113001").Set("04000102", "140509").
			Set("04000402", "000012345670").Set("01010000", "2611301200012345").Set("05060101", "00012345", "00000045").
			Set("05010001", "2611300000")
		d, line := wired(bus)
		s := bind(t, d, field.Device{Address: number, Tags: []field.Tag{
			{Name: "p", At: "02030000"}, {Name: "p1", At: "02030100"}, {Name: "p2", At: "02030200", Scale: 1000, Unit: "W"}, {Name: "p3", At: "02030000", Scale: 1000},
			{Name: "i1", At: "02020100"}, {Name: "i3", At: "02020300"},
			{Name: "f", At: "02800002"}, {Name: "day", At: "04000101"}, {Name: "clock", At: "clock"}, {Name: "frozen", At: "freeze"},
			{Name: "no", At: "04000402"}, {Name: "demand", At: "01010000"}, {Name: "yesterday", At: "05060101"}, {Name: "none", At: "02800008"},
		}})
		r := read(t, s)
		want := []string{"-0.1234", "-0.1", "3.4", "-123.4", "-5.25", "null", "50.01", "2026-11-30", "2026-11-30 14:05:09", "2026-11-30 00:00",
			number, "1.2345", "123.45", "null"}
		for i, v := range r.Values {
			if v.String() != want[i] {
				t.Errorf("%s = %s, want %s", r.Group.Points[i].Name, v, want[i])
			}
		}
		if r.Quality[5] != field.Invalid || r.Quality[13] != field.Exception {
			t.Errorf("qualities %v", r.Quality)
		}
		if n := len(line.Requests); n != 11 {
			t.Errorf("%d requests, want 2 for the blocks, 2 for the clock and one each for the other 7", n)
		}
		if r.Group.Points[2].Unit != "W" || r.Group.Points[0].Unit != "kW" {
			t.Errorf("units %v", r.Group.Points)
		}
	})
}

// TestMeterWithoutBlocks: a refused block is read item by item, and not asked for again.
func TestMeterWithoutBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		bus.Add(number, false).Set("02010100", "2301").Set("02010200", "2302")
		d, line := wired(bus)
		s := bind(t, d, field.Device{Address: number, Tags: []field.Tag{{Name: "a", At: "02010100"}, {Name: "b", At: "02010200"}}})
		for _, requests := range []int{3, 5} {
			if r := read(t, s); r.Quality != nil || r.Values[0].String() != "230.1" || r.Values[1].String() != "230.2" {
				t.Errorf("%v %v", r.Values, r.Quality)
			}
			if len(line.Requests) != requests {
				t.Errorf("%d requests so far, want %d", len(line.Requests), requests)
			}
		}
	})
}

// TestAnswerInFrames: what does not fit one frame is read on, in both editions.
func TestAnswerInFrames(t *testing.T) {
	for _, c := range []struct {
		old          bool
		block, total string
		tags         []field.Tag
	}{
		{false, "0001FF00", "00010000", []field.Tag{{Name: "t", At: "00010000"}, {Name: "t2", At: "00010200"}, {Name: "t4", At: "00010400"}}},
		{true, "901F", "9010", []field.Tag{{Name: "t", At: "9010"}, {Name: "t2", At: "9012"}, {Name: "t4", At: "9014"}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			bus := sim.New(0)
			most := 8
			if c.old {
				most = 12 // an edition without numbers has two frames here
			}
			bus.Add(number, c.old).Frames(most).Set(c.block, "00000100", "00000010", "00000020", "00000030", "00000040")
			d, line := wired(bus)
			s := bind(t, d, field.Device{Address: number, Tags: c.tags})
			r := read(t, s)
			if got := []string{r.Values[0].String(), r.Values[1].String(), r.Values[2].String()}; !slices.Equal(got, []string{"1", "0.2", "0.4"}) {
				t.Errorf("old %v: %v %v", c.old, got, r.Quality)
			}
			if want := (20 + most - 1) / most; len(line.Requests) != want {
				t.Errorf("old %v: %d requests, want %d", c.old, len(line.Requests), want)
			}
		})
	}
}

// TestWrite: password, operator, refusals by name, clock and freeze.
func TestWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		m := bus.Add(number, false).Set("04000103", "00").Set("00010000", "00000001")
		d, line := wired(bus)
		d.now = func() time.Time { return time.Date(2026, 11, 30, 14, 5, 9, 0, time.UTC) }
		tags := []field.Tag{
			{Name: "minutes", At: "04000103", Type: "XX", Write: true}, {Name: "clock", At: "clock", Write: true},
			{Name: "freeze", At: "freeze", Write: true}, {Name: "energy", At: "00010000"}, {Name: "gone", At: "04000104", Type: "XX", Write: true},
		}
		s := bind(t, d, field.Device{Address: number, Tags: tags, Secret: "02123456"})
		for _, c := range []struct {
			tag string
			v   field.Value
		}{{"minutes", field.Float64(15)}, {"clock", field.Text("now")}, {"clock", field.Text("2027-01-02 03:04:05")},
			{"freeze", field.Text("now")}, {"freeze", field.Text("99010000")}} {
			if err := s.Write(t.Context(), c.tag, c.v); err != nil {
				t.Errorf("%s = %s: %v", c.tag, c.v, err)
			}
		}
		if w := m.Writes(); !slices.Equal(w, []string{"04000103=15"}) {
			t.Errorf("written %q", w)
		}
		if w := bus.Times(); !slices.Equal(w, []string{"261130140509", "270102030405"}) {
			t.Errorf("times %q", w)
		}
		if w := m.Freezes(); !slices.Equal(w, []string{"99999999", "99010000"}) {
			t.Errorf("freezes %q", w)
		}
		m.Deaf()
		if err := s.Write(t.Context(), "clock", field.Text("2026-11-30 14:05:00")); err == nil || !strings.Contains(err.Error(), `it shows "2027-01-02 03:04:05"`) {
			t.Errorf("a meter that does not take the time: %v", err)
		}
		sent := len(line.Requests)
		var refused *field.ExceptionError
		if err := s.Write(t.Context(), "gone", field.Float64(1)); !errors.As(err, &refused) || refused.Name != "no such data" {
			t.Errorf("an item that is not there: %v", err)
		}
		m.Password("04000000")
		if err := s.Write(t.Context(), "minutes", field.Float64(1)); !errors.As(err, &refused) || refused.Name != "wrong password or not allowed" {
			t.Errorf("a wrong password: %v", err)
		}
		sent += 2
		for _, c := range []struct {
			tag  string
			v    field.Value
			want error
			says string
		}{
			{"minutes", field.Float64(100), field.ErrRange, "0 to 99"},
			{"clock", field.Text("noon"), field.ErrRange, "now"},
			{"freeze", field.Text("9901"), field.ErrRange, "99 for every"},
			{"energy", field.Float64(1), field.ErrReadOnly, "writable list"},
			{"none", field.Float64(1), field.ErrUnknownTag, "none"},
		} {
			if err := s.Write(t.Context(), c.tag, c.v); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s = %s: %v, want %v with %q", c.tag, c.v, err, c.want, c.says)
			}
		}
		m.Silent(true)
		if err := s.Write(t.Context(), "minutes", field.Float64(1)); !errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), "not known") {
			t.Errorf("a silent meter: %v", err)
		}
		if len(line.Requests) != sent+1 {
			t.Errorf("%d requests, want %d: what is refused here is not sent, and silence is not asked again", len(line.Requests), sent+1)
		}
		s = bind(t, d, field.Device{Address: number, Tags: tags})
		if err := s.Write(t.Context(), "minutes", field.Float64(1)); !errors.Is(err, field.ErrReadOnly) || !strings.Contains(err.Error(), `key "password"`) {
			t.Errorf("without a password: %v", err)
		}
	})
}

// TestWrite1997: the frame of the older edition, what its meter refuses and why, and the value read back.
func TestWrite1997(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		m := bus.Add(number, true).Set("C031", "00000000").Set("B612", "0230")
		d, line := wired(bus)
		dev := field.Device{Address: number, Secret: "02123456", Tags: []field.Tag{
			{Name: "constant", At: "C031", Type: "XXXXXX.XX", Write: true}, {Name: "gone", At: "C117", Type: "NNNN", Write: true}}}
		s := bind(t, d, dev)
		if err := s.Write(t.Context(), "constant", field.Float64(1200.5)); err != nil {
			t.Fatal(err)
		}
		if w := m.Writes(); !slices.Equal(w, []string{"C031=00120050"}) {
			t.Errorf("written %q", w)
		}
		if r := read(t, s); r.Values[0] != field.Float64(1200.5) {
			t.Errorf("read back %v (%v)", r.Values, r.Quality)
		}
		var refused *field.ExceptionError
		if err := s.Write(t.Context(), "gone", field.Text("0100")); !errors.As(err, &refused) || *refused != (field.ExceptionError{Code: 2, Name: "no such identifier"}) {
			t.Errorf("an item that is not there: %v", err)
		}
		m.Password("04000000")
		if err := s.Write(t.Context(), "constant", field.Float64(1)); !errors.As(err, &refused) || *refused != (field.ExceptionError{Code: 4, Name: "wrong password"}) {
			t.Errorf("a wrong password: %v", err)
		}
		sent := len(line.Requests)
		if err := s.Write(t.Context(), "constant", field.Float64(1e6)); !errors.Is(err, field.ErrRange) || len(line.Requests) != sent {
			t.Errorf("a value that does not fit: %v, %d requests", err, len(line.Requests)-sent)
		}
		m.Silent(true)
		if err := s.Write(t.Context(), "constant", field.Float64(1)); !errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), "not known") || len(line.Requests) != sent+1 {
			t.Errorf("a silent meter: %v, %d requests", err, len(line.Requests)-sent)
		}
		dev.Secret = ""
		if err := bind(t, d, dev).Write(t.Context(), "constant", field.Float64(1)); !errors.Is(err, field.ErrReadOnly) || !strings.Contains(err.Error(), `key "password"`) {
			t.Errorf("without a password: %v", err)
		}
	})
}

// TestScan finds one meter by the wildcard, several through their digits, and one of 1997.
func TestScan(t *testing.T) {
	for _, c := range []struct {
		name   string
		meters []string
		old    int // how many of them are of 1997
		most   int // requests
	}{
		{"nobody", nil, 0, 2},
		{"one", []string{number}, 0, 2},
		{"one of 1997", []string{number}, 1, 2},
		{"several", []string{number, "000012345671", "000012355671", "990012345671"}, 0, 810},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := sim.New(0)
				for i, a := range c.meters {
					bus.Add(a, i < c.old).Set("00010000", "00000001").Set("9010", "00000001")
				}
				d, line := wired(bus)
				var found []string
				var done, total int
				err := d.Scan(t.Context(), field.ScanOptions{}, func(f field.Found) { found = append(found, f.Address) },
					func(d, n int) { done, total = d, n })
				slices.Sort(found)
				want := slices.Clone(c.meters)
				slices.Sort(want)
				if err != nil || !slices.Equal(found, want) || done != total || len(line.Requests) > c.most {
					t.Errorf("found %q (%v) with %d requests, %d of %d, want %q", found, err, len(line.Requests), done, total, want)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // in two modes: the line is in its own in every pause, and afterwards
		bus := sim.New(0)
		bus.Add(number, false)
		_, line := wired(bus)
		own, _ := link.ParseMode("9600 8N1")
		rated := &rated{Line: line, mode: own}
		pauses := 0
		ctx := field.WithPause(t.Context(), func() {
			if pauses++; rated.mode != own {
				t.Errorf("in a pause the line is at %v", rated.mode)
			}
		})
		var found []field.Found
		err := New(rated).Scan(ctx, field.ScanOptions{Modes: []string{"2400 8E1", "4800 8E1"}}, func(f field.Found) { found = append(found, f) }, func(int, int) {})
		if err != nil || len(found) != 1 || found[0].Mode != "2400 8E1" || rated.mode != own || pauses != 3 || !slices.Equal(rated.bauds, []int{2400, 9600, 2400, 9600, 4800, 9600, 4800, 9600}) {
			t.Errorf("%+v %v, %d pauses, %v", found, err, pauses, rated.bauds)
		}
		var wrong *field.DeviceError
		if err := New(line).Scan(ctx, field.ScanOptions{Modes: []string{"2400 8E1"}}, nil, nil); !errors.As(err, &wrong) {
			t.Errorf("modes on a line without: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d, _ := wired(sim.New(0))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.Scan(ctx, field.ScanOptions{}, func(field.Found) {}, func(int, int) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who has gone: %v", err)
		}
	})
}

// TestCost: what is foretold is what is sent.
func TestCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		bus.Add(number, false).Set("0201FF00", "2301", "2302", "2303").Set("00010000", "00012345")
		d, line := wired(bus)
		s := bind(t, d, field.Device{Address: number, Tags: []field.Tag{
			{Name: "a", At: "02010100"}, {Name: "c", At: "02010300"}, {Name: "e", At: "00010000"}}})
		if c := s.Cost(field.MainGroup); c.Received != (4+12+4+6)+(4+12+4+4) {
			t.Errorf("%+v, before the meter was met", c)
		}
		read(t, s)
		sent := 0
		for _, r := range line.Requests {
			sent += len(r)
		}
		c := s.Cost(field.MainGroup)
		if c.Exchanges != len(line.Requests) || c.Sent != sent || c.Received != (12+4+6)+(12+4+4) { // wake-up bytes are in the turnaround
			t.Errorf("%+v, and %d requests with %d bytes were sent", c, len(line.Requests), sent)
		}
		if c.Pause != 40*time.Millisecond || c.Timeout != time.Second {
			t.Errorf("%+v: two answers of 20 ms", c)
		}
	})
}

// rated is a line in memory whose mode can be changed.
type rated struct {
	*fieldtest.Line
	mode  link.Mode
	bauds []int
}

func (r *rated) Mode() link.Mode { return r.mode }
func (r *rated) SetMode(m link.Mode) error {
	r.mode = m
	r.bauds = append(r.bauds, m.Baud)
	return nil
}
