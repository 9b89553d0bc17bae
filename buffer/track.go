package buffer

import (
	"encoding/binary"
	"errors"
	"math"

	"edgegateway/adapters/field"
)

// maxFragments bounds how many spans acknowledged out of order are remembered for one destination and class. An
// acknowledgement beyond that is not remembered: its records count as waiting, and go out again.
const maxFragments = 1024

// destination is one of those that records are owed to.
type destination struct {
	name   string
	tracks [len(field.Classes)]track
	ready  chan struct{}
}

// wake leaves a token that something new may be there.
func (d *destination) wake() {
	select {
	case d.ready <- struct{}{}:
	default:
	}
}

// track is how far one destination has come in one class.
//
// In the head each entry knows who lacks it. In blocks everything below low is settled (acknowledged, lost, or never
// owed); from low to read it was offered, and what is not in flying has been settled; behind read, settled and flying
// name what the live lane offered before it was sealed.
type track struct {
	books   books
	live    uint64 // next position to offer from the head
	low     uint64
	read    uint64 // next position to offer from blocks
	settled ranges
	flying  ranges
	hole    span // what could not be read since the last loss was declared
	moved   bool // since it was last written
}

// pending is how many records in blocks could be offered now.
func (t *track) pending() uint64 { return t.books.inBlocks - t.flying.count() }

// settle notes that records in blocks, at [from, to), need no more sending. It gives how many of them this is news of,
// and can be remembered of.
func (s *Store) settle(d int, st *stream, from, to uint64) (n uint64) {
	t := &s.dests[d].tracks[st.class]
	for from = max(from, t.low); from < to; {
		b := st.bucketOf(from)
		end := from + 1
		if b != nil && to <= b.end && to-from <= b.owed[d] && t.settled.within(from, to) == 0 {
			end = to // mostly
		}
		if b != nil && b.owed[d] > 0 && !t.settled.has(from) {
			t.flying.remove(from, end)
			if from < t.read || len(t.settled) < maxFragments {
				t.settled.add(from, end)
				t.moved = true
				b.owed[d] -= end - from
				t.books.inBlocks -= end - from
				n += end - from
			}
		}
		from = end
	}
	return n
}

// advance moves low behind what is settled. Buckets that it leaves behind owe the destination nothing any more: what
// their accounts still show could not be read, and is declared lost.
func (s *Store) advance(d int, st *stream) {
	t := &s.dests[d].tracks[st.class]
	low := t.read
	if len(t.flying) > 0 {
		low = min(low, t.flying[0].from)
	}
	for _, b := range st.buckets {
		if b.end > low {
			break
		}
		if b.owed[d] > 0 {
			s.loseBucket(d, st, b, Corrupt)
		}
	}
	if t.hole.to <= low {
		t.hole = span{}
	}
	if t.books.inBlocks == 0 {
		low = st.chain
		t.read, t.hole, t.flying = low, span{}, nil
	}
	if low > t.low {
		t.low, t.moved = low, true
	}
	t.settled.below(t.low)
}

// loseBucket declares lost what a bucket still owes a destination. The range is what could not be read, when that is
// the reason and is known, else what the destination had not yet got behind.
func (s *Store) loseBucket(d int, st *stream, b *bucket, why Cause) {
	t := &s.dests[d].tracks[st.class]
	from, to := max(t.low, b.first), b.end
	if why == Corrupt && t.hole.to > b.first && t.hole.from < b.end {
		from, to = max(t.hole.from, b.first), min(t.hole.to, b.end)
		t.hole = span{}
	}
	n := b.owed[d]
	b.owed[d] = 0
	t.books.inBlocks -= n
	t.books.lost[why] += n
	s.declare(loss{to: 1 << d, class: st.class, why: why, epoch: b.epoch, first: from + b.shift, last: to - 1 + b.shift, count: n})
}

// giveUp loses a whole bucket for everybody and moves their tracks behind it.
func (s *Store) giveUp(st *stream, b *bucket, why Cause) {
	for i, d := range s.dests {
		t := &d.tracks[st.class]
		if b.owed[i] > 0 {
			s.loseBucket(i, st, b, why)
		}
		t.flying.remove(b.first, b.end)
		t.settled.remove(b.first, b.end)
		if t.low >= b.first && t.low < b.end {
			t.low, t.moved = b.end, true
		}
		if t.read >= b.first && t.read < b.end {
			t.read = b.end
		}
		s.advance(i, st)
	}
}

const cursorVersion = 1

// append writes a track as it is persisted: low, then what is settled behind it.
func (t *track) append(dst []byte) []byte {
	dst = append(dst, cursorVersion)
	dst = binary.AppendUvarint(dst, t.low)
	dst = binary.AppendUvarint(dst, uint64(len(t.settled)))
	at := t.low
	for _, s := range t.settled {
		dst = binary.AppendUvarint(dst, s.from-at)
		dst = binary.AppendUvarint(dst, s.to-s.from)
		at = s.to
	}
	return dst
}

// note is the track as it is stored.
func (t *track) note(number uint8, c field.Class) []byte {
	return note(ofCursor, []byte{number, byte(c)}, t.append(nil))
}

// parseNote takes what note wrote.
func (t *track) parseNote(b []byte) error {
	text := noteOf(ofCursor, b)
	if len(text) < 2 {
		return errors.New("damaged cursor")
	}
	return t.parse(text[2:])
}

// parse takes low and settled from what append wrote.
func (t *track) parse(b []byte) error {
	if len(b) == 0 || b[0] != cursorVersion {
		return errors.New("damaged cursor")
	}
	r := numbers{b: b[1:]}
	low := r.next()
	n := r.next()
	var settled ranges
	at := low
	for i := uint64(0); i < n && !r.bad; i++ {
		from := at + r.next()
		at = from + r.next()
		settled.add(from, at)
	}
	if r.bad || n > math.MaxInt32 {
		return errors.New("damaged cursor")
	}
	t.low, t.read, t.settled = low, low, settled
	return nil
}
