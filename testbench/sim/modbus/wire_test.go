package modbus

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Frames that others have published, so that our CRC is not checked by our CRC.
func TestPublishedFramesHaveOurCRC(t *testing.T) {
	for _, frame := range []string{
		"01 03 00 00 00 0A C5 CD",
		"11 03 00 6B 00 03 76 87",
		"0A 01 04 A1 00 01 AC 63",
		"01 83 02 C0 F1",
	} {
		b := unhex(t, frame)
		if !validCRC(b) {
			t.Errorf("%s: our CRC is %04X", frame, CRC16(b[:len(b)-2]))
		}
		b[1] ^= 1
		if validCRC(b) {
			t.Errorf("%s with one bit flipped still passes", frame)
		}
	}
}

func TestRTUFindsRequests(t *testing.T) {
	const good = "01 03 00 00 00 0A C5 CD"
	for _, c := range []struct {
		name  string
		got   string
		quiet bool
		found string // "" for none
		used  int
	}{
		{"whole", good, false, good, 8},
		{"piece", "01 03 00 00 00", false, "", 0},
		{"piece, then silence", "01 03 00 00 00", true, "", 5},
		{"noise before", "FF 00 7E" + good, false, good, 11},
		{"two requests", good + good, false, good, 8},
		{"bad CRC", "01 03 00 00 00 0A C5 CC", false, "", 0},
		{"bad CRC, then silence", "01 03 00 00 00 0A C5 CC", true, "", 8},
		{"bad CRC, then a good one", "01 03 00 00 00 0A C5 CC" + good, false, good, 16},
		{"unknown function, more may come", "01 07 41 E2", false, "", 0},
		{"unknown function, silence", "01 07 41 E2", true, "01 07 41 E2", 4},
		{"write of two registers", "11 10 00 01 00 02 04 00 0A 01 02 C6 F0", false, "11 10 00 01 00 02 04 00 0A 01 02 C6 F0", 13},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, used, ok := rtu{}.next(unhex(t, c.got), c.quiet)
			if !ok || used != c.used {
				t.Fatalf("used %d, ok %v; want %d, true", used, ok, c.used)
			}
			switch {
			case c.found == "" && r != nil:
				t.Fatalf("found % X", r.raw)
			case c.found != "" && (r == nil || !bytes.Equal(r.raw, unhex(t, c.found))):
				t.Fatalf("found %+v, want %s", r, c.found)
			}
		})
	}
}

func TestMBAPFindsRequests(t *testing.T) {
	const good = "00 07 00 00 00 06 01 03 00 6B 00 03"
	r, used, ok := mbap{}.next(unhex(t, good+"00 08"), false)
	if !ok || used != 12 || r == nil || r.transaction != 7 || r.unit != 1 || len(r.pdu) != 5 {
		t.Fatalf("%+v, used %d, ok %v", r, used, ok)
	}
	if r, used, ok = (mbap{}).next(unhex(t, good)[:11], false); r != nil || used != 0 || !ok {
		t.Fatalf("a piece: %+v, used %d, ok %v", r, used, ok)
	}
	if _, _, ok = (mbap{}).next(unhex(t, "00 07 00 01 00 06 01 03"), false); ok {
		t.Fatal("protocol 1 was taken for Modbus")
	}
}

func FuzzFraming(f *testing.F) {
	f.Add([]byte{1, 3, 0, 0, 0, 10, 0xC5, 0xCD}, true)
	f.Add([]byte{0, 7, 0, 0, 0, 6, 1, 3, 0, 0x6B, 0, 3}, false)
	f.Fuzz(func(t *testing.T, got []byte, quiet bool) {
		for _, framing := range []framing{rtu{}, mbap{}} {
			r, used, ok := framing.next(got, quiet)
			if used < 0 || used > len(got) {
				t.Fatalf("used %d of %d", used, len(got))
			}
			if !ok || r == nil {
				continue
			}
			if len(r.raw) > used || len(r.pdu) == 0 {
				t.Fatalf("request %+v in %d bytes", r, used)
			}
			New(1).Unit(r.unit).serve(r.pdu, 0) // must not panic
		}
	})
}
