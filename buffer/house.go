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
		if dropAsides(s.opt.Dir) || s.freeSettled(true) || s.thin() {
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
// size, so that short outages do not cost a drop each. While somebody drains what comes behind them several go
// together: to drop many costs hardly more than to drop one, and readers wait for it.
func (s *Store) free() { s.freeSettled(false) }

// freeSettled is free; pressed, it waits for nothing. It says whether something was freed.
func (s *Store) freeSettled(pressed bool) (freed bool) {
	now := time.Now()
	for c, st := range s.streams {
		s.mu.Lock()
		done, bytes, more := st.settledBuckets(func(b *bucket) bool {
			return b.bytes >= s.tune.idleBytes || b.opened.IsZero() || now.Sub(b.opened) >= s.tune.bucketAge
		})
		ok := s.usable
		s.mu.Unlock()
		since := &s.w.settledAt[c]
		if len(done) == 0 {
			*since = time.Time{}
			continue
		}
		if since.IsZero() {
			*since = now
		}
		if ok && (pressed || !more || bytes >= freeTogether*s.tune.bucketBytes || now.Sub(*since) >= s.tune.freeWait) {
			*since = time.Time{}
			if s.remove(st, done...) {
				freed = true
				if !pressed {
					s.keepUp()
				}
			}
		}
	}
	return freed
}

// freeTogether is how many buckets' bytes are settled, at most, before they are freed.
const freeTogether = 4

// keepUp seals what is due between the freeing of one bucket and the next. Each costs about ten syncs: many in a row,
// on a slow flash, would leave readings in memory alone for seconds.
func (s *Store) keepUp() {
	for s.sealNow(onTime) {
	}
}

// withSources gives the number of a bucket, and of those that it replaced while they are not yet dropped: they go with
// it.
func (s *Store) withSources(b *bucket) []uint32 {
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

// settledBuckets lists those that are owed to nobody, the last one only if worth says so, and says whether others are
// owed to somebody.
func (st *stream) settledBuckets(worth func(*bucket) bool) (done []*bucket, bytes int64, more bool) {
	for i, b := range st.buckets {
		switch {
		case b.owed != (tally{}):
			more = true
		case i < len(st.buckets)-1 || worth(b):
			done = append(done, b)
			bytes += b.bytes
		}
	}
	return done, bytes, more
}

// remove frees buckets. The cursors behind them are durable first, so that what a crash may bring back is known dead,
// and so are the events that tell of losses: these must not go into the very bucket that is freed.
func (s *Store) remove(st *stream, bs ...*bucket) bool {
	s.mu.Lock()
	st.relist = true
	for _, b := range bs {
		b.closing = true
	}
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
	var ids []uint32
	for _, b := range bs {
		ids = append(ids, s.withSources(b)...)
	}
	if err := f.drop(st.class, ids...); err != nil {
		s.broken(err)
		return false
	}
	s.w.measured = measureEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	st.buckets = slices.DeleteFunc(slices.Clone(st.buckets), func(b *bucket) bool { return slices.Contains(bs, b) })
	return true
}
