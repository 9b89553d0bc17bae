package uplink

import (
	"slices"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// TestMemSource holds the test's own Source against what the uplink relies on.
func TestMemSource(t *testing.T) {
	src := newMemSource()
	src.put(buffer.Live, readings(1, 10)...)
	testSource(t, src)
}

// testSource is the contract of a Source that has the readings 1 to 10 in its lane Live.
func testSource(t *testing.T, src Source) {
	t.Helper()
	next := func(max int) *buffer.Batch {
		t.Helper()
		b, ok := src.Next(buffer.Live, max, 1<<20)
		if !ok || b.Class != field.Readings || len(b.Records) == 0 || len(b.Records) > max {
			t.Fatalf("Next: %+v, %t", b, ok)
		}
		return b
	}
	seqs := func(bs ...*buffer.Batch) (out []uint64) {
		for _, b := range bs {
			for _, r := range b.Records {
				out = append(out, r.Seq)
			}
		}
		return out
	}
	want := func(got, want []uint64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("offered %v, want %v", got, want)
		}
	}
	select {
	case <-src.Ready():
	default:
		t.Error("no token, though there is something")
	}
	a, b, c := next(3), next(2), next(1)
	want(seqs(a, b, c), []uint64{1, 2, 3, 4, 5, 6})
	src.Ack(b) // in any order
	src.Rewind()
	d, e := next(3), next(2)
	want(seqs(d, e), []uint64{1, 2, 3, 6, 7})
	src.Ack(d)
	src.Reject(e, "poison")
	f := next(10)
	want(seqs(f), []uint64{8, 9, 10})
	if _, ok := src.Next(buffer.Live, 10, 1<<20); ok {
		t.Error("offered again while out")
	}
	src.Ack(f)
	src.Rewind()
	if got, ok := src.Next(buffer.Live, 10, 1<<20); ok {
		t.Errorf("offered after the acknowledgement: %v", seqs(got))
	}
}
