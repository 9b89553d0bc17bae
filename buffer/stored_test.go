package buffer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestHeaderAndSummaryComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		h := header{first: r.Uint64N(1 << 40), epoch: r.Uint32(), shift: r.Uint64(), oldest: r.Int64() - r.Int64(), newest: r.Int64(), unsure: r.IntN(2) == 0}
		for range r.IntN(9) {
			h.note(1+r.Uint64N(1<<30), mask(r.Uint32()&0xffff))
		}
		b := append(h.append(nil), "block"...)
		got, rest, err := readHeader(b)
		if err != nil || !reflect.DeepEqual(got, h) || string(rest) != "block" {
			t.Fatalf("%+v became %+v, %q, %v", h, got, rest, err)
		}
		i := r.IntN(len(b) - len("block"))
		b[i] ^= 1 << r.IntN(8)
		if got, _, err := readHeader(b); err == nil && !reflect.DeepEqual(got, h) {
			t.Fatalf("byte %d flipped: %+v", i, got)
		}

		k := bucket{first: r.Uint64N(1 << 40), end: r.Uint64(), epoch: r.Uint32(), shift: r.Uint64(), blocks: r.Uint64N(100),
			bytes: r.Int64(), records: r.Uint64N(1000), oldest: r.Int64(), newest: r.Int64(), unsure: r.IntN(2) == 0}
		k.sealed[0], k.sealed[1] = r.Uint64N(1000), r.Uint64N(1000)
		stored := k.summary([]uint8{7, 3})
		back, err := readSummary(stored, func(id uint64) int { return map[uint64]int{7: 0, 3: 1}[id] })
		if err != nil || !reflect.DeepEqual(*back, k) {
			t.Fatalf("%+v became %+v, %v", k, back, err)
		}
	}
}

func TestTrackComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 1000 {
		in := track{low: r.Uint64N(1000)}
		for range r.IntN(9) {
			from := in.low + r.Uint64N(500)
			in.settled.add(from, from+r.Uint64N(20))
		}
		var out track
		if err := out.parse(in.append(nil)); err != nil || out.low != in.low || out.read != in.low || !reflect.DeepEqual(out.settled, in.settled) {
			t.Fatalf("%+v became %+v, %v", in, out, err)
		}
	}
}

func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		var set ranges
		var want [64]bool
		for range 60 {
			a := r.Uint64N(64)
			b := a + r.Uint64N(64-a+1)
			in := r.IntN(3) > 0
			if in {
				set.add(a, b)
			} else {
				set.remove(a, b)
			}
			for i := a; i < b; i++ {
				want[i] = in
			}
			var n uint64
			for i, there := range want {
				if set.has(uint64(i)) != there {
					t.Fatalf("%v at %d", set, i)
				}
				if there {
					n++
				}
			}
			if set.count() != n || set.within(0, 64) != n {
				t.Fatalf("%v counts %d, not %d", set, set.count(), n)
			}
			for i := 1; i < len(set); i++ {
				if set[i-1].to >= set[i].from {
					t.Fatalf("%v touches", set)
				}
			}
		}
	}
}

// FuzzStored feeds what stands in the store to its readers, behind the checksums that would keep every mutation out.
func FuzzStored(f *testing.F) {
	h := header{first: 5, epoch: 1, runs: []run{{3, 1}, {1 << 40, 0}, {2, 3}}}
	b := h.append(nil)
	f.Add(b[7:])
	k := bucket{first: 1, end: 9, blocks: 2}
	summary := k.summary([]uint8{0, 1})
	f.Add(summary[:len(summary)-4])
	in := track{low: 9, settled: ranges{{12, 15}, {20, 21}}}
	f.Add(in.append(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := binary.AppendUvarint([]byte{headerVersion, 0, 0, 0, 0, 0}, uint64(len(body)))
		b = append(b, body...)
		binary.LittleEndian.PutUint32(b[2:], headerSum(b))
		if h, _, err := readHeader(b); err == nil && h.end() < h.first {
			t.Fatalf("%+v ends before it begins", h)
		}
		sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
		if k, err := readSummary(binary.LittleEndian.AppendUint32(bytes.Clone(body), sum), func(uint64) int { return 0 }); err == nil && k == nil {
			t.Fatal("no summary and no error")
		}
		var tr track
		if err := tr.parse(body); err == nil {
			var again track
			if err := again.parse(tr.append(nil)); err != nil || again.low != tr.low || !reflect.DeepEqual(again.settled, tr.settled) {
				t.Fatalf("%+v became %+v", tr, again)
			}
		}
	})
}
