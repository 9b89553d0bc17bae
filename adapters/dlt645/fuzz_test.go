package dlt645

import (
	"bytes"
	"math"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// FuzzFrames feeds every decoder: whatever comes as an answer, nothing breaks, and a value is given only with a frame
// of this meter. What is a frame goes back to the same bytes.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16",
		"FE FE 68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16",
		"68 54 07 13 00 80 13 68 81 06 43 C3 34 33 33 33 2B 16",
		"68 AA AA AA AA AA AA 68 13 00 DF 16",
	} {
		f.Add(octets(f, s), "XXXXXX.XX", "00010000")
	}
	f.Fuzz(func(t *testing.T, got []byte, form, at string) {
		if len(got) > 4<<10 {
			return // longer ones say nothing new, slowly
		}
		for i := range got {
			if fr, size := parse(got[i:]); size > 0 && size <= len(got)-i {
				if back := fr.encode(0); !bytes.Equal(back, got[i:i+size]) {
					t.Fatalf("% X goes back as % X", got[i:i+size], back)
				}
			}
		}
		Describe(got)
		if fm, ok := parseFormat(form); ok && len(got) >= fm.size {
			if n, text, ok := fm.decode(got[:fm.size]); ok {
				if _, err := fm.encode(n/math.Pow10(fm.places), text); err != nil && fm.form == formNumber {
					t.Fatalf("%s of % X is %v, which does not go back: %v", form, got[:fm.size], n, err)
				}
			}
		}
		s, err := New(link.Replay(func([]byte) ([]byte, error) { return got, nil })).Bind(field.Device{Address: "161",
			Tags: []field.Tag{{Name: "a", At: at, Type: form}, {Name: "b", At: "00010000"}, {Name: "c", At: "00010100"}, {Name: "d", At: "02010100"}}})
		if err != nil {
			return
		}
		r, err := s.Read(t.Context(), field.MainGroup)
		if err == nil && !bytes.Contains(got, []byte{0x68, 0x61, 0x01, 0, 0, 0, 0, 0x68}) {
			t.Fatalf("%v from % X", r.Values, got)
		}
	})
}
