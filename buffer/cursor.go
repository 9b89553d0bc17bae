package buffer

import (
	"errors"
	"sync"
	"time"

	"edgegateway/adapters/field"
)

// Lane is one of the four ways out of the store.
type Lane uint8

// The lanes, in order of urgency. Live and Backlog carry readings: what has not yet been sealed, and what has.
const (
	Replies Lane = iota
	Events
	Live
	Backlog
)

// Lanes lists every lane, most urgent first.
var Lanes = [...]Lane{Replies, Events, Live, Backlog}

// Batch is a run of records of one class and one epoch, in the order of their sequence numbers.
type Batch struct {
	Lane     Lane
	Class    field.Class
	Epoch    uint32
	Backfill bool           // readings that did not leave at once
	Records  []field.Record // shared: not to be changed
	Bytes    int            // about what they take on the wire

	entries []*entry // those that came from the head
	spans   []span   // positions of those that came from blocks
}

// Cursor is one destination's way through the store. Next and Rewind are for one goroutine; Ack and Reject may be
// called from any.
type Cursor struct {
	s  *Store
	d  int
	mu sync.Mutex // held by Next and Rewind
}

// Cursor gives the cursor of a destination; the same one each time. ErrDestination when it is not served.
func (s *Store) Cursor(name string) (*Cursor, error) {
	for i, d := range s.dests {
		if d.name == name {
			return s.cursors[i], nil
		}
	}
	return nil, ErrDestination
}

// Ready gives a channel that holds a token when something new may be there. One reader drains every lane for each.
func (c *Cursor) Ready() <-chan struct{} { return c.s.dests[c.d].ready }

// Next gives the next records of a lane that the destination lacks and that are not in flight: at least one, at most
// maxRecords, and no more than maxBytes unless the first alone is larger. It says false when there are none. It does
// not wait; Backlog, and the others after a restart, may read flash. Several batches may be in flight at once.
func (c *Cursor) Next(lane Lane, maxRecords, maxBytes int) (*Batch, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	class := field.Readings
	switch lane {
	case Replies:
		class = field.Replies
	case Events:
		class = field.Events
	}
	b := &Batch{Lane: lane, Class: class}
	if lane != Live {
		c.fromBlocks(b, max(maxRecords, 1), maxBytes)
	}
	if lane != Backlog && len(b.Records) == 0 {
		c.fromHead(b, max(maxRecords, 1), maxBytes)
	}
	for i := range b.Records {
		c.s.correct(&b.Records[i])
	}
	return b, len(b.Records) > 0
}

// correct puts a record's stamp right. The record is the caller's own copy.
func (s *Store) correct(r *field.Record) {
	if r.At.Trust == field.Estimated {
		r.At = s.opt.Correct(r.At)
	}
}

// room says whether one more record of the given size fits.
func (b *Batch) room(size, maxRecords, maxBytes int) bool {
	n := len(b.Records)
	return n == 0 || n < maxRecords && b.Bytes+size <= maxBytes
}

// fromHead offers what is in memory: readings as they come; what must be durable first only while nothing can be.
func (c *Cursor) fromHead(b *Batch, maxRecords, maxBytes int) {
	s, bit := c.s, mask(1)<<c.d
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable(b.Class) {
		return
	}
	h, t := &s.streams[b.Class].head, &s.dests[c.d].tracks[b.Class]
	for t.live = h.from(t.live); t.live < h.named; t.live++ {
		e := h.at(t.live)
		if e.owed&bit == 0 || e.out&bit != 0 || e.state == gone || e.state == sealed {
			continue
		}
		if !b.room(e.size, maxRecords, maxBytes) || len(b.Records) > 0 && e.epoch != b.Epoch {
			return
		}
		e.out |= bit
		b.Epoch = e.epoch
		b.Bytes += e.size
		b.Records = append(b.Records, e.rec)
		b.entries = append(b.entries, e)
	}
}

// fromBlocks offers what is on flash. Blocks are read without the lock; what was settled meanwhile is left out.
func (c *Cursor) fromBlocks(b *Batch, maxRecords, maxBytes int) {
	s := c.s
	st, t := s.streams[b.Class], &s.dests[c.d].tracks[b.Class]
	for len(b.Records) == 0 {
		s.mu.Lock()
		f, k := s.flash, (*bucket)(nil)
		if t.pending() > 0 && f != nil {
			k = st.owing(c.d, t.read)
		}
		if k == nil {
			s.mu.Unlock()
			return
		}
		read, bucket := t.read, *k
		s.mu.Unlock()

		blocks, err := f.read(b.Class, &bucket, max(read, bucket.first), 1<<c.d, maxRecords, maxBytes)
		if errors.Is(err, errNoFlash) {
			return
		}
		if err != nil {
			s.opt.Log.Warn("part of the store cannot be read", "class", b.Class.String(), "from", read, "err", err)
		}
		s.mu.Lock()
		if now := st.owing(c.d, read); t.read == read && now != nil && now.id == bucket.id { // else it was rewritten meanwhile
			c.offer(b, st, &bucket, blocks, maxRecords, maxBytes)
		}
		s.mu.Unlock()
	}
}

// owing finds the first bucket that ends behind pos and owes the destination something.
func (st *stream) owing(d int, pos uint64) *bucket {
	for _, b := range st.buckets[st.firstBehind(pos):] {
		if b.owed[d] > 0 {
			return b
		}
	}
	return nil
}

// offer puts into the batch what the destination still lacks of blocks just read from a bucket, and moves the track.
func (c *Cursor) offer(b *Batch, st *stream, k *bucket, blocks []*block, maxRecords, maxBytes int) {
	t := &c.s.dests[c.d].tracks[b.Class]
	bit := mask(1) << c.d
	b.Epoch = k.epoch
	n := 0
	for _, blk := range blocks {
		n += len(blk.records)
	}
	b.Records = make([]field.Record, 0, min(n, maxRecords))
	at := max(t.read, k.first)
	defer func() {
		for _, sp := range b.spans {
			t.flying.add(sp.from, sp.to)
		}
		t.read = at
		c.s.advance(c.d, st)
	}()
	for _, blk := range blocks {
		if blk.first > at {
			t.missing(at, blk.first)
			at = blk.first
		}
		if blk.damaged {
			t.missing(at, blk.end)
		}
		untouched := t.settled.within(at, blk.end)+t.flying.within(at, blk.end) == 0
		for i := range blk.records {
			pos := blk.pos[i]
			if pos < at || blk.owed[i]&bit == 0 || !untouched && (t.settled.has(pos) || t.flying.has(pos)) {
				continue
			}
			size := roughSize(&blk.records[i])
			if !b.room(size, maxRecords, maxBytes) {
				at = pos
				return
			}
			if len(b.Records) == 0 {
				b.Backfill = b.Lane == Backlog && !(c.s.opt.DurableFirst && st.recent(pos, time.Now()))
			}
			b.Bytes += size
			b.Records = append(b.Records, blk.records[i])
			if n := len(b.spans); n > 0 && b.spans[n-1].to == pos {
				b.spans[n-1].to++
			} else {
				b.spans = append(b.spans, span{pos, pos + 1})
			}
		}
		at = max(at, blk.end)
	}
	// No block was left to read: what the bucket spans beyond this is not there. The last bucket may have grown since.
	if len(blocks) == 0 {
		t.missing(at, k.end)
		at = k.end
	}
}

// missing notes positions that could not be read.
func (t *track) missing(from, to uint64) {
	if t.hole == (span{}) {
		t.hole = span{from, to}
	}
	t.hole.from, t.hole.to = min(t.hole.from, from), max(t.hole.to, to)
}

// Ack says that the destination has the batch for good. Any order will do, also after a Rewind. What every
// destination has is forgotten.
func (c *Cursor) Ack(b *Batch) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.finish(b, func(bk *books, n uint64) { bk.delivered += n })
}

// Reject says that the platform will never take the batch: it is declared lost for this destination, so that it does
// not stand in the way of what follows. why is for people.
func (c *Cursor) Reject(b *Batch, why string) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	all := uint64(0)
	c.finish(b, func(bk *books, n uint64) { bk.lost[Poison] += n; all += n })
	if all == 0 || len(b.Records) == 0 {
		return
	}
	s.declare(loss{to: 1 << c.d, class: b.Class, why: Poison, epoch: b.Epoch, first: b.Records[0].Seq,
		last: b.Records[len(b.Records)-1].Seq, count: all, text: why})
}

// finish settles each record of a batch that is not settled yet, and counts it.
func (c *Cursor) finish(b *Batch, count func(bk *books, n uint64)) {
	s, bit := c.s, mask(1)<<c.d
	st, t := s.streams[b.Class], &s.dests[c.d].tracks[b.Class]
	blocks := false
	for _, e := range b.entries {
		switch {
		case e.state == sealed:
			blocks = true
			if e.owed&bit != 0 && s.settle(c.d, st, e.pos, e.pos+1) > 0 {
				e.owed &^= bit
				count(&t.books, 1)
			}
		case e.owed&bit != 0:
			e.owed &^= bit
			t.books.inHead--
			count(&t.books, 1)
			s.forget(e)
		}
	}
	for _, sp := range b.spans {
		blocks = true
		count(&t.books, s.settle(c.d, st, sp.from, sp.to))
	}
	st.head.trim()
	if blocks {
		s.advance(c.d, st)
	}
}

// Rewind says that the connection is lost: everything that is not acknowledged will be offered again, in order.
func (c *Cursor) Rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, bit := c.s, mask(1)<<c.d
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range s.streams {
		t := &s.dests[c.d].tracks[i]
		t.live = st.head.base
		for _, e := range st.head.entries {
			e.out &^= bit
		}
		t.flying, t.read = nil, t.low
		s.advance(c.d, st)
	}
	s.dests[c.d].wake()
}
