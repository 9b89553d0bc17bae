package register

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"edgegateway/adapters/field"
)

func bound(t testing.TB, tag field.Tag) *Point {
	t.Helper()
	tag.Name = "x"
	if tag.At == "" {
		tag.At = "holding 0"
	}
	p, faults := NewPoint(tag)
	if len(faults) > 0 {
		t.Fatalf("%+v: %v", tag, errors.Join(faults...))
	}
	return p
}

func TestDecode(t *testing.T) {
	bad := field.Value{}
	for _, c := range []struct {
		tag  field.Tag
		data string
		want field.Value
	}{
		{field.Tag{Type: "int16"}, "\xFF\xFE", field.Int(-2)},
		{field.Tag{Type: "uint16"}, "\xFF\xFE", field.Uint(65534)},
		{field.Tag{Type: "uint16", Order: "BADC"}, "\x01\x02", field.Uint(0x0201)},
		{field.Tag{Type: "uint32"}, "\x01\x02\x03\x04", field.Uint(0x01020304)},
		{field.Tag{Type: "uint32", Order: "CDAB"}, "\x03\x04\x01\x02", field.Uint(0x01020304)},
		{field.Tag{Type: "uint32", Order: "BADC"}, "\x02\x01\x04\x03", field.Uint(0x01020304)},
		{field.Tag{Type: "uint32", Order: "DCBA"}, "\x04\x03\x02\x01", field.Uint(0x01020304)},
		{field.Tag{Type: "uint64", Order: "CDAB"}, "\x07\x08\x05\x06\x03\x04\x01\x02", field.Uint(0x0102030405060708)},
		{field.Tag{Type: "uint64", Order: "DCBA"}, "\x08\x07\x06\x05\x04\x03\x02\x01", field.Uint(0x0102030405060708)},
		{field.Tag{Type: "int64"}, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE", field.Int(-2)},
		{field.Tag{Type: "float32"}, "\x43\x66\x33\x33", field.Float32(230.2)},
		{field.Tag{Type: "float64"}, "\x40\x6C\xC6\x66\x66\x66\x66\x66", field.Float64(230.2)},
		{field.Tag{Type: "bcd16"}, "\x12\x34", field.Uint(1234)},
		{field.Tag{Type: "bcd32", Order: "CDAB"}, "\x56\x78\x12\x34", field.Uint(12345678)},
		{field.Tag{Type: "string", Length: 6}, "SDM\x00\xFF\xFF", field.Text("SDM")},
		{field.Tag{Type: "string", Length: 5}, "ab cd ", field.Text("ab cd")},
		{field.Tag{Type: "string", Length: 4, Order: "BADC"}, "BADC", field.Text("ABCD")},
		{field.Tag{Type: "bool"}, "\x00\x10", field.Bool(true)},
		{field.Tag{At: "holding 0 bit 3"}, "\x00\x08", field.Bool(true)},
		{field.Tag{At: "holding 0 bit 3"}, "\xFF\xF7", field.Bool(false)},
		{field.Tag{At: "holding 0 bit 15", Order: "BADC"}, "\x00\x80", field.Bool(true)},

		// A decimal scale gives decimals.
		{field.Tag{Type: "uint16", Scale: 0.1}, "\x00\x03", field.Float64(0.3)},
		{field.Tag{Type: "uint16", Scale: 0.01}, "\x00\x1D", field.Float64(0.29)},
		{field.Tag{Type: "int16", Scale: 0.1, Offset: -40}, "\x01\x93", field.Float64(0.3)},
		{field.Tag{Type: "uint16", Scale: 0.05}, "\x00\x07", field.Float64(0.35)},
		{field.Tag{Type: "uint16", Scale: 1000}, "\x00\x07", field.Float64(7000)},
		{field.Tag{Type: "uint16", Scale: 1.0 / 3}, "\x00\x03", field.Float64(1)},
		{field.Tag{Type: "uint16", Offset: 0.5}, "\x00\x03", field.Float64(3.5)},
		{field.Tag{Type: "float32", Scale: 0.001}, "\x45\xA1\x60\x00", field.Float32(5.164)},

		{field.Tag{Type: "uint16", Mask: "0x0FFF"}, "\xF1\x23", field.Uint(0x0123)},
		{field.Tag{Type: "uint16", Enum: map[string]string{"0": "off", "0x02": "on"}}, "\x00\x02", field.Text("on")},
		{field.Tag{Type: "uint16", Enum: map[string]string{"0": "off"}}, "\x00\x07", field.Text("7")},
		{field.Tag{At: "holding 0 bit 1", Enum: map[string]string{"0": "shut", "1": "open"}}, "\x00\x02", field.Text("open")},
		{field.Tag{Type: "int16", Enum: map[string]string{"-1": "fault"}}, "\xFF\xFF", field.Text("fault")},

		// What cannot be a value is none.
		{field.Tag{Type: "int16", Null: []string{"0x8000"}}, "\x80\x00", bad},
		{field.Tag{Type: "int16", Null: []string{"-32768"}}, "\x80\x00", bad},
		{field.Tag{Type: "int16", Null: []string{"65535"}, Scale: 0.1}, "\xFF\xFF", bad},
		{field.Tag{Type: "uint32", Null: []string{"4294967295", "0x80000000"}, Order: "CDAB"}, "\x00\x00\x80\x00", bad},
		{field.Tag{Type: "uint16", Mask: "0x7FFF", Null: []string{"0xFFFF"}}, "\xFF\xFF", bad},
		{field.Tag{Type: "float32", Null: []string{"-9999"}}, "\xC6\x1C\x3C\x00", bad},
		{field.Tag{Type: "float32", Null: []string{"nan"}}, "\x7F\xC0\x00\x01", bad},
		{field.Tag{Type: "float32"}, "\x7F\x80\x00\x00", bad},
		{field.Tag{Type: "float64"}, "\x7F\xF8\x00\x00\x00\x00\x00\x00", bad},
		{field.Tag{Type: "float32", Scale: 1e9}, "\x7F\x7F\xFF\xFF", bad},
		{field.Tag{Type: "bcd16"}, "\x12\x3A", bad},
		{field.Tag{Type: "bcd16", Null: []string{"9999"}}, "\x99\x99", bad},
		{field.Tag{Type: "string", Length: 2, Null: []string{""}}, "\x00\x00", bad},
	} {
		p := bound(t, c.tag)
		got, q := p.Decode([]byte(c.data))
		if got != c.want || (q == field.Good) == c.want.IsNull() || q != field.Good && q != field.Invalid {
			t.Errorf("%+v: % x gives %v (%v) with quality %v, want %v (%v)", c.tag, c.data, got, got.Kind(), q, c.want, c.want.Kind())
		}
		if kind := p.Shape().Kind; !got.IsNull() && got.Kind() != kind {
			t.Errorf("%+v: the shape promises %v, the value is %v", c.tag, kind, got.Kind())
		}
	}
}

// TestRoundTrip: what is written is read back, for every type, order and scale.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range WireTypes {
		for _, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
			for _, scale := range []float64{1, 0.1, 0.001, 0.25, 10} {
				tag := field.Tag{Type: typ.Name, Order: order}
				if typ.Form == FormString {
					tag.Length = 8
				} else if typ.Form != formBool {
					tag.Scale = scale
				}
				p := bound(t, tag)
				for range 200 {
					in := make([]byte, 2*p.Count)
					for i := range in {
						in[i] = byte(rng.Uint32())
					}
					v, q := p.Decode(in)
					if q != field.Good {
						continue
					}
					out := make([]byte, len(in))
					if typ.Form == FormString {
						if err := p.EncodeText(v, out); err != nil {
							t.Fatal(err)
						}
					} else {
						raw, err := p.Encode(v)
						if err != nil && typ.words == 4 && scale != 1 {
							continue // a float64 has not the digits for the ends of a scaled 64-bit range
						}
						if err != nil {
							t.Fatalf("%+v: % x reads as %v, which cannot be written: %v", tag, in, v, err)
						}
						p.Order.Cut(raw, out)
					}
					if again, _ := p.Decode(out); again != v && !close(p, again, v) {
						t.Fatalf("%+v: % x reads as %v, is written as % x, which reads as %v", tag, in, v, out, again)
					}
				}
			}
		}
	}
}

// close allows for the last digit of a scaled float, and of a scaled integer beyond 2^53.
func close(p *Point, a, b field.Value) bool {
	if !p.scaling.On() || p.Typ.Form != formFloat && p.Typ.words < 4 {
		return false
	}
	x, _ := a.Float()
	y, _ := b.Float()
	epsilon := 1e-15
	if p.Typ.words == 2 {
		epsilon = 2.4e-7
	}
	return math.Abs(x-y) <= epsilon*math.Abs(x)+1e-44
}

// TestScalingIsExact: every 16-bit raw value under a decimal scale is the decimal that a person would write.
func TestScalingIsExact(t *testing.T) {
	for _, scale := range []struct {
		f   float64
		den float64
	}{{0.1, 10}, {0.01, 100}, {0.001, 1000}, {1e-6, 1e6}} {
		s := field.NewScaling(scale.f, 0)
		for raw := range 65536 {
			if got, want := s.Apply(float64(raw)), float64(raw)/scale.den; got != want {
				t.Fatalf("%d × %v = %v, want %v", raw, scale.f, got, want)
			}
			if back := math.Round(s.Invert(s.Apply(float64(raw)))); back != float64(raw) {
				t.Fatalf("%d × %v goes back to %v", raw, scale.f, back)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		tag  field.Tag
		v    field.Value
		says string
	}{
		{field.Tag{Type: "int16"}, field.Int(32768), "allowed is -32768 to 32767"},
		{field.Tag{Type: "uint16"}, field.Int(-1), "allowed is 0 to 65535"},
		{field.Tag{Type: "uint16"}, field.Float64(1.5), "whole number"},
		{field.Tag{Type: "int16", Scale: 0.1, Unit: "m"}, field.Float64(4000), "allowed is -3276.8 to 3276.7 m"},
		{field.Tag{Type: "uint16", Scale: -0.1}, field.Float64(1), "allowed is -6553.5 to 0"},
		{field.Tag{Type: "uint64"}, field.Int(-1), "allowed is 0 to"},
		{field.Tag{Type: "int64"}, field.Uint(math.MaxUint64), "allowed is"},
		{field.Tag{Type: "int64"}, field.Float64(math.Exp2(63)), "allowed is"},
		{field.Tag{Type: "float32"}, field.Float64(1e39), "allowed is"},
		{field.Tag{Type: "float32"}, field.Float64(math.NaN()), "allowed is"},
		{field.Tag{Type: "bcd16"}, field.Int(10000), "allowed is 0 to 9999"},
		{field.Tag{Type: "uint16"}, field.Text("ten"), "allowed is"},
		{field.Tag{Type: "uint16"}, field.Bool(true), "allowed is"},
		{field.Tag{Type: "bool"}, field.Int(2), "true and false"},
		{field.Tag{Type: "uint16", Mask: "0x0F"}, field.Int(16), "0xf"},
		{field.Tag{Type: "uint16", Enum: map[string]string{"0": "off", "1": "on"}}, field.Text("up"), "allowed are off, on"},
	} {
		if _, err := bound(t, c.tag).Encode(c.v); !errors.Is(err, field.ErrRange) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v is refused with %v, want %q in it", c.tag, c.v, err, c.says)
		}
	}
	if err := bound(t, field.Tag{Type: "string", Length: 3}).EncodeText(field.Text("long"), make([]byte, 4)); !errors.Is(err, field.ErrRange) {
		t.Errorf("a string that is too long: %v", err)
	}
}
