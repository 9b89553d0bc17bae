package dlt645

import (
	"math"
	"strings"
	"testing"

	"edgegateway/adapters/field"
)

// TestBindComplains: every fault is told at once, with what is allowed.
func TestBindComplains(t *testing.T) {
	_, err := New(nil).Bind(field.Device{Address: "12345678901234", Secret: "12", Quirks: map[string]string{"wake": "99", "blcks": "x"}, Tags: []field.Tag{
		{Name: "a", At: "input 5"}, {Name: "b", At: "0F000000"}, {Name: "c", At: "00010000", Type: "XXX"}, {Name: "d", At: "9010"},
		{Name: "e", At: "clock", Type: "XX"}, {Name: "f", At: "00010000", Order: "CDAB"}, {Name: "g", At: "04000101", Scale: 2},
		{Name: "h", At: "00010000", Group: "fast"}, {Name: "h", At: "00010000"},
	}})
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{
		"these are 14", "right form", "0 to 16", `did you mean "blocks"`, `tag "a": at = "input 5": this is no data identifier`,
		`tag "b": type = "": the format of this identifier is not known`, `tag "c": type = "XXX": this is no format`,
		"meter keeps one edition", "form of its own", "no such key", "only a number can be scaled", "no such group", "two tags of that name",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
}

// TestFormats reads the standard's notation and holds values against it both ways.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format, digits, want string
	}{
		{"XXXXXX.XX", "00120642", "1206.42"}, {"±XX.XXXX", "801234", "-0.1234"}, {"+-XX.XXXX", "001234", "0.1234"},
		{"X.XXX", "1000", "1"}, {"XXXX", "0230", "230"}, {"NNNN", "0012", "0012"}, {"hex 2", "A5FE", "A5FE"},
		{"YYMMDDWW", "26113001", "2026-11-30"}, {"hhmmss", "140509", "14:05:09"}, {"YYMMDDhhmm", "2611301405", "2026-11-30 14:05"},
		{"±X.XXX", "8999", "-0.999"}, {"±XXX.X", "8000", "0"},
	} {
		f, ok := parseFormat(c.format)
		if !ok {
			t.Errorf("%s is no format", c.format)
			continue
		}
		wire := reversed(c.digits)
		number, text, ok := f.decode(wire)
		number /= math.Pow10(f.places)
		if !f.text() {
			text = field.Float64(number).String()
		}
		if !ok || text != c.want {
			t.Errorf("%s of %s is %q, %v, want %s", c.format, c.digits, text, ok, c.want)
		}
		back, err := f.encode(number, text)
		if c.digits == "8000" {
			continue // a zero has no sign of its own
		}
		if err != nil || string(back) != string(wire) {
			t.Errorf("%s: %s goes back as % X, %v, want % X", c.format, c.want, back, err, wire)
		}
	}
	for _, s := range []string{"", "XXX", "XX.", "±NN", "N.N", "hex 0", "hex 99", "hex 1x", "YY", "XX XX", "±"} {
		if f, ok := parseFormat(s); ok {
			t.Errorf("%q is taken for %+v", s, f)
		}
	}
	f, _ := parseFormat("±XX.XXXX")
	for _, n := range []float64{80, -80} {
		if b, err := f.encode(n, ""); err == nil {
			t.Errorf("%v fits: % X", n, b)
		}
	}
}

func TestDescribe(t *testing.T) {
	for frame, want := range map[string]string{
		"68 AA AA AA AA AA AA 68 13 00 DF 16":                               "meter AAAAAAAAAAAA: read the address",
		"FE FE 68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16":             "meter 000000000161: read 00010000",
		"68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16":       "meter 000000000161: 00010000, 4 bytes",
		"68 54 07 13 00 80 13 68 81 06 43 C3 34 33 33 33 2B 16":             "meter 138000130754: 9010, 4 bytes",
		"68 61 01 00 00 00 00 68 D1 01 35 38 16":                            "no whole frame",
		"68 61 01 00 00 00 00 68 D1 01 35 38 16 68 61 01 00 00 00 00 68 11": "no whole frame",
	} {
		if got := Describe(octets(t, frame)); got != want {
			t.Errorf("%s: %q, want %q", frame, got, want)
		}
	}
	for want, f := range map[string]frame{
		"meter 000000000061: write C028":                                  {address{0x61}, 0x04, []byte{0x28, 0xC0, 2, 0x56, 0x34, 0x12, 1}},
		"meter 000000000061: confirmed: write":                            {address{0x61}, 0x84, nil},
		"meter 000000000061: refused: no such identifier, wrong password": {address{0x61}, 0xC4, []byte{0x06}},
	} {
		if got := Describe(f.encode(0)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Describe(frame{address{0x61}, 0xD1, []byte{0x06}}.encode(0)); got != "meter 000000000061: refused: no such data, wrong password or not allowed" {
		t.Error(got)
	}
}
