package iec62056

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
	sim "edgegateway/testbench/sim/iec62056"
)

// rated is a line in memory whose rate can be changed: what is sent at another rate than the meter's does not reach it.
type rated struct {
	fieldtest.Line
	mode  link.Mode
	meter *sim.Meter
	rates []int // that the line was set to
}

func (r *rated) Mode() link.Mode { return r.mode }
func (r *rated) SetMode(m link.Mode) error {
	r.mode = m
	r.rates = append(r.rates, m.Baud)
	return nil
}

func newRated(m *sim.Meter, mode string) *rated {
	r := &rated{meter: m}
	r.mode, _ = link.ParseMode(mode)
	r.Peer = func(request []byte) (chunks []fieldtest.Chunk) {
		if r.mode.Baud != m.Baud() {
			return nil
		}
		_, out := m.Take(request, true)
		var at time.Duration
		for _, o := range out {
			at += o.After
			chunks = append(chunks, fieldtest.Chunk{After: at, Bytes: o.Bytes})
			if o.Then != nil {
				time.AfterFunc(at, o.Then)
			}
		}
		return chunks
	}
	return r
}

func tags() []field.Tag {
	return []field.Tag{{Name: "import", At: "1.8.0", Unit: "kWh"}, {Name: "export", At: "2.8.0", Unit: "Wh"},
		{Name: "peak", At: "1.6.0"}, {Name: "when", At: "1.6.0 value 2", Type: "string"}, {Name: "none", At: "9.9.9"}, {Name: "odd", At: "F.F"}}
}

func meterOf(ident string, mode byte, initial int) *sim.Meter {
	return sim.New("12345678", ident, mode, initial).Set("0.0.0", "(12345678)").Set("1-0:1.8.0*255", "(000123.45*kWh)").
		Set("2.8.0", "(000001.5*kWh)").Set("1.6.0", "(01.250*kW)(2611301200)").Set("F.F", "(E--1)")
}

func check(t *testing.T, s field.Station) {
	t.Helper()
	r, err := s.Read(t.Context(), field.MainGroup)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	want := []string{"123.45", "1500", "1.25", "2611301200", "null", "null"}
	for i, v := range r.Values {
		if v.String() != want[i] {
			t.Errorf("%s = %s (%s), want %s", r.Group.Points[i].Name, v, r.QualityOf(i), want[i])
		}
	}
	if r.Quality[4] != field.Exception || r.Quality[5] != field.Invalid {
		t.Errorf("qualities %v", r.Quality)
	}
}

// TestModes reads meters of every mode, at the rates that the standard has for them.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		name, ident string
		mode        byte
		start       string
		quirks      map[string]string
		rate        int // that the readout was read at
	}{
		{"A", "/ABCXmeter", 'A', "300 7E1", nil, 300},
		{"B", "/ABCEmeter", 'B', "300 7E1", nil, 9600},
		{"C", "/ABC5MT174", 'C', "300 7E1", nil, 9600},
		{"C, quick", "/ABc6MT174", 'C', "300 7E1", nil, 19200},
		{"C, not faster than wanted", "/ABC5MT174", 'C', "300 7E1", map[string]string{"max_baud": "2400"}, 2400},
		{"C, on an adapter of eight bits", "/ABC4MT174", 'C', "300 8N1", nil, 4800},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meterOf(c.ident, c.mode, 300)
				line := newRated(m, c.start)
				s, err := New(line).Bind(field.Device{Name: "m", Address: "12345678", Quirks: c.quirks, Tags: tags()})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					check(t, s)
					if line.mode.Baud != c.rate {
						t.Errorf("the readout was read at %d baud, want %d", line.mode.Baud, c.rate)
					}
				}
				if c.start == "300 8N1" && line.Requests[0][0] != '/'|0x80 {
					t.Errorf("sent without parity: % x", line.Requests[0])
				}
				cost := s.(field.Coster).Cost(field.MainGroup)
				if cost.Exchanges != 1 || cost.Timeout != 2*time.Second || cost.Pause < 50*time.Millisecond {
					t.Errorf("cost %+v", cost)
				}
			})
		})
	}
}

// TestModeD listens to a meter that speaks by itself.
func TestModeD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := newRated(meterOf("/ABC3meter", 'D', 2400), "2400 7E1")
		s, err := New(line).Bind(field.Device{Address: "*", Quirks: map[string]string{"mode": "D"}, Timeout: 5 * time.Second, Tags: tags()})
		if err != nil {
			t.Fatal(err)
		}
		text := "/ABC3meter\r\n\r\n1-0:1.8.0*255(000123.45*kWh)\r\n2.8.0(000001.5*kWh)\r\n1.6.0(01.250*kW)(2611301200)\r\nF.F(E--1)\r\n!\r\n"
		for i := range len(text) / 10 { // it speaks slowly, and pauses
			from, to := 10*i, 10*i+10
			if i == len(text)/10-1 {
				to = len(text)
			}
			time.AfterFunc(time.Second+time.Duration(i)*100*time.Millisecond, func() { line.Arrive([]byte(text[from:to])) })
		}
		check(t, s)
		if len(line.Requests) != 0 {
			t.Errorf("sent %q", line.Requests)
		}
		if _, err := s.Read(t.Context(), field.MainGroup); !errors.Is(err, field.ErrSilent) {
			t.Errorf("a meter that does not speak: %v", err)
		}
	})
}

// TestPauses: a meter may take 1500 ms before its answer, and between two lines.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &fieldtest.Line{Peer: func([]byte) (chunks []fieldtest.Chunk) {
			at := time.Duration(0)
			for _, part := range strings.SplitAfter(string(readoutOf("1", "1.8.0(1*kWh)\r\n2.8.0(2*kWh)\r\n!\r\n")), "\n") {
				at += 1490 * time.Millisecond
				chunks = append(chunks, fieldtest.Chunk{After: at, Bytes: []byte(part)})
			}
			return chunks
		}}
		s, err := New(line).Bind(field.Device{Address: "*", Tags: []field.Tag{{Name: "a", At: "1.8.0"}, {Name: "b", At: "2.8.0"}}})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Read(t.Context(), field.MainGroup); err != nil || r.Quality != nil {
			t.Errorf("%v %v %v", r.Values, r.Quality, err)
		}
	})
}

// TestRegisters reads single registers in programming mode, with a password where one is asked for.
func TestRegisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meterOf("/ABC5MT174", 'C', 300).Set("1.8.0", "(000123.45*kWh)").Password("00000000")
		line := newRated(m, "300 7E1")
		dev := field.Device{Address: "12345678", Secret: "00000000", Quirks: map[string]string{"read": "registers"}, Tags: []field.Tag{
			{Name: "import", At: "1.8.0"}, {Name: "none", At: "9.9.9"}, {Name: "export", At: "2.8.0"}}}
		s, err := New(line).Bind(dev)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := s.Read(t.Context(), field.MainGroup)
			if err != nil || r.Values[0].String() != "123.45" || r.QualityOf(1) != field.Exception || r.Values[2].String() != "1.5" {
				t.Errorf("%v %v %v", r.Values, r.Quality, err)
			}
		}
		if last := string(line.Requests[len(line.Requests)-1]); last != "\x01B0\x03q" || m.Baud() != 300 {
			t.Errorf("the session ended with %q, and the meter is at %d baud", last, m.Baud())
		}
		dev.Secret = "11111111"
		line.mode.Baud = 300 // that a driver finds
		if s, err = New(line).Bind(dev); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Read(t.Context(), field.MainGroup); err != nil || r.QualityOf(0) != field.Exception {
			t.Errorf("a wrong password: %v %v", r.Quality, err)
		}
	})
}

// TestScan finds a meter at the rate that it speaks, and leaves the line as it was.
func TestScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meterOf("/ABC5MT174", 'C', 300)
		line := newRated(m, "9600 7E1")
		var found []field.Found
		var steps []int
		err := New(line).Scan(t.Context(), field.ScanOptions{Modes: []string{"9600 7E1", "300 7E1"}},
			func(f field.Found) { found = append(found, f) }, func(done, total int) { steps = append(steps, done, total) })
		if err != nil || len(found) != 1 || found[0].Mode != "300 7E1" || found[0].Identity != "ABC MT174" || line.mode.Baud != 9600 {
			t.Errorf("%+v %v, the line at %v", found, err, line.mode)
		}
		if len(steps) != 4 || steps[2] != 2 || steps[3] != 2 {
			t.Errorf("progress %v", steps)
		}
		var wrong *field.DeviceError
		if err := New(line).Scan(t.Context(), field.ScanOptions{Modes: []string{"fast"}}, nil, nil); !errors.As(err, &wrong) {
			t.Errorf("a mode that is none: %v", err)
		}
	})
}

// TestBroken: a wrong check character, and a readout without its end, give no value.
func TestBroken(t *testing.T) {
	for what, spoil := range map[string]func(string) string{
		"is wrong":         func(s string) string { return strings.Replace(s, "1*kWh", "2*kWh", 1) },
		"end mark":         func(string) string { return string(readoutOf("1", "1.8.0(1*kWh)\r\n")) },
		"no answer":        func(s string) string { return s[:len(s)-2] },
		"no answer within": func(string) string { return "/ABCXmeter\r\n" },
	} {
		synctest.Test(t, func(t *testing.T) {
			line := &fieldtest.Line{Peer: func([]byte) []fieldtest.Chunk {
				return []fieldtest.Chunk{{Bytes: []byte(spoil(string(readoutOf("1", "1.8.0(1*kWh)\r\n!\r\n"))))}}
			}}
			s, err := New(line).Bind(field.Device{Address: "*", Tags: []field.Tag{{Name: "a", At: "1.8.0"}}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Read(t.Context(), field.MainGroup)
			if !errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), what) || !r.Values[0].IsNull() {
				t.Errorf("%s: %v %v", what, r.Values, err)
			}
		})
	}
}

// TestBindComplains: every fault is told at once, with what is allowed.
func TestBindComplains(t *testing.T) {
	_, err := New(nil).Bind(field.Device{Address: "?", Secret: "a(b", Quirks: map[string]string{"mode": "E", "read": "register", "max_baud": "1000", "identify": "(", "mod": "A"},
		Tags: []field.Tag{{Name: "a", At: "1.8.0()"}, {Name: "b", At: "1.8.0", Type: "float32"}, {Name: "c", At: "2.8.0", Write: true}}})
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{"no meter's address", "right form", "allowed are A, B, C, D", `did you mean "registers"`, "19200", "data set",
		`did you mean "mode"`, "as the meter prints it", "allowed are number, string", "not written here"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	for frame, want := range map[string]string{
		"/?!\r\n": "call of any meter", "/?123!\r\n": "call of meter 123", "/ABC5MT174\r\n": "identification: ABC, 9600 baud offered, MT174",
		"\x06050\r\n": "readout at 9600 baud", "\x06051\r\n": "programming mode at 9600 baud", "\x06": "acknowledged", "\x15": "not acknowledged",
		"\x01P1\x02(secret)\x03a": "password", "\x01B0\x03q": "break", "\x01R1\x021.8.0()\x03Z": "R1 1.8.0()",
		"\x021.8.0(1*kWh)\x03x": "1.8.0(1*kWh)", "1.8.0(1*kWh)\r\n": "1.8.0(1*kWh)", "\xff": "no whole frame", "": "no whole frame",
		"\xfeh\x70\x56\x34\x12\x00\x00h\x14\x0d6437((((3333H(\x16": "no whole frame", // of DL/T 645, with a password
	} {
		if got := Describe([]byte(frame)); got != want {
			t.Errorf("%q: %q, want %q", frame, got, want)
		}
	}
}
