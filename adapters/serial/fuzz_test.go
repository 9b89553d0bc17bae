package serial

import (
	"bytes"
	"testing"

	"edgegateway/adapters/field"
)

// FuzzFrames: whatever comes, a frame is a part of it, is sound, and its values can be read.
func FuzzFrames(f *testing.F) {
	speeches := []map[string]string{
		{},
		{"start": "$", "checksum": "nmea", "separator": ","},
		{"frame": "delimiter", "start": `\x02`, "end": `\x03`, "checksum": "lrc", "checksum_as": "hex"},
		{"frame": "fixed", "length": "9", "checksum": "crc16-modbus"},
		{"frame": "length", "start": `\xAA`, "length_at": "2", "length_size": "2", "length_order": "little", "length_add": "-3", "checksum": "sum8"},
		{"frame": "length", "length_at": "0", "checksum": "xor", "longest": "4096"},
		{"frame": "silence", "start": "T"},
	}
	f.Add(uint8(0), []byte("W07 + 1.25 kg\r\n"))
	f.Add(uint8(1), []byte("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"))
	f.Add(uint8(2), []byte("\x02+12.580\x03"))
	f.Add(uint8(3), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add(uint8(4), []byte{0xAA, 1, 9, 0, 5, 6, 7})
	f.Add(uint8(5), []byte{3, 1, 2})
	f.Add(uint8(6), []byte("T=21.5"))
	tags := []field.Tag{{Name: "a", At: "frame"}, {Name: "b", At: "byte 1", Type: "float32"}, {Name: "c", At: "byte 0", Type: "bcd32"},
		{Name: "d", At: "byte 3", Type: "int24", Order: "DCBA"}, {Name: "e", At: "byte 2 bit 13"}, {Name: "f", At: "frame", Type: "hex"}}
	f.Fuzz(func(t *testing.T, which uint8, got []byte) {
		got = got[:min(len(got), 2*chunk)]
		quirks := speeches[int(which)%len(speeches)]
		own := tags
		if quirks["separator"] != "" {
			own = append(own, field.Tag{Name: "g", At: "field 2", Type: "nmea-angle"})
		}
		station, err := New(nil, Options{}).Bind(field.Device{Name: "d", Address: "1", Quirks: quirks, Tags: own})
		if err != nil {
			t.Fatal(err)
		}
		s := station.(*Station)
		frame, skip, missing := s.speech.find(got, func([]byte) bool { return true })
		switch {
		case skip < 0 || skip > len(got):
			t.Fatalf("skip %d of %d bytes", skip, len(got))
		case frame == nil && missing < 1:
			t.Fatalf("no frame, and %d bytes are missing", missing)
		case frame != nil && (!bytes.HasSuffix(got[:skip], frame) || len(frame) == 0):
			t.Fatalf("the frame % x does not end at %d", frame, skip)
		}
		if frame == nil {
			if frame, _ = s.speech.last(got, func([]byte, int) bool { return true }); frame == nil || s.speech.kind != silent {
				return
			}
		}
		if _, sound := s.speech.open(frame); sound {
			s.hear(frame, func(r field.Record) {
				for i, p := range r.Group.Points {
					if r.QualityOf(i) == field.Good && r.Values[i].Kind() != p.Kind {
						t.Errorf("%s is a %s, not a %s", p.Name, r.Values[i].Kind(), p.Kind)
					}
				}
			})
		}
	})
}
