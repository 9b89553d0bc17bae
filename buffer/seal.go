package buffer

import (
	"time"

	"edgegateway/adapters/field"
)

// parcel is what becomes one block.
type parcel struct {
	st      *stream
	header  header
	end     uint64
	entries []*entry
	block   *block  // the same records, as readers see them
	bucket  *bucket // where it goes; not yet in the stream's list when it is new
	fresh   bool    // bucket is new
	size    int     // of the key and value that were written
}

// urgency is what a commit takes along.
type urgency uint8

const (
	onTime     urgency = iota // what is due
	awaited                   // what is due and somebody waits for: no readings
	urgent                    // all events and replies, due or not, and no readings
	everything                // all
)

// gather picks what is due, the most urgent class first, as much as one transaction takes. Nothing leaves the head
// until publish.
func (s *Store) gather(now time.Time, what urgency) []*parcel {
	var parcels []*parcel
	room := sealBytes
	for _, c := range field.Classes {
		if !s.isDue(c, now, what) {
			continue
		}
		st := s.streams[c]
		h := &st.head
		all := s.takesAll(c, what)
		// What is nearly due goes along, so that a commit serves a good part of a deadline, not one record. What is
		// younger may still be acknowledged in time.
		young := s.deadline(c) / 4
		due := func(e *entry) bool { return all || now.Sub(e.taken) >= young }
		chain, pos := st.chain, h.base
		for pos < h.named && room > 0 {
			p := &parcel{st: st, header: header{first: chain}}
			p.header.note(h.base-min(chain, h.base), 0)
			pos, room = p.fill(h, max(chain, h.base), room, due)
			if len(p.entries) == 0 {
				break
			}
			chain = p.end
			parcels = append(parcels, p)
		}
		for pos < h.named && h.at(pos).state == gone {
			pos++
		}
		if pos < h.named && due(h.at(pos)) {
			break // what did not fit may be the news of a gap: nothing that is less urgent overtakes it
		}
	}
	return parcels
}

// takesAll says that a commit takes all that there is of a class, due or not.
func (s *Store) takesAll(c field.Class, what urgency) bool {
	return what == everything || what == urgent && c != field.Readings || s.weight > s.opt.HeadLimit/2
}

// isDue says that something of a class is to be sealed now.
func (s *Store) isDue(c field.Class, now time.Time, what urgency) bool {
	if (what == awaited || what == urgent) && c == field.Readings {
		return false
	}
	for _, e := range s.streams[c].head.entries {
		if e.state != gone {
			return s.takesAll(c, what) || now.Sub(e.taken) >= s.deadline(c)
		}
	}
	return false
}

// anyDue says that something is to be sealed now.
func (s *Store) anyDue(now time.Time, what urgency) bool {
	for _, c := range field.Classes {
		if s.isDue(c, now, what) {
			return true
		}
	}
	return false
}

// fill takes entries from pos on into a parcel: of one epoch, with numbers that follow one another, up to a block's
// size. It gives the position behind them and the room that is left.
func (p *parcel) fill(h *head, pos uint64, room int, due func(*entry) bool) (uint64, int) {
	p.block = &block{class: p.st.class, first: p.header.first}
	size, values := 0, 0
	skipped := uint64(0)
	for ; pos < h.named; pos++ {
		e := h.at(pos)
		if e.state == gone {
			skipped++
			continue
		}
		n := len(p.entries)
		if !due(e) || e.size > room && room < sealBytes || n > 0 && (size+e.size > blockBytes || values+len(e.rec.Values) > field.MaxBlockValues ||
			e.epoch != p.header.epoch || e.rec.Seq-e.pos != p.header.shift) {
			break
		}
		if n == 0 {
			p.header.epoch, p.header.shift = e.epoch, e.rec.Seq-e.pos
			p.header.oldest, p.header.newest = e.rec.At.Wall, e.rec.At.Wall
		}
		p.header.oldest, p.header.newest = min(p.header.oldest, e.rec.At.Wall), max(p.header.newest, e.rec.At.Wall)
		p.header.unsure = p.header.unsure || e.rec.At.Trust == field.Estimated
		p.header.note(skipped, 0)
		p.header.note(1, e.owed)
		skipped = 0
		e.state, e.asked = sealing, e.owed
		p.entries = append(p.entries, e)
		p.block.records = append(p.block.records, e.rec)
		p.block.pos = append(p.block.pos, e.pos)
		p.block.owed = append(p.block.owed, e.owed|present)
		p.end = pos + 1
		size += e.size
		room -= e.size
		values += len(e.rec.Values)
	}
	p.block.end = p.end
	return max(p.end, h.base), room
}

// sealHead seals what is in memory now, as far as it is urgent enough. What comes meanwhile has its own time: it could keep this
// going for ever.
func (s *Store) sealHead(what urgency) {
	var ends [len(field.Classes)]uint64
	s.mu.Lock()
	for c, st := range s.streams {
		ends[c] = st.head.named
	}
	s.mu.Unlock()
	left := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c, st := range s.streams {
			if st.head.base < ends[c] {
				return true
			}
		}
		return false
	}
	for left() && s.sealNow(what) {
	}
}

// restore puts the entries of parcels that were not committed back.
func (s *Store) restore(parcels []*parcel) {
	for _, p := range parcels {
		for _, e := range p.entries {
			e.state = waiting
			s.forget(e)
		}
		p.st.head.trim()
	}
}

// publish moves what was committed from the head to the blocks. Who acknowledged a record while it was being sealed
// has it settled there; who has it in flight keeps it in flight.
func (s *Store) publish(p *parcel, now time.Time) {
	st, b := p.st, p.bucket
	if p.fresh {
		st.buckets = append(st.buckets, b)
	}
	st.sealedTo(p.end, now)
	b.end = p.end
	b.add(&p.header, p.size)
	for _, e := range p.entries {
		s.packed.rough += float64(e.size)
	}
	s.packed.add(float64(p.size))
	for _, e := range p.entries {
		for d, dest := range s.dests {
			bit, t := mask(1)<<d, &dest.tracks[st.class]
			if e.asked&bit == 0 {
				continue
			}
			b.sealed[d]++
			if e.owed&bit == 0 {
				t.settled.add(e.pos, e.pos+1)
				t.moved = true
				continue
			}
			b.owed[d]++
			t.books.inHead--
			t.books.inBlocks++
			if e.out&bit != 0 {
				t.flying.add(e.pos, e.pos+1)
			}
		}
		s.release(e, sealed)
	}
	st.head.trim()
	for d, dest := range s.dests {
		s.advance(d, st)
		if dest.tracks[st.class].pending() > 0 {
			dest.wake()
		}
	}
}

// place finds the bucket of a parcel: the last one, unless that is full, old, of other numbers, or being freed. open holds the
// last bucket of each class as it will be when what came before in the same transaction is published.
func (s *Store) place(p *parcel, open *bucket, size int, now time.Time) *bucket {
	b := open
	if b == nil || b.epoch != p.header.epoch || b.shift != p.header.shift || b.opened.IsZero() || b.closed || b.closing ||
		b.bytes+int64(size) > s.tune.bucketBytes || now.Sub(b.opened) >= s.tune.bucketAge {
		s.w.nextBucket[p.st.class]++
		p.fresh = true
		b = &bucket{id: s.w.nextBucket[p.st.class], first: p.header.first, end: p.header.first, epoch: p.header.epoch,
			shift: p.header.shift, opened: now}
	}
	p.bucket = b
	return b
}
