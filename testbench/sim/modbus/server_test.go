package modbus

import (
	"bytes"
	"reflect"
	"testing"
)

// The examples of the application protocol specification V1.1b3, section 6, and what its flow charts refuse.
func TestFunctions(t *testing.T) {
	s := New(1)
	u := s.Unit(1)
	u.Set(Coils, 19, bits(0xCD, 8)...)
	u.Set(Coils, 27, bits(0x6B, 8)...)
	u.Set(Coils, 35, bits(0x05, 3)...)
	u.Set(Discretes, 196, bits(0xAC, 8)...)
	u.Set(Discretes, 204, bits(0xDB, 8)...)
	u.Set(Discretes, 212, bits(0x35, 6)...)
	u.Set(Holdings, 107, 555, 0, 100)
	u.Set(Inputs, 8, 10)
	u.Set(Holdings, 3, 0x00FE, 0x0ACD, 0x0001, 0x0003, 0x000D, 0x00FF)
	u.Hole(Holdings, 1000, 1009)
	u.Limit(Inputs, 50)
	u.MaxRegisters(60)

	for _, c := range []struct{ name, request, answer string }{
		{"read coils", "01 0013 0013", "01 03 CD 6B 05"},
		{"read discretes", "02 00C4 0016", "02 03 AC DB 35"},
		{"read holdings", "03 006B 0003", "03 06 022B 0000 0064"},
		{"read inputs", "04 0008 0001", "04 02 000A"},
		{"write coil", "05 00AC FF00", "05 00AC FF00"},
		{"write coil with another value", "05 00AC 0001", "85 03"},
		{"write register", "06 0001 0003", "06 0001 0003"},
		{"write coils", "0F 0013 000A 02 CD 01", "0F 0013 000A"},
		{"write registers", "10 0001 0002 04 000A 0102", "10 0001 0002"},
		{"write and read", "17 0003 0006 000E 0003 06 00FF 00FF 00FF", "17 0C 00FE 0ACD 0001 0003 000D 00FF"},
		{"byte count against quantity", "10 0001 0003 04 000A 0102", "90 03"},
		{"byte count against length", "10 0001 0002 04 000A", "90 03"},
		{"quantity 0", "03 0000 0000", "83 03"},
		{"more than the unit gives", "03 0000 003D", "83 03"},
		{"as much as it gives", "04 0000 0032", "04 64" + string(bytes.Repeat([]byte("0000"), 8)) + "000A" + string(bytes.Repeat([]byte("0000"), 41))},
		{"into a hole", "03 03E7 0002", "83 02"},
		{"up to a hole", "03 03E7 0001", "03 02 0000"},
		{"beyond the end", "04 0031 0002", "84 02"},
		{"beyond 65535", "03 FFFF 0002", "83 02"},
		{"write into a hole", "06 03E8 0001", "86 02"},
		{"unknown function", "2B 0E 01 00", "AB 01"},
		{"too short", "03 00", "83 03"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := u.serve(unhex(t, c.request), 0)
			if want := unhex(t, c.answer); !bytes.Equal(got, want) {
				t.Fatalf("% X, want % X", got, want)
			}
		})
	}

	var seen [][]any
	for _, w := range u.Writes() {
		seen = append(seen, []any{w.Function, w.Table, w.Address, w.Values})
	}
	want := [][]any{
		{byte(5), Coils, uint16(0xAC), []uint16{1}},
		{byte(6), Holdings, uint16(1), []uint16{3}},
		{byte(15), Coils, uint16(0x13), []uint16{1, 0, 1, 1, 0, 0, 1, 1, 1, 0}},
		{byte(16), Holdings, uint16(1), []uint16{0x0A, 0x102}},
		{byte(23), Holdings, uint16(0xE), []uint16{0xFF, 0xFF, 0xFF}},
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("the witness saw\n%v, want\n%v", seen, want)
	}
	if u.Get(Coils, 0xAC) != 1 || u.Get(Holdings, 2) != 0x102 {
		t.Error("what was written cannot be read")
	}
	if c := u.Counts(); c.Requests != 22 || c.Functions[3] != 7 {
		t.Errorf("counts: %+v", c)
	}
}

func bits(b byte, n int) []uint16 {
	v := make([]uint16, n)
	for i := range v {
		v[i] = uint16(b >> i & 1)
	}
	return v
}

func TestGeneratorsTellUnitAddressAndTime(t *testing.T) {
	s := New(1)
	u := s.Unit(7)
	u.Generate(Inputs, 0, 99, ProofCount)
	u.Set(Inputs, 50, 1234)
	for n := range uint16(3) {
		pdu := u.serve([]byte{4, 0, 10, 0, 2}, 0)
		v := uint32(pdu[2])<<24 | uint32(pdu[3])<<16 | uint32(pdu[4])<<8 | uint32(pdu[5])
		count, ok := CheckProofCount(7, 10, v)
		if !ok || count != n {
			t.Fatalf("read %d: value %08X: count %d, ok %v", n, v, count, ok)
		}
		if _, ok := CheckProofCount(7, 12, v); ok {
			t.Fatal("the value passes for another address's")
		}
		if _, ok := CheckProofCount(8, 10, v); ok {
			t.Fatal("the value passes for another unit's")
		}
	}
	if u.Get(Inputs, 50) != 1234 {
		t.Error("a set value does not take the generator's place")
	}
}

func TestProofsDiffer(t *testing.T) {
	seen := map[uint16]int{}
	for unit := range 10 {
		for a := range 1000 {
			seen[ProofOf(byte(unit), uint16(a))]++
		}
	}
	if len(seen) < 9000 {
		t.Fatalf("10000 proofs have only %d values", len(seen))
	}
}

func TestFaultsFallBySeed(t *testing.T) {
	run := func(seed uint64) (fell []bool) {
		u := New(seed).Unit(3)
		u.Inject(Fault{Kind: Late, Chance: 0.3})
		for range 200 {
			fell = append(fell, u.draw().of(Late) != nil)
		}
		return fell
	}
	a, b, c := run(5), run(5), run(6)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed gave other faults")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("another seed gave the same faults")
	}
	n := 0
	for _, f := range a {
		if f {
			n++
		}
	}
	if n < 30 || n > 90 {
		t.Errorf("a chance of 0.3 fell %d times in 200", n)
	}
}

func TestFaultSkipCountAndClear(t *testing.T) {
	s := New(1)
	u := s.Unit(1)
	u.Inject(Fault{Kind: Silent, Skip: 2, Count: 3})
	s.Inject(Fault{Kind: Echo})
	var fell []int
	for i := range 8 {
		m := u.draw()
		if m.of(Silent) != nil {
			fell = append(fell, i)
		}
		if m.of(Echo) == nil {
			t.Error("the server's fault did not fall")
		}
	}
	if !reflect.DeepEqual(fell, []int{2, 3, 4}) {
		t.Errorf("fell on requests %v", fell)
	}
	s.Clear(Echo)
	if u.draw().of(Echo) != nil {
		t.Error("a cleared fault fell")
	}
	if c := u.Counts(); c.Faults[Silent] != 3 || c.Faults[Echo] != 8 {
		t.Errorf("counts: %+v", c.Faults)
	}
}
