package mbus

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
)

// TestConformance runs the seam's suite over a meter with a primary address. Its link is not reset, so that one request
// is one read; TestReset and TestSecondary see to the rest.
func TestConformance(t *testing.T) {
	fieldtest.Run(t, fieldtest.Subject{
		Driver: func(l link.Line) field.Driver { return New(l) },
		Device: field.Device{Name: "meter", Address: "5", Timeout: 500 * time.Millisecond, Quirks: map[string]string{"reset": "false"}, Tags: []field.Tag{
			{Name: "volume", At: "volume"}, {Name: "number", At: "record 1", Type: "string"}}},
		Want: func(round int) []field.Value {
			return []field.Value{field.Float64(float64(1000+round) / 1000), field.Text(fmt.Sprint(round))}
		},
		Answer: func(_ []byte, round int) []byte {
			// 04 13: 32 bits, litres; 02 78: 16 bits, fabrication number
			data := binary.LittleEndian.AppendUint32([]byte{0x04, 0x13}, uint32(1000+round))
			data = binary.LittleEndian.AppendUint16(append(data, 0x02, 0x78), uint16(round))
			return hand(5, data)
		},
		Foreign: func(answer []byte) []byte { return hand(6, answer[19:len(answer)-2]) },
		Short:   func(answer []byte) []byte { return hand(5, answer[19:len(answer)-3]) },
	})
}

// hand makes an answer by hand.
func hand(address byte, records []byte) []byte {
	body := append([]byte{0x08, address, 0x72, 0x78, 0x56, 0x34, 0x12, 0x24, 0x40, 1, 7, 0x55, 0, 0, 0}, records...)
	check := 0
	for _, b := range body {
		check += int(b)
	}
	return append(append([]byte{0x68, byte(len(body)), byte(len(body)), 0x68}, body...), byte(check), 0x16)
}

func octets(t testing.TB, s string) (b []byte) {
	t.Helper()
	for i := 0; i+1 < len(s); i += 3 {
		var n byte
		if _, err := fmt.Sscanf(s[i:i+2], "%02X", &n); err != nil {
			t.Fatal(err)
		}
		b = append(b, n)
	}
	return b
}

// heatMeter is a published telegram of a heat meter, id 03543109, maker AMT.
const heatMeter = "68 38 38 68 08 C8 72 09 31 54 03 B4 05 B0 04 C9 10 FF FF 03 22 9A 00 00 05 2E A0 C8 51 46 05 3E B4 E3 D7 42 " +
	"05 5B 90 D3 07 43 05 5F 0E AA E7 41 05 63 9C BC D5 42 04 6D 10 09 05 C5 77 16"

// TestVectors holds the codec against frames that were published.
func TestVectors(t *testing.T) {
	for want, got := range map[string][]byte{
		"10 40 FE 3E 16":                      shortFrame(sndNKE, 254),
		"68 03 03 68 53 01 BD 11 16":          longFrame(sndUD, 1, 0xBD, nil),
		"68 06 06 68 53 FE 51 01 7A 08 25 16": longFrame(sndUD, 254, 0x51, []byte{0x01, 0x7A, 0x08}),
		"10 7B 01 7C 16":                      shortFrame(reqUD2|fcb, 1),
	} {
		if !slices.Equal(got, octets(t, want)) {
			t.Errorf("% X, want %s", got, want)
		}
	}
	tags := []field.Tag{{Name: "id", At: "id"}, {Name: "maker", At: "maker"}, {Name: "medium", At: "medium"}, {Name: "power", At: "power", Unit: "kW"},
		{Name: "flow", At: "flow", Unit: "l/h"}, {Name: "forward", At: "flow temperature"}, {Name: "back", At: "return temperature"},
		{Name: "spread", At: "temperature difference"}, {Name: "hours", At: "operating time"}, {Name: "time", At: "time"}, {Name: "raw", At: "05 5B"}}
	s, err := New(link.Replay(func(request []byte) ([]byte, error) {
		if request[1] == sndNKE {
			return []byte{single}, nil
		}
		return octets(t, heatMeter), nil
	})).Bind(field.Device{Address: "200", Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Read(t.Context(), field.MainGroup)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"03543109", "AMT", "heat (return)", "13426.156", "107944.73", "135.82642", "28.958035", "106.86838", "", "", "135.82642"}
	for i, v := range r.Values {
		if want[i] != "" && v.String() != want[i] {
			t.Errorf("%s = %s (%s), want %s", tags[i].Name, v, r.QualityOf(i), want[i])
		}
	}
}

// TestRecords reads what the standard has, kind by kind.
func TestRecords(t *testing.T) {
	for _, c := range []struct{ frame, at, unit, want string }{
		{"0B FD 47 56 34 12", "voltage", "V", "1234.56"},
		{"0B FD 59 56 34 12", "current", "A", "123.456"},
		{"0B 2A 56 34 12", "power", "W", "12345.6"},
		{"0C 13 45 23 01 00", "volume", "m3", "12.345"},
		{"0C 13 45 23 01 00", "volume", "l", "12345"},
		{"4C 13 45 23 01 00", "volume storage 1", "m3", "12.345"},
		{"8C 10 06 12 00 00 00", "energy tariff 1", "kWh", "12"},
		{"8C 40 06 12 00 00 00", "energy unit 1", "kWh", "12"},
		{"1C 2B 12 00 00 00", "power max", "W", "12"},
		{"0C 0E 12 00 00 00", "energy", "MJ", "12"},
		{"0C 0E 36 00 00 00", "energy", "kWh", "10"},
		{"0C FB 00 12 00 00 00", "energy", "MWh", "1.2"},
		{"0C FB 08 12 00 00 00", "energy", "GJ", "1.2"},
		{"02 5A D2 00", "flow temperature", "", "21"},
		{"02 65 9C FF", "external temperature", "", "-1"},
		{"0A 5A 50 F1", "flow temperature", "", "-15"},
		{"02 68 F4 01", "pressure", "mbar", "500"},
		{"02 6C 7E 3B", "time", "", "2027-11-30"},
		{"04 6D 05 0E 5E 3B", "time", "", "2026-11-30 14:05"},
		{"02 24 05 00", "operating time", "s", "5"}, {"02 26 05 00", "operating time", "s", "18000"},
		{"0D 78 08 38 37 36 35 34 33 32 31", "record 0", "", "12345678"},
		{"0D 78 C2 34 12", "fabrication number", "", "1234"}, {"0D 78 E1 07", "fabrication number", "", "7"},
		{"04 93 7D 05 00 00 00", "volume", "m3", "5"}, {"04 93 73 05 00 00 00", "volume", "m3", "0.000005"},
		{"02 46 0A 00", "flow", "m3/h", "60"},
		// what has no number
		{"02 5A 00 80", "flow temperature", "", "invalid"}, {"0A 5A AA 00", "flow temperature", "", "invalid"},
		{"05 5B 00 00 C0 7F", "flow temperature", "", "invalid"}, {"3C 13 45 23 01 00", "volume error", "", "invalid"},
		{"04 6D 85 0E 5E 3B", "time", "", "invalid"}, {"00 13", "volume", "", "exception"}, {"0C 13 45 23 01 00", "energy", "", "exception"},
		{"0C 93 3A 45 23 01 00", "volume", "", "exception"}, {"0C 7C 02 48 48 45 23 01 00", "record 0", "", "12345"},
	} {
		typ := ""
		if c.at == "record 0" && c.frame[:2] == "0D" {
			typ = "string"
		}
		s, err := New(link.Replay(func([]byte) ([]byte, error) { return hand(5, octets(t, c.frame)), nil })).Bind(field.Device{
			Address: "5", Quirks: map[string]string{"reset": "false"}, Tags: []field.Tag{{Name: "x", At: c.at, Unit: c.unit, Type: typ}}})
		if err != nil {
			t.Errorf("%s: %v", c.at, err)
			continue
		}
		r, err := s.Read(t.Context(), field.MainGroup)
		got := r.Values[0].String()
		if r.QualityOf(0) != field.Good {
			got = r.QualityOf(0).String()
		}
		if err != nil || got != c.want {
			t.Errorf("%s as %s in %q: %s (%v), want %s", c.frame, c.at, c.unit, got, err, c.want)
		}
	}
}
