package buffer

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// Rewriting puts the records of neighbouring buckets into one new bucket that takes their place: joined into larger
// blocks, and thinned out when a step is given. Its order makes a cut at any moment harmless:
//
//  1. The new bucket's blocks are committed. They are marked as rewritten; without a summary they count for nothing.
//  2. In memory the new bucket takes the place of the old ones. What was left out is declared, and the event that
//     says so is synced.
//  3. The new bucket's summary, which names those that it replaces, is committed.
//  4. The old buckets are dropped. Opening drops those that a summary names and that are still there.
//
// Only buckets that no destination has begun are rewritten, so no cursor stands inside and nothing of them is in flight.

// The bounds of one rewrite: it runs in the writer, and events wait for it.
const (
	rewriteBuckets = 64   // that become one
	rewriteBlocks  = 4096 // that are read
	readAhead      = 1 << 14
)

// replacement is a rewrite that is not finished: of which bucket the summary is to be written, and what to drop then.
type replacement struct {
	class field.Class
	fresh *bucket // nil when its summary stands
	old   []uint32
}

var errUnfit = errors.New("not to be rewritten")

// rewrite makes one bucket of olds, which are neighbours that fits has found fit. A step of 0 leaves nothing out. It
// says whether it did; what it began and gave up is dropped again.
func (s *Store) rewrite(st *stream, olds []*bucket, step time.Duration) bool {
	if !s.ready() || !s.finishRewrites() {
		return false
	}
	s.mu.Lock()
	f := s.flash
	k := &bucket{rewritten: true, first: olds[0].first, end: olds[len(olds)-1].end, epoch: olds[0].epoch,
		shift: olds[0].shift, step: max(step, olds[0].step)}
	served := s.owedTo(olds[0])
	s.mu.Unlock()
	s.w.nextBucket[st.class]++
	k.id = s.w.nextBucket[st.class]
	for _, b := range olds {
		k.replaces = append(k.replaces, b.id)
	}
	p := &packer{s: s, f: f, st: st, bucket: k, served: served, carry: map[*field.Group]*carried{}, step: step.Milliseconds()}
	err := p.choose(olds)
	if err == nil {
		p.header = header{first: k.first, rewritten: true}
		p.pos = k.first
		err = s.eachBlock(f, st.class, olds, p.pack)
	}
	if err == nil {
		err = p.finish(k.end)
	}
	s.tune.look("written")
	if err == nil && s.replace(st, olds, k, served) {
		s.tune.look("replaced")
		s.w.replaced = append(s.w.replaced, &replacement{st.class, k, k.replaces})
		return s.finishRewrites()
	}
	if err != nil && !errors.Is(err, errUnfit) {
		s.opt.Log.Warn("a part of the store could not be rewritten", "class", st.class.String(), "err", err)
	}
	if p.committed {
		s.w.replaced = append(s.w.replaced, &replacement{st.class, nil, []uint32{k.id}})
	}
	return false
}

// owedTo is the set of those that a bucket still owes something.
func (s *Store) owedTo(b *bucket) mask {
	var m mask
	for i := range s.dests {
		if b.owed[i] > 0 {
			m |= 1 << i
		}
	}
	return m
}

// fits says that a bucket may be rewritten: closed, and not begun by any of those that it owes something.
func (s *Store) fits(st *stream, b *bucket) bool {
	if b == st.last() || b.closing || b.unfit || b.blocks == 0 {
		return false
	}
	owed := false
	for i, d := range s.dests {
		if b.owed[i] == 0 {
			continue
		}
		owed = true
		t := &d.tracks[st.class]
		if t.low > b.first || t.read > b.first || t.flying.within(b.first, b.end) > 0 || t.settled.within(b.first, b.end) > 0 {
			return false
		}
	}
	return owed
}

// neighbours takes the first run of buckets of a class that are fit, wanted, owed to the same destinations, and of limit
// bytes together at most.
func (s *Store) neighbours(st *stream, limit int64, wanted func(*bucket) bool) []*bucket {
	var run []*bucket
	var bytes int64
	var blocks uint64
	for i, b := range st.buckets {
		if !s.fits(st, b) || !wanted(b) {
			if len(run) > 0 {
				break
			}
			continue
		}
		if len(run) > 0 {
			if prev := st.buckets[i-1]; prev.epoch != b.epoch || prev.shift != b.shift || prev.step != b.step || prev.end != b.first || s.owedTo(prev) != s.owedTo(b) ||
				len(run) >= rewriteBuckets || bytes+b.bytes > limit || blocks+b.blocks > rewriteBlocks {
				break
			}
		}
		run = append(run, b)
		bytes += b.bytes
		blocks += b.blocks
	}
	return run
}

// eachBlock reads the blocks of buckets in order, without a lock. A block that is missing or damaged ends it: whoever
// reads it will declare it.
func (s *Store) eachBlock(f *flash, c field.Class, olds []*bucket, do func(*block) error) error {
	for _, k := range olds {
		for at := k.first; at < k.end; {
			blocks, err := f.ahead(c, k, at)
			if err != nil {
				return err
			}
			if len(blocks) == 0 {
				return errUnfit
			}
			for _, b := range blocks {
				if b.damaged || b.first != at {
					return errUnfit
				}
				if err := do(b); err != nil {
					return err
				}
				at = b.end
			}
		}
	}
	return nil
}

// ahead decodes the next blocks of a bucket, which belong to the caller alone.
func (f *flash) ahead(c field.Class, k *bucket, at uint64) ([]*block, error) {
	var blocks []*block
	values := 0
	prefix := bucketKey(c, k.id)
	err := f.each(prefix, blockKey(c, k.id, at+1), func(key []byte, value func() ([]byte, error)) (bool, error) {
		end := binary.BigEndian.Uint64(key[len(prefix):])
		if end > k.end {
			return false, nil
		}
		stored, err := value()
		if err != nil {
			return false, err
		}
		b := f.unpack(c, k.id, at, end, stored)
		blocks, at = append(blocks, b), end
		for i := range b.records {
			values += 1 + len(b.records[i].Values)
		}
		return values < readAhead && !b.damaged, nil
	})
	return blocks, err
}

// replace puts the new bucket in the place of the old ones, if nobody has begun them meanwhile, and declares what was
// left out.
func (s *Store) replace(st *stream, olds []*bucket, k *bucket, served mask) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(st.buckets, olds[0])
	if at < 0 || at+len(olds) > len(st.buckets) || !slices.Equal(st.buckets[at:at+len(olds)], olds) {
		return false
	}
	for _, b := range olds {
		if !s.fits(st, b) || s.owedTo(b) != served {
			return false
		}
	}
	for i, d := range s.dests {
		var before uint64
		for _, b := range olds {
			before += b.owed[i]
		}
		left := before - k.owed[i]
		if left == 0 {
			continue
		}
		t := &d.tracks[st.class]
		t.books.inBlocks -= left
		t.books.lost[Thinned] += left
		s.declare(loss{to: 1 << i, class: st.class, why: Thinned, epoch: k.epoch, first: k.first + k.shift, last: k.end - 1 + k.shift,
			count: left, text: "reduced to one record every " + shortly(time.Duration(k.step))})
	}
	st.buckets = slices.Replace(slices.Clone(st.buckets), at, at+len(olds), k)
	return true
}

// finishRewrites makes good what rewrites left to do. It says whether nothing is left.
func (s *Store) finishRewrites() bool {
	for len(s.w.replaced) > 0 {
		r := s.w.replaced[0]
		s.saveCursors()
		s.mu.Lock()
		f, ok := s.flash, s.usable
		s.mu.Unlock()
		if f == nil || !ok {
			return false
		}
		if err := s.room(); err != nil {
			return false // once there is room
		}
		var err error
		if r.fresh != nil {
			summary := []change{{blockKey(r.class, r.fresh.id, summaryEnd), r.fresh.summary(f.ids)}}
			if err = f.commit(summary); err == nil {
				s.wrote(summary)
				r.fresh.replaces, r.fresh = nil, nil
			}
		}
		if err == nil {
			s.tune.look("summed up")
			err = f.drop(r.class, r.old...)
		}
		if err != nil {
			s.broken(err)
			return false
		}
		s.w.measured = measureEvery
		s.w.replaced = s.w.replaced[1:]
	}
	return true
}
