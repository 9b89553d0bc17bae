package dlt645

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
)

// TestConformance runs the seam's suite over both editions, the newer one with a block.
func TestConformance(t *testing.T) {
	t.Run("2007", func(t *testing.T) {
		fieldtest.Run(t, subject([]field.Tag{{Name: "a", At: "02010100"}, {Name: "b", At: "02010200"}}, 2, 0x11, 4))
	})
	t.Run("1997", func(t *testing.T) {
		fieldtest.Run(t, subject([]field.Tag{{Name: "a", At: "B611"}, {Name: "b", At: "B612"}}, 2, 0x01, 2))
	})
}

// subject is a meter whose voltages are a counter of rounds. Its frames are made here by hand, so that a wrong codec
// does not agree with itself.
func subject(tags []field.Tag, size int, read byte, idSize int) fieldtest.Subject {
	scale := 1.0
	if idSize == 4 {
		scale = 10
	}
	return fieldtest.Subject{
		Driver: func(l link.Line) field.Driver { return New(l) },
		// The standard grants a meter 500 ms: a shorter timeout would be a fault of the test.
		Device: field.Device{Name: "meter", Address: "000012345670", Timeout: time.Second, Tags: tags},
		Want: func(round int) []field.Value {
			return []field.Value{field.Float64(float64(2300+round) / scale), field.Float64(float64(2310+round) / scale)}
		},
		Answer: func(request []byte, round int) []byte {
			at := slices.Index(request, 0x68)
			data := slices.Clone(request[at+10 : at+10+idSize])
			for i := range 3 {
				n := 2300 + 10*i + round
				data = append(data, bcd(n%100)+0x33, bcd(n/100)+0x33)
			}
			return hand(request[at+1:at+7], read|0x80, data)
		},
		Refuse: func(request []byte) []byte {
			at := slices.Index(request, 0x68)
			return hand(request[at+1:at+7], read|0xC0, []byte{0x02 + 0x33})
		},
		Foreign: func(answer []byte) []byte {
			a := slices.Clone(answer[4:])
			return hand([]byte{a[1] + 1, a[2], a[3], a[4], a[5], a[6]}, a[8], a[10:len(a)-2])
		},
		Short: func(answer []byte) []byte {
			a := answer[4:]
			return hand(a[1:7], a[8], a[10:len(a)-2-size*2])
		},
	}
}

func bcd(n int) byte { return byte(n/10<<4 | n%10) }

// hand makes a frame of data that has the offset already, behind four wake-up bytes.
func hand(address []byte, control byte, data []byte) []byte {
	f := append([]byte{0x68}, address...)
	f = append(f, 0x68, control, byte(len(data)))
	f = append(f, data...)
	check := 0
	for _, b := range f {
		check += int(b)
	}
	return append([]byte{0xFE, 0xFE, 0xFE, 0xFE}, append(f, byte(check), 0x16)...)
}

// TestVectors holds the codec against frames that were published.
func TestVectors(t *testing.T) {
	for _, c := range []struct {
		request, answer string
		address, at     string
		want            field.Value
	}{
		{"68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16", "68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16",
			"161", "00010000", field.Float64(0.26)},
		{"68 61 01 00 00 00 00 68 11 04 33 34 34 35 17 16", "68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16",
			"000000000161", "02010100", field.Float64(100.1)},
		{"68 25 04 03 02 01 00 68 11 04 33 33 34 33 E1 16", "68 25 04 03 02 01 00 68 91 08 33 33 34 33 75 39 45 33 8B 16",
			"000102030425", "00010000", field.Float64(1206.42)},
		{"", "68 54 07 13 00 80 13 68 81 06 43 C3 34 33 33 33 2B 16", "138000130754", "9010", field.Float64(0.01)},
	} {
		t.Run(c.at+" of "+c.address, func(t *testing.T) {
			line := link.Replay(func(request []byte) ([]byte, error) {
				if c.request != "" && !slices.Equal(request, octets(t, c.request)) {
					return nil, fmt.Errorf("sent % X, want %s", request, c.request)
				}
				return octets(t, c.answer), nil
			})
			s, err := New(line).Bind(field.Device{Address: c.address, Quirks: map[string]string{"wake": "0"},
				Tags: []field.Tag{{Name: "x", At: c.at}}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Read(t.Context(), field.MainGroup)
			if err != nil || r.Quality != nil || r.Values[0] != c.want {
				t.Errorf("%v %v (%v), want %v", r.Values, r.Quality, err, c.want)
			}
		})
	}
	if got := fmt.Sprintf("% X", frame{anyone, fnReadAddress, nil}.encode(0)); got != "68 AA AA AA AA AA AA 68 13 00 DF 16" {
		t.Errorf("read address: %s", got)
	}
}

// TestWriteVector holds a write of 1997 against published frames: the relay word C028, level and password all zeros.
func TestWriteVector(t *testing.T) {
	for value, want := range map[string]string{
		"3355": "68 88 92 10 00 00 00 68 04 08 5B F3 33 33 33 33 88 66 0E 16",
		"9966": "68 88 92 10 00 00 00 68 04 08 5B F3 33 33 33 33 99 CC 85 16",
	} {
		line := link.Replay(func(request []byte) ([]byte, error) {
			if !slices.Equal(request, octets(t, want)) {
				return nil, fmt.Errorf("sent % X, want %s", request, want)
			}
			return hand(request[1:7], 0x84, nil), nil
		})
		s, err := New(line).Bind(field.Device{Address: "109288", Secret: "00000000", Quirks: map[string]string{"wake": "0"},
			Tags: []field.Tag{{Name: "relay", At: "C028", Type: "hex 2", Write: true}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.(field.Writer).Write(t.Context(), "relay", field.Text(value)); err != nil {
			t.Error(err)
		}
	}
}

func octets(t testing.TB, s string) []byte {
	t.Helper()
	var b []byte
	for i := 0; i+1 < len(s); i += 3 {
		var n byte
		if _, err := fmt.Sscanf(s[i:i+2], "%02X", &n); err != nil {
			t.Fatal(err)
		}
		b = append(b, n)
	}
	return b
}
