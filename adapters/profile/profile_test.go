package profile_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// TestLibrary: every built-in profile is without faults and carries a test. Whether it passes is for the real driver.
func TestLibrary(t *testing.T) {
	var report strict.Report
	profiles := profile.Library(keys(), &report)
	for _, p := range report.Problems() {
		t.Error(p)
	}
	if len(profiles) < 30 {
		t.Fatalf("the library has %d profiles", len(profiles))
	}
	for _, p := range profiles {
		t.Run(p.Name, func(t *testing.T) {
			if !p.BuiltIn || p.Failed() || p.Source == "" || p.Title == "" {
				t.Errorf("%+v", p)
			}
			if len(p.Tests) == 0 {
				t.Error("the profile carries no test")
			}
		})
	}
}

const meter = `
name = "acme-m1"
title = "a meter"
protocol = "modbus"
source = "its manual"
[defaults]
every = "5s"
[quirks]
max_registers = 60
[[tag]]
name = "a"
at = "holding 1"
type = "int16"
scale = 0.1
[[tag]]
name = "b"
at = "holding 2"
type = "int16"
null = 0x8000
[[tag]]
name = "c"
at = "holding 9"
type = "int16"
group = "slow"
`

func frames(expect string) string {
	return meter + fmt.Sprintf(`
[[test]]
origin = "constructed"
address = "1"
request = "%s"
answer = "%s"
%s
`, seal("01 03 00 01 00 02"), seal("01 03 04 FF 9C 00 07"), expect)
}

// TestFramesFail: a test that is not as expected says so.
func TestFramesFail(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"right", frames(`expect = { a = -10, b = 7 }`), ""},
		{"value", frames(`expect = { a = -10.1, b = 7 }`), "a = -10, and -10.1 is expected"},
		{"type", frames(`expect = { a = "x", b = 7 }`), `a = -10, and "x" is expected`},
		{"quality", frames("expect = { a = -10 }\nquality = { b = \"invalid\" }"), "b: the quality is good, and invalid is expected"},
		{"request", frames(`expect = { a = -10 }`), "the driver sent another request"},
		{"groups", frames(`expect = { a = -10, c = 0 }`), "tags of both groups"},
		{"answer", strings.Replace(frames(`expect = { a = -10, b = 7 }`), "FF 9C", "FF", 1), "the answer was not understood"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, problems := profile.Check("acme.toml", []byte(c.text), nil)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			failed := p.Test(t.Context(), open)
			switch {
			case c.want == "" && len(failed) > 0:
				t.Error(failed)
			case c.want != "" && (len(failed) == 0 || !strings.Contains(failed[0].Text, c.want)):
				t.Errorf("%v, want %q", failed, c.want)
			case c.want != "" && failed[0].Line != strings.Count(meter, "\n")+2:
				t.Errorf("%s does not stand at the [[test]]", failed[0])
			}
		})
	}
}

// TestCheckWantsAProof: a profile for the library needs a test.
func TestCheckWantsAProof(t *testing.T) {
	p, problems := profile.Check("acme.toml", []byte(meter), nil)
	if len(problems) != 1 || !strings.Contains(problems[0].Text, "no test") || !p.Failed() {
		t.Errorf("%v", problems)
	}
	if p.Every.Seconds() != 5 || p.Quirks["max_registers"] != "60" || p.Tag("b").Null[0] != "0x8000" || p.Tag("c").Group != field.SlowGroup {
		t.Errorf("%+v", p)
	}
}

func TestLoadFolder(t *testing.T) {
	var report strict.Report
	fsys := fstest.MapFS{
		"profiles/b.toml":    {Data: []byte(meter)},
		"profiles/a.toml":    {Data: []byte(strings.Replace(meter, "acme-m1", "acme-m0", 1))},
		"profiles/notes.txt": {Data: []byte("no profile")},
	}
	profiles, err := profile.Load(fsys, "profiles", nil, &report)
	if err != nil || len(profiles) != 2 || profiles[0].Name != "acme-m0" || profiles[1].Name != "acme-m1" {
		t.Errorf("%v, %v, %v", profiles, err, report.Problems())
	}
	if none, err := profile.Load(fsys, "nowhere", nil, &report); err != nil || len(none) != 0 {
		t.Errorf("a folder that is not there: %v, %v", none, err)
	}
}

// TestOwnTagKeys: what only one protocol's tags have is taken for that protocol alone.
func TestOwnTagKeys(t *testing.T) {
	text := meter + "pattern = \"x\"\n"
	var report strict.Report
	p := profile.Parse("a.toml", []byte(text), profile.Keys{"modbus": {"pattern"}}, &report)
	if len(report.Problems()) > 0 || p.Tag("c").Extra["pattern"] != "x" {
		t.Errorf("%v, %v", p.Tag("c").Extra, report.Problems())
	}
	if p := profile.Parse("a.toml", []byte(text), profile.Keys{"serial": {"pattern"}}, &report); !p.Failed() {
		t.Error("another protocol's key was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(meter)
	f.Add(frames(`expect = { a = -10, b = 7 }`))
	f.Fuzz(func(t *testing.T, text string) {
		var report strict.Report
		p := profile.Parse("f.toml", []byte(text), nil, &report)
		if !p.Failed() && strict.Errors(report.Problems()) {
			t.Errorf("there are complaints, but the profile is not marked as failed: %v", report.Problems())
		}
		if p.Failed() && !strict.Errors(report.Problems()) {
			t.Error("the profile is marked as failed, but nobody says why")
		}
		if !p.Failed() {
			p.Test(t.Context(), open)
		}
	})
}

// registers is a driver for the frames of this test: one request for the registers from the first tag to the last,
// decoded on its own, so that a fault in the real driver's decoding does not agree with itself.
type registers struct{ exchange profile.Exchange }

func open(protocol string, exchange profile.Exchange) (field.Driver, error) {
	if protocol != "modbus" {
		return nil, fmt.Errorf("no protocol %q", protocol)
	}
	return registers{exchange}, nil
}

type station struct {
	exchange    profile.Exchange
	function    byte
	first, last int // registers
	tags        []field.Tag
	at          []int
	group       field.Group
}

func (r registers) Bind(d field.Device) (field.Station, error) {
	s := &station{exchange: r.exchange, first: math.MaxInt, group: field.Group{Device: d.Name, Name: field.MainGroup}}
	for _, tag := range d.Tags {
		var space string
		var at int
		if _, err := fmt.Sscanf(tag.At, "%s %d", &space, &at); err != nil || at < 0 || at > 0xFFFF {
			return nil, &field.TagError{Tag: tag.Name, Key: "at", Value: tag.At, Problem: "no address"}
		}
		width := 1
		switch tag.Type {
		case "int16":
		case "int32", "float32":
			width = 2
		default:
			return nil, &field.TagError{Tag: tag.Name, Key: "type", Value: tag.Type, Problem: "no type"}
		}
		s.function = map[string]byte{"holding": 3, "input": 4}[space]
		s.first, s.last = min(s.first, at), max(s.last, at+width-1)
		s.tags, s.at = append(s.tags, tag), append(s.at, at)
		s.group.Points = append(s.group.Points, field.Point{Name: tag.Name})
	}
	return s, nil
}

func (s *station) Groups() []*field.Group { return []*field.Group{&s.group} }

func (s *station) Read(context.Context, string) (field.Record, error) {
	request := []byte{1, s.function}
	request = binary.BigEndian.AppendUint16(request, uint16(s.first))
	request = binary.BigEndian.AppendUint16(request, uint16(s.last-s.first+1))
	answer, err := s.exchange(withCRC(request))
	if err != nil {
		return field.Record{}, err
	}
	n := len(answer) - 2
	if n < 3 || string(withCRC(answer[:n:n])) != string(answer) || int(answer[2]) != n-3 || n-3 != 2*(s.last-s.first+1) {
		return field.Record{}, errors.New("bad frame")
	}
	r := field.Record{Group: &s.group}
	for i, tag := range s.tags {
		raw := answer[3+2*(s.at[i]-s.first):]
		r.Values = append(r.Values, decode(tag, raw))
	}
	return r, nil
}

func decode(tag field.Tag, raw []byte) field.Value {
	if tag.Type == "float32" {
		return field.Float32(math.Float32frombits(binary.BigEndian.Uint32(raw)))
	}
	n := int64(int16(binary.BigEndian.Uint16(raw)))
	if tag.Type == "int32" {
		high, low := binary.BigEndian.Uint16(raw), binary.BigEndian.Uint16(raw[2:])
		if tag.Order == "CDAB" {
			high, low = low, high
		}
		n = int64(int32(uint32(high)<<16 | uint32(low)))
	}
	if tag.Scale == 0 {
		return field.Int(n)
	}
	return field.Float64(float64(n) * tag.Scale)
}

// seal turns "01 03 …" into the whole frame, with its CRC.
func seal(text string) string {
	var b []byte
	for _, s := range strings.Fields(text) {
		var c byte
		fmt.Sscanf(s, "%X", &c)
		b = append(b, c)
	}
	return fmt.Sprintf("% X", withCRC(b))
}

func withCRC(b []byte) []byte {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return append(b, byte(crc), byte(crc>>8))
}
