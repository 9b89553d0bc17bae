package buffer

import (
	"errors"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// keepHouse looks after disk, age and free space.
func (s *Store) keepHouse(now time.Time) {
	s.gauge(now)
	s.mu.Lock()
	f := s.flash
	s.mu.Unlock()
	if f == nil {
		return
	}
	if n, err := free(s.opt.Dir); err == nil && n < openNeeds {
		s.dropBallast()
	} else {
		s.takeBallast()
	}
	s.measure()
	s.finishRewrites()
	s.expire(now)
	s.evict()
	s.join()
	s.rest()
}

// measureEvery is how many bytes are written before the disk is measured again.
const measureEvery = 256 << 10

// measure takes the folder's size. Between two measurements what is committed is added.
func (s *Store) measure() {
	n := usage(s.opt.Dir)
	s.w.measured = 0
	s.mu.Lock()
	s.disk = n
	s.mu.Unlock()
}

func (s *Store) tooLarge() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk > s.opt.soft()
}

// evict makes room until the folder is within its limit: stores that were set aside go first, then old readings are
// thinned out if that is wanted, then whole buckets are given up: readings, then events, then replies, the oldest first.
func (s *Store) evict() {
	if s.w.measured >= measureEvery {
		s.measure()
	}
	for s.tooLarge() {
		if dropAsides(s.opt.Dir) || s.thin() {
			s.measure()
			continue
		}
		st, b := s.oldestBucket()
		if b == nil || !s.discard(st, b, Evicted) {
			return
		}
		s.measure()
		s.keepUp()
	}
}

func (s *Store) oldestBucket() (*stream, *bucket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range [...]field.Class{field.Readings, field.Events, field.Replies} {
		if st := s.streams[c]; len(st.buckets) > 0 {
			return st, st.buckets[0]
		}
	}
	return nil, nil
}

// expire gives up buckets whose youngest record is older than the age limit. A bucket with a stamp that could not be
// believed is left alone, and so is everything while the clock cannot be: a clock that steps forward ages nothing. A
// bucket that this process filled must also have stood as long by the monotonic clock.
func (s *Store) expire(now time.Time) {
	at := s.opt.Now()
	if at.Trust != field.Synchronised {
		return
	}
	for c, st := range s.streams {
		keep := s.opt.keep(field.Class(c))
		if keep == 0 {
			continue
		}
		limit := at.Wall - keep.Milliseconds()
		for {
			s.mu.Lock()
			var b *bucket
			if len(st.buckets) > 0 {
				b = st.buckets[0]
			}
			old := b != nil && !b.unsure && b.newest < limit && (b.opened.IsZero() || now.Sub(b.opened) >= keep)
			s.mu.Unlock()
			if !old || !s.discard(st, b, Expired) {
				break
			}
			s.keepUp()
		}
	}
}

// discard gives a bucket up and frees it.
func (s *Store) discard(st *stream, b *bucket, why Cause) bool {
	s.mu.Lock()
	s.giveUp(st, b, why)
	s.mu.Unlock()
	return s.remove(st, b)
}

// free drops the buckets that nobody is owed any more. The one that is still filled goes when it is old or has some
// size, so that short outages do not cost a drop each.
func (s *Store) free() {
	now := time.Now()
	for _, st := range s.streams {
		for {
			s.mu.Lock()
			b := st.settledBucket(func(b *bucket) bool {
				return b.bytes >= s.tune.idleBytes || b.opened.IsZero() || now.Sub(b.opened) >= s.tune.bucketAge
			})
			ok := s.usable
			s.mu.Unlock()
			if b == nil || !ok || !s.remove(st, b) {
				break
			}
			s.keepUp()
		}
	}
}

// keepUp seals what is due between the freeing of one bucket and the next. Each costs about ten syncs: many in a row,
// on a slow flash, would leave readings in memory alone for seconds.
func (s *Store) keepUp() {
	for s.sealNow(onTime) {
	}
}

// withSources gives the number of a bucket, and of those that it replaced while they are not yet dropped: they go with
// it.
func (s *Store) withSources(st *stream, b *bucket) []uint32 {
	ids := []uint32{b.id}
	s.w.replaced = slices.DeleteFunc(s.w.replaced, func(r *replacement) bool {
		if r.fresh != b {
			return false
		}
		ids = append(ids, r.old...)
		return true
	})
	return ids
}

// broken takes the store out of use over an error.
func (s *Store) broken(err error) {
	if errors.Is(err, errTables) {
		s.w.damaged = err.Error()
	}
	s.stall(err, nil)
}

// settledBucket finds one that is owed to nobody; the last one only if worth says so.
func (st *stream) settledBucket(worth func(*bucket) bool) *bucket {
	for i, b := range st.buckets {
		if b.owed == (tally{}) && (i < len(st.buckets)-1 || worth(b)) {
			return b
		}
	}
	return nil
}

// remove frees a bucket. The cursors behind it are durable first, so that what a crash may bring back is known dead,
// and so are the events that tell of losses: these must not go into the very bucket that is freed.
func (s *Store) remove(st *stream, b *bucket) bool {
	s.mu.Lock()
	b.closing, st.relist = true, true
	s.mu.Unlock()
	s.finishRewrites()
	for range 3 { // what is lost meanwhile keeps cursors waiting
		s.saveCursors()
		s.mu.Lock()
		again := st.relist && s.usable
		s.mu.Unlock()
		if !again {
			break
		}
	}
	s.mu.Lock()
	f := s.flash
	s.mu.Unlock()
	if f == nil {
		return false
	}
	if err := f.drop(st.class, s.withSources(st, b)...); err != nil {
		s.broken(err)
		return false
	}
	s.w.measured = measureEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range st.buckets {
		if st.buckets[i] == b {
			st.buckets = append(st.buckets[:i:i], st.buckets[i+1:]...)
			break
		}
	}
	return true
}
