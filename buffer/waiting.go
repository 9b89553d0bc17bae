package buffer

import (
	"context"
	"encoding/binary"
	"errors"

	"edgegateway/adapters/field"
)

// Waiting is a run of records that wait: a bucket, or what is in the head.
type Waiting struct {
	Class   string   `json:"class"`
	Where   string   `json:"where"` // "flash" or "memory"
	Epoch   uint32   `json:"epoch"`
	From    uint64   `json:"from_seq"` // both ends included; 0 while they have no number
	To      uint64   `json:"to_seq"`
	Records uint64   `json:"records"` // owed to whom the most are owed
	Bytes   int64    `json:"bytes"`   // on flash as encoded, in memory as on the wire
	Oldest  int64    `json:"oldest"`  // Unix milliseconds
	Newest  int64    `json:"newest"`
	OwedTo  []string `json:"owed_to"`
}

// Backlog tells what waits, replies before events before readings, each the oldest first; at most max runs, all of
// them for max ≤ 0.
func (s *Store) Backlog(max int) []Waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Waiting
	for _, st := range s.streams {
		for _, b := range st.buckets {
			if b.owed.most() == 0 {
				continue
			}
			w := Waiting{Class: st.class.String(), Where: "flash", Epoch: b.epoch, From: b.first + b.shift, To: b.end - 1 + b.shift,
				Records: b.owed.most(), Bytes: b.bytes, Oldest: b.oldest, Newest: b.newest}
			for i, d := range s.dests {
				if b.owed[i] > 0 {
					w.OwedTo = append(w.OwedTo, d.name)
				}
			}
			list = append(list, w)
		}
		if w, ok := s.headWaiting(st); ok {
			list = append(list, w)
		}
	}
	if max > 0 && len(list) > max {
		list = list[:max]
	}
	return list
}

func (s *Store) headWaiting(st *stream) (Waiting, bool) {
	w := Waiting{Class: st.class.String(), Where: "memory"}
	owed := mask(0)
	for _, e := range st.head.entries {
		if e.state == gone || e.state == sealed {
			continue
		}
		if w.Records == 0 {
			w.Epoch, w.From, w.Oldest = e.epoch, e.rec.Seq, e.rec.At.Wall
		}
		w.To, w.Newest = e.rec.Seq, e.rec.At.Wall
		w.Records++
		w.Bytes += int64(e.size)
		owed |= e.owed
	}
	for i, d := range s.dests {
		if owed&(1<<i) != 0 {
			w.OwedTo = append(w.OwedTo, d.name)
		}
	}
	return w, w.Records > 0
}

// Drop gives up everything that waits now for a destination ("" for every one), and declares it lost with the reason
// in why. It returns how many records that were, counted for each destination. What is in flight is given up too: an
// acknowledgement that comes later changes nothing.
func (s *Store) Drop(destination, why string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := destination == ""
	var n uint64
	for i, d := range s.dests {
		if destination != "" && d.name != destination {
			continue
		}
		found = true
		for _, st := range s.streams {
			n += s.dropAll(i, st, why)
		}
	}
	if !found {
		return 0, ErrDestination
	}
	s.wake()
	return n, nil
}

func (s *Store) dropAll(i int, st *stream, why string) uint64 {
	t, bit := &s.dests[i].tracks[st.class], mask(1)<<i
	before := t.books.lost[Evicted]
	for _, b := range st.buckets {
		if b.owed[i] > 0 {
			s.loseBucket(i, st, b, Evicted)
		}
	}
	s.advance(i, st)
	for _, e := range st.head.entries {
		if e.owed&bit == 0 {
			continue
		}
		e.owed &^= bit
		t.books.inHead--
		t.books.lost[Evicted]++
		s.declare(loss{to: bit, class: st.class, why: Evicted, epoch: e.epoch, first: e.rec.Seq, last: e.rec.Seq, count: 1, text: why})
		s.forget(e)
	}
	st.head.trim()
	return t.books.lost[Evicted] - before
}

// Export calls do for every record that waits for a destination ("" for any), class by class, the oldest first,
// without taking it from the store. Records that come or go meanwhile may be seen or not. It stops at do's first
// error and returns it, or ctx's; what cannot be read is left out.
func (s *Store) Export(ctx context.Context, destination string, do func(epoch uint32, r field.Record) error) error {
	who := s.everybody()
	if destination != "" {
		c, err := s.Cursor(destination)
		if err != nil {
			return err
		}
		who = 1 << c.d
	}
	for _, st := range s.streams {
		s.mu.Lock()
		f := s.flash
		var buckets []bucket
		for _, b := range st.buckets {
			buckets = append(buckets, *b)
		}
		var heads []entry
		for _, e := range st.head.entries {
			if e.owed&who != 0 && (e.state == waiting || e.state == sealing) {
				heads = append(heads, *e)
			}
		}
		s.mu.Unlock()
		for i := range buckets {
			if err := s.exportBucket(ctx, f, st, &buckets[i], who, do); err != nil {
				return err
			}
		}
		for i := range heads {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.correct(&heads[i].rec)
			if err := do(heads[i].epoch, heads[i].rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// exportBucket calls do for the records of one bucket that are still owed.
func (s *Store) exportBucket(ctx context.Context, f *flash, st *stream, k *bucket, who mask, do func(uint32, field.Record) error) error {
	prefix := bucketKey(st.class, k.id)
	at := k.first
	for f != nil && at < k.end {
		var blk *block
		err := f.each(prefix, blockKey(st.class, k.id, at+1), func(key []byte, value func() ([]byte, error)) (bool, error) {
			end := binary.BigEndian.Uint64(key[len(prefix):])
			if end > k.end {
				return false, nil
			}
			stored, err := value()
			if err == nil {
				blk = f.unpack(st.class, k.id, at, end, stored)
			}
			return false, err
		})
		if errors.Is(err, errNoFlash) || blk == nil {
			return nil
		}
		for i := range blk.records {
			if err := ctx.Err(); err != nil {
				return err
			}
			if blk.pos[i] >= at && s.owes(st, blk.pos[i], blk.owed[i]&who) {
				s.correct(&blk.records[i]) // this block is nobody else's
				if err := do(k.epoch, blk.records[i]); err != nil {
					return err
				}
			}
		}
		at = blk.end
	}
	return nil
}

// owes says that some destination of a set has not yet settled a position in blocks.
func (s *Store) owes(st *stream, pos uint64, who mask) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range s.dests {
		if t := &d.tracks[st.class]; who&(1<<i) != 0 && pos >= t.low && !t.settled.has(pos) {
			return true
		}
	}
	return false
}
