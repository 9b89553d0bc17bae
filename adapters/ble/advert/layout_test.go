package advert_test

import (
	"bytes"
	"errors"
	"testing"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name        string
		tag         field.Tag
		offset, bit int
		data        string
		want        string
		quality     field.Quality
		whole       bool // and Encode gives the bytes back
	}{
		{"int16", field.Tag{Type: "int16", Scale: 0.01}, 0, -1, "CA09", "25.06", field.Good, true},
		{"int16 big", field.Tag{Type: "int16", Order: "big"}, 0, -1, "FFFE", "-2", field.Good, true},
		{"int24", field.Tag{Type: "int24"}, 0, -1, "FEFFFF", "-2", field.Good, true},
		{"uint24", field.Tag{Type: "uint24"}, 1, -1, "00 010203", "197121", field.Good, false},
		{"uint64", field.Tag{Type: "uint64"}, 0, -1, "FFFFFFFFFFFFFFFF", "18446744073709551615", field.Good, true},
		{"float32", field.Tag{Type: "float32"}, 0, -1, "00004841", "12.5", field.Good, true},
		{"float64", field.Tag{Type: "float64", Order: "big"}, 0, -1, "4029000000000000", "12.5", field.Good, true},
		{"no number", field.Tag{Type: "float32"}, 0, -1, "0000C07F", "null", field.Invalid, false},
		{"bool", field.Tag{Type: "bool"}, 0, -1, "01", "true", field.Good, true},
		{"bit", field.Tag{}, 1, 3, "00 08", "true", field.Good, false},
		{"mask", field.Tag{Type: "uint8", Mask: "0x0F"}, 0, -1, "A5", "5", field.Good, false},
		{"enum", field.Tag{Type: "uint8", Enum: map[string]string{"0": "off", "0x01": "on"}}, 0, -1, "01", "on", field.Good, true},
		{"unknown word", field.Tag{Type: "uint8", Enum: map[string]string{"0": "off"}}, 0, -1, "07", "null", field.Invalid, false},
		{"sentinel", field.Tag{Type: "int16", Null: []string{"0x8000"}}, 0, -1, "0080", "null", field.Invalid, false},
		{"negative sentinel", field.Tag{Type: "int16", Null: []string{"-1"}}, 0, -1, "FFFF", "null", field.Invalid, false},
		{"text", field.Tag{Type: "string"}, 1, -1, "00 6F6B00", "ok", field.Good, false},
		{"text of a length", field.Tag{Type: "string", Length: 2}, 0, -1, "6F6B21", "ok", field.Good, false},
		{"hex", field.Tag{Type: "hex"}, 0, -1, "0AFF", "0aff", field.Good, true},
		{"too short", field.Tag{Type: "uint32"}, 0, -1, "010203", "null", field.Invalid, false},
		{"nothing at all", field.Tag{Type: "string"}, 5, -1, "01", "null", field.Invalid, false},
	} {
		l, faults := advert.NewLayout(c.tag, c.offset, c.bit)
		if len(faults) > 0 {
			t.Errorf("%s: %v", c.name, faults)
			continue
		}
		data := bytesOf(t, c.data)
		v, q := l.Decode(data)
		if v.String() != c.want || q != c.quality {
			t.Errorf("%s: got %s %s, want %s %s", c.name, v, q, c.want, c.quality)
		}
		if q == field.Good && v.Kind() != l.Kind() {
			t.Errorf("%s: a %s, and a %s was promised", c.name, v.Kind(), l.Kind())
		}
		back, err := l.Encode(v)
		if c.whole && (err != nil || !bytes.Equal(back, data)) {
			t.Errorf("%s: written as % X (%v), want % X", c.name, back, err, data)
		}
	}
	for _, c := range []struct {
		key string
		tag field.Tag
		bit int
	}{
		{"type", field.Tag{}, -1}, {"type", field.Tag{Type: "int17"}, -1}, {"type", field.Tag{Type: "int16"}, 3},
		{"length", field.Tag{Type: "int16", Length: 2}, -1}, {"order", field.Tag{Type: "int16", Order: "CDAB"}, -1},
		{"scale", field.Tag{Type: "string", Scale: 2}, -1}, {"mask", field.Tag{Type: "uint8", Mask: "0x100"}, -1},
		{"null", field.Tag{Type: "uint8", Null: []string{"x"}}, -1}, {"enum", field.Tag{Type: "float32", Enum: map[string]string{"1": "a"}}, -1},
		{"enum", field.Tag{Type: "uint8", Enum: map[string]string{"a": "b"}}, -1},
	} {
		_, faults := advert.NewLayout(c.tag, 0, c.bit)
		var fault *field.TagError
		if len(faults) != 1 || !errors.As(faults[0], &fault) || fault.Key != c.key {
			t.Errorf("%+v: %v, want one fault of %s", c.tag, faults, c.key)
		}
	}
	for _, c := range []struct {
		tag field.Tag
		v   field.Value
	}{
		{field.Tag{Type: "uint8"}, field.Uint(256)}, {field.Tag{Type: "int8"}, field.Int(-129)}, {field.Tag{Type: "uint8"}, field.Text("a")},
		{field.Tag{Type: "uint8", Mask: "1"}, field.Uint(1)}, {field.Tag{Type: "string", Length: 1}, field.Text("ab")},
		{field.Tag{Type: "hex"}, field.Text("0")}, {field.Tag{Type: "bool", Enum: map[string]string{"1": "on"}}, field.Text("off")},
	} {
		l, _ := advert.NewLayout(c.tag, 0, -1)
		if b, err := l.Encode(c.v); !errors.Is(err, field.ErrRange) {
			t.Errorf("%+v takes %s: % X, %v", c.tag, c.v, b, err)
		}
	}
}
