package modbus

import (
	"bytes"

	"testing"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
)

// fuzzRequests are one of each kind, from the function code on.
func fuzzRequests() [][]byte {
	return [][]byte{
		unhex("01 00 00 00 09"), unhex("03 00 00 00 01"), unhex("04 00 6B 00 02"), unhex("06 00 01 00 07"), unhex("10 00 01 00 01 02 00 07"),
		unhex("11"), unhex("16 00 04 00 F2 00 25"), unhex("17 00 03 00 01 00 0E 00 01 02 00 FF"), unhex("18 04 DE"), unhex("2B 0E 01 00"),
	}
}

// FuzzFrames feeds every decoder of the package. Whatever comes: what is found is an intact frame of the unit and the
// function asked, in answer to what was asked; every value is of the kind that its tag announces; whatever reads a
// device ends; and an address is understood or refused with a word.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"01 03 02 00 2A 39 9B", "01 83 02 C0 F1", "01 03 04 00 2A 00 2B 9B E4 01 03 02 00 2A 39 9B", "01 06 00 01 00 07 99 C8",
		"00 01 00 00 00 05 01 03 02 00 2A", "00 00 00 00 00 05 01 03 02 00 07 00 01 00 00 00 03 01 83 02", "00 01 00 01 00 05 01 03 02 00 2A",
		"3A 30 31 30 33 30 32 30 30 32 41 44 30 0D 0A", "3A 30 31 3A 30 31 38 33 30 32 37 41 0D 0A",
		"01 11 03 2A FF 31 00 00", "01 18 00 06 00 02 01 B8 12 84 00 00", "01 2B 0E 01 81 FF 01 01 00 07 43 6F 6D 70 61 6E 79 00 00",
		"53 75 6E 53 00 01 00 42",
	} {
		for which := range fuzzRequests() {
			f.Add(uint8(which), unhex(s), "input 107", "float32", "CDAB")
		}
	}
	f.Add(uint8(1), []byte{}, "holding 0x10 bit 3", "bool", "")
	f.Add(uint8(1), []byte{}, "fifo 1240 entry 3", "int16", "")
	f.Add(uint8(1), []byte{}, "sunspec 101|102|103 W", "", "")
	f.Fuzz(func(t *testing.T, which uint8, got []byte, at, typ, order string) {
		requests := fuzzRequests()
		pdu := requests[int(which)%len(requests)]
		for _, framing := range []Framing{RTU, TCP, ASCII} {
			fuzzFinders(t, framing, pdu, got)
			if Describe(framing, true, got) == "" || Describe(framing, false, got) == "" {
				t.Error("nothing was said")
			}
			fuzzStation(t, framing, got, at, typ, order)
		}
		if _, start, bit, err := register.ParseAt(at); err != nil && (err.Problem == "" || err.Hint == "") || err == nil && (start < 0 || start > 65535 || bit < -1 || bit > 30) {
			t.Errorf("%q: %d, %d, %+v", at, start, bit, err)
		}
	})
}

// fuzzFinders looks for an answer among what came.
func fuzzFinders(t *testing.T, framing Framing, pdu, got []byte) {
	d := New(nil, framing, Options{})
	s := &Station{driver: d, unit: 1, packager: d.packager(1)}
	request := s.pack(pdu[0], pdu[1:]...)
	d.asked = ask(request, framing.pdu(request), 1, s.packager)
	finders := []link.Framer{d.find}
	if framing != TCP {
		finders = append(finders, d.stray)
	}
	for i, find := range finders {
		answer, skip, missing, err := find(got)
		if skip < 0 || skip > len(got) || answer == nil && err == nil && missing < 1 || err != nil && framing != TCP {
			t.Fatalf("%v: skip %d, missing %d, %v", framing, skip, missing, err)
		}
		if answer == nil || framing == TCP && d.asked.fault != "" {
			continue
		}
		unit, back := unwrap(framing, answer)
		intact := framing == TCP || bytes.EqualFold(wrap(framing, answer, back), answer)
		if !intact || unit != 1 && framing != TCP || back[0]&^exceptionBit != pdu[0] || !bytes.Contains(got, answer) {
			t.Fatalf("%v: % x is taken out of % x for an answer to % x", framing, answer, got, pdu)
		}
		if i == 0 && back[0] == 3 && len(back) != 4 {
			t.Fatalf("%v: % x is no answer to % x", framing, back, pdu)
		}
	}
}

// fuzzStation lets a device give the same bytes to whatever it is asked.
func fuzzStation(t *testing.T, framing Framing, got []byte, at, typ, order string) {
	d := New(link.Replay(func([]byte) ([]byte, error) { return got, nil }), framing, Options{Guard: 1})
	bound, err := d.Bind(field.Device{Name: "d", Address: "1", Timeout: 1, Tags: []field.Tag{
		{Name: "a", At: at, Type: typ, Order: order}, {Name: "b", At: "holding 0", Type: "uint16"}, {Name: "c", At: "fifo 1246 entry 1", Type: "int16"},
		{Name: "d", At: "input 9", Type: "bcd32"}, {Name: "e", At: "coil 0"}, {Name: "f", At: "sunspec 1 Mn"},
	}})
	if err != nil {
		return
	}
	s := bound.(*Station)
	r, err := s.Read(t.Context(), field.MainGroup)
	for i, p := range r.Group.Points {
		good := r.QualityOf(i) == field.Good
		if good == r.Values[i].IsNull() || good && (err != nil || r.Values[i].Kind() != p.Kind || !r.Values[i].Finite()) {
			t.Fatalf("%v: %s = %v (%v), kind %v, %v", framing, p.Name, r.Values[i], r.QualityOf(i), p.Kind, err)
		}
	}
	_, _ = s.identify(t.Context())
	_, _ = s.serverID(t.Context())
	if blocks, err := s.Look(t.Context(), "input 1"); err == nil {
		if _, err := s.Solve("input 1", []field.Clue{{Shown: "1.5", Blocks: blocks}}); err != nil {
			t.Fatal(err)
		}
	}
}
