package iec62056

import (
	"bytes"
	"context"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// FuzzFrames feeds every decoder: whatever comes, nothing breaks, and what is given is a number or a text of a line.
func FuzzFrames(f *testing.F) {
	f.Add(readoutOf("1", "1.8.0(000123.45*kWh)\r\n1.6.0(1*kW)(2611301200)\r\n!\r\n"), "1-0:1.8.0*255", "A")
	f.Add([]byte("/ABC3meter\r\n\r\n1.8.0(1*Wh)\r\n!\r\n"), "1.8.0 value 2", "D")
	f.Add([]byte("/ABC5MT174\r\n\x02(ER05)\x03\x5a"), "F.F", "")
	f.Add(append(command("P0", "(1)"), command("R1", "1.8.0(1*kWh)")...), "1.8.0", "C")
	f.Fuzz(func(t *testing.T, got []byte, at, mode string) {
		if len(got) > 4<<10 {
			return // longer ones say nothing new, slowly
		}
		Describe(got)
		for _, quirks := range []map[string]string{{"mode": mode}, {"read": "registers"}, nil} {
			asked := 0 // what is always there again would be a readout without end
			d := New(link.Replay(func([]byte) ([]byte, error) {
				if asked++; asked > 4 {
					return nil, nil
				}
				return got, nil
			}))
			d.sleep = func(context.Context, time.Duration) error { return nil }
			s, err := d.Bind(field.Device{Address: "*", Quirks: quirks,
				Tags: []field.Tag{{Name: "a", At: at}, {Name: "b", At: "1.8.0", Unit: "kWh"}, {Name: "c", At: "1.6.0", Type: "string"}}})
			if err != nil {
				continue
			}
			r, err := s.Read(t.Context(), field.MainGroup)
			if err == nil && r.QualityOf(1) == field.Good && !bytes.Contains(plain(got), []byte("1.8.0")) {
				t.Fatalf("%v from %q", r.Values, got)
			}
		}
	})
}
