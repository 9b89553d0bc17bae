package field

import "encoding/binary"

// appendRuns writes n numbers as runs: the number, then how often it stands.
func appendRuns(b []byte, n int, at func(int) uint64) []byte {
	for i := 0; i < n; {
		v, run := at(i), 1
		for i+run < n && at(i+run) == v {
			run++
		}
		b = binary.AppendUvarint(b, v)
		b = binary.AppendUvarint(b, uint64(run))
		i += run
	}
	return b
}

// blockReader reads a body from its front. The first thing that cannot be read sets bad, after which everything reads
// as zero, so callers check once.
type blockReader struct {
	b   []byte
	bad bool
}

func (r *blockReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *blockReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *blockReader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// take gives the next n bytes, which still belong to the body.
func (r *blockReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *blockReader) text() string { return string(r.take(r.uvarint())) }

// runs reads what appendRuns wrote; no number may exceed limit.
func (r *blockReader) runs(n int, limit uint64, set func(int, uint64)) {
	for i := 0; i < n; {
		v, run := r.uvarint(), r.uvarint()
		if r.bad || run == 0 || run > uint64(n-i) || v > limit {
			r.bad = true
			return
		}
		for range run {
			set(i, v)
			i++
		}
	}
}
