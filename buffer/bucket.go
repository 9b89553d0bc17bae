package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// tally counts records by destination, in the order of Options.Destinations.
type tally [2 * MaxDestinations]uint64 // also those that are served no more, while they are counted out

func (t *tally) most() uint64 {
	var n uint64
	for _, v := range t {
		n = max(n, v)
	}
	return n
}

// bucket is a run of blocks of one class that is dropped as one. All its records belong to one epoch, and their
// sequence numbers follow their positions: seq = pos + shift.
type bucket struct {
	id        uint32
	first     uint64 // position at which it begins
	end       uint64 // position at which it ends; it grows while the bucket is the last one
	epoch     uint32
	shift     uint64 // wraps: a number below its position is a large shift
	blocks    uint64
	bytes     int64
	records   uint64
	opened    time.Time     // monotonic; zero when it was found at opening
	closed    bool          // its summary stands, so it takes no block any more
	closing   bool          // takes no block any more, for it is being freed
	step      time.Duration // to which it was thinned out; 0 when it was not
	rewritten bool          // it took the place of others
	unfit     bool          // was tried to be rewritten in vain
	replaces  []uint32      // until its summary stands: the buckets that it replaces
	oldest    int64         // Unix milliseconds, of the records' stamps
	newest    int64
	unsure    bool  // some stamp could not be believed when it was taken
	sealed    tally // records that it was sealed for
	owed      tally // those of them not yet settled
}

// add takes a block's figures in.
func (b *bucket) add(h *header, size int) {
	if b.blocks == 0 || h.oldest < b.oldest {
		b.oldest = h.oldest
	}
	if b.blocks == 0 || h.newest > b.newest {
		b.newest = h.newest
	}
	b.unsure = b.unsure || h.unsure
	b.blocks++
	b.bytes += int64(size)
	for _, r := range h.runs {
		if r.owed != 0 {
			b.records += r.count
		}
	}
}

// bucketOf finds the bucket that holds pos; nil when there is none.
func (st *stream) bucketOf(pos uint64) *bucket {
	i := st.firstBehind(pos)
	if i < len(st.buckets) && st.buckets[i].first <= pos {
		return st.buckets[i]
	}
	return nil
}

// firstBehind gives the index of the first bucket that ends behind pos.
func (st *stream) firstBehind(pos uint64) int {
	i, _ := slices.BinarySearchFunc(st.buckets, pos, func(b *bucket, p uint64) int {
		if b.end <= p {
			return -1
		}
		return 1
	})
	return i
}

// last gives the bucket that may still grow; nil when there is none.
func (st *stream) last() *bucket {
	if n := len(st.buckets); n > 0 {
		return st.buckets[n-1]
	}
	return nil
}

// run is count positions in a row that are owed to the same destinations. Owed to nobody means: not in the block.
type run struct {
	count uint64
	owed  mask
}

// header stands before each block: what positions it spans and who is owed which of them.
//
//	byte    version = 1
//	byte    1 when it was rewritten, else 0
//	4 bytes CRC-32C of all the header but itself
//	varint  length of what follows in the header
//	varints first position, epoch, shift, oldest and newest stamp, 1 when some stamp could not be believed, number of
//	        runs, then count and destinations of each run
type header struct {
	first          uint64
	epoch          uint32
	shift          uint64
	oldest, newest int64 // Unix milliseconds
	unsure         bool
	rewritten      bool
	runs           []run
}

const headerVersion = 1

var errHeader = errors.New("damaged block header")

func (h *header) end() uint64 {
	pos := h.first
	for _, r := range h.runs {
		pos += r.count
	}
	return pos
}

// note puts one more position behind the runs.
func (h *header) note(count uint64, owed mask) {
	if n := len(h.runs); n > 0 && h.runs[n-1].owed == owed {
		h.runs[n-1].count += count
	} else if count > 0 {
		h.runs = append(h.runs, run{count, owed})
	}
}

func (h *header) append(dst []byte) []byte {
	var body []byte
	body = binary.AppendUvarint(body, h.first)
	body = binary.AppendUvarint(body, uint64(h.epoch))
	body = binary.AppendUvarint(body, h.shift)
	body = binary.AppendVarint(body, h.oldest)
	body = binary.AppendVarint(body, h.newest)
	body = append(body, oneIf(h.unsure))
	body = binary.AppendUvarint(body, uint64(len(h.runs)))
	for _, r := range h.runs {
		body = binary.AppendUvarint(body, r.count)
		body = binary.AppendUvarint(body, uint64(r.owed))
	}
	start := len(dst)
	dst = append(dst, headerVersion, oneIf(h.rewritten), 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	dst = append(dst, body...)
	binary.LittleEndian.PutUint32(dst[start+2:], headerSum(dst[start:]))
	return dst
}

func headerSum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:2], table), table, b[6:])
}

// readHeader reads the header of a block and gives what follows it.
func readHeader(b []byte) (header, []byte, error) {
	var h header
	if len(b) < 7 || b[0] != headerVersion {
		return h, nil, errHeader
	}
	length, n := binary.Uvarint(b[6:])
	if n <= 0 || length > uint64(len(b)-6-n) {
		return h, nil, errHeader
	}
	whole := 6 + n + int(length)
	if headerSum(b[:whole]) != binary.LittleEndian.Uint32(b[2:]) {
		return h, nil, errHeader
	}
	h.rewritten = b[1]&1 != 0
	r := numbers{b: b[6+n : whole]}
	h.first, h.epoch, h.shift = r.next(), uint32(r.next()), r.next()
	h.oldest, h.newest, h.unsure = r.signed(), r.signed(), r.next() == 1
	count := r.next()
	if count > uint64(len(r.b)) {
		return h, nil, errHeader
	}
	pos := h.first
	for range count {
		k := run{r.next(), mask(r.next())}
		if pos+k.count < pos {
			return h, nil, errHeader
		}
		pos += k.count
		h.runs = append(h.runs, k)
	}
	if r.bad {
		return h, nil, errHeader
	}
	return h, b[whole:], nil
}

// numbers reads varints one after the other; bad says that there were too few.
type numbers struct {
	b   []byte
	bad bool
}

func (r *numbers) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *numbers) signed() int64 {
	v := r.next()
	return int64(v>>1) ^ -int64(v&1) // zigzag, as encoding/binary writes it
}

func oneIf(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Version 1 of the summary ended before the step.
const summaryVersion = 2

// summary is what stands at the end of a closed bucket, so that opening need not read its blocks. ids gives the
// persistent number of each destination.
func (b *bucket) summary(ids []uint8) []byte {
	out := []byte{summaryVersion}
	for _, v := range []uint64{b.first, b.end, uint64(b.epoch), b.shift, b.blocks, uint64(b.bytes), b.records,
		uint64(b.oldest), uint64(b.newest)} {
		out = binary.AppendUvarint(out, v)
	}
	out = append(out, oneIf(b.unsure))
	out = binary.AppendUvarint(out, uint64(len(ids)))
	for i, id := range ids {
		out = binary.AppendUvarint(out, uint64(id))
		out = binary.AppendUvarint(out, b.sealed[i])
	}
	out = binary.AppendUvarint(out, uint64(b.step))
	out = binary.AppendUvarint(out, uint64(len(b.replaces)))
	for _, id := range b.replaces {
		out = binary.AppendUvarint(out, uint64(id))
	}
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

// readSummary fills a bucket from its summary; index gives the place of a destination's persistent number, or -1.
func readSummary(b []byte, index func(uint64) int) (*bucket, error) {
	n := len(b) - 4
	if n < 1 || b[0] < 1 || b[0] > summaryVersion ||
		crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, fmt.Errorf("damaged bucket summary")
	}
	r := numbers{b: b[1:n]}
	k := &bucket{first: r.next(), end: r.next(), epoch: uint32(r.next()), shift: r.next(), blocks: r.next(),
		bytes: int64(r.next()), records: r.next(), oldest: int64(r.next()), newest: int64(r.next()), unsure: r.next() == 1}
	for range r.next() {
		id, count := r.next(), r.next()
		if r.bad {
			return nil, fmt.Errorf("damaged bucket summary")
		}
		if i := index(id); i >= 0 {
			k.sealed[i] = count
		}
	}
	if b[0] > 1 {
		k.step = time.Duration(r.next())
		for n := r.next(); n > 0 && !r.bad; n-- {
			k.replaces = append(k.replaces, uint32(r.next()))
		}
	}
	if r.bad {
		return nil, fmt.Errorf("damaged bucket summary")
	}
	return k, nil
}
