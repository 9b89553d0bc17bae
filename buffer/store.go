package buffer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/adapters/field"
)

// Store is the buffer between the lines and the platforms. Open makes one, and Run keeps it going.
type Store struct {
	opt    Options
	tune   tuning
	kick   chan struct{} // wakes the writer before its time
	shapes *shapes
	begun  time.Time
	turn   atomic.Int64 // when Run's loop will have made its next turn, since begun; 0 before and after

	mu      sync.Mutex // guards all below, and is never held over I/O
	closed  bool
	streams [len(field.Classes)]*stream
	dests   []*destination
	cursors []*Cursor
	flash   *flash // nil while there is no store on flash
	usable  bool   // flash is there and takes commits
	trouble string // why it is not usable
	cause   Cause  // with which the ring gives records up
	weight  int64  // of all entries in heads
	taken   uint64
	losses  []loss // to be told
	ledger  []Loss
	told    uint64 // ledger entries ever made, the ordinal of the next one's key
	disk    int64
	commits uint64
	written uint64
	poured  uint64    // rough bytes of all that was taken
	rate    float64   // of it, bytes a second
	packed  ratio     // how small it becomes on flash
	wakeAt  time.Time // until which the writer sleeps; zero while it works

	lossSince time.Time // the oldest of losses
	unwritten int       // ledger entries at the end that are not on flash

	w writer // belongs to Run's goroutine
}

func newStore(o Options, tune tuning) *Store {
	s := &Store{begun: time.Now(), opt: o, tune: tune, kick: make(chan struct{}, 1), shapes: newShapes()}
	for c := range s.streams {
		s.streams[c] = &stream{class: field.Class(c), head: head{base: 1, named: 1}, chain: 1, lease: lease{next: 1, end: 1}}
	}
	for i, name := range o.Destinations {
		s.dests = append(s.dests, &destination{name: name, ready: make(chan struct{}, 1)})
		for c := range field.Classes {
			s.dests[i].tracks[c].low, s.dests[i].tracks[c].read = 1, 1
		}
		s.cursors = append(s.cursors, &Cursor{s: s, d: i})
	}
	return s
}

// everybody is the set of all destinations.
func (s *Store) everybody() mask { return 1<<len(s.dests) - 1 }

// only is the set of the destination of that name; everybody when none is served by it.
func (s *Store) only(name string) mask {
	for i, d := range s.dests {
		if d.name == name {
			return 1 << i
		}
	}
	return s.everybody()
}

// durable says that records of a class must be on flash before they leave, and can be.
func (s *Store) durable(c field.Class) bool {
	return s.usable && (c != field.Readings || s.opt.DurableFirst)
}

// deadline is how long a record of a class may stay in memory alone.
func (s *Store) deadline(c field.Class) time.Duration {
	if c != field.Readings || s.opt.DurableFirst {
		return s.tune.gather
	}
	return s.opt.Commit
}

// Append takes records, in order, and gives each its number. It takes all of them or, when one is malformed or larger
// than MaxRecord, none. Readings are taken into memory, and Append returns at once. With an event or a reply among
// them, or with Options.DurableFirst, it returns when they are synced, which takes about 10 ms more than the flash
// does; or at once while there is no usable store. When ctx ends first, its error comes back, and the records are
// taken all the same. ErrClosed when Run was told to end.
func (s *Store) Append(ctx context.Context, records ...field.Record) error {
	return s.AppendFor(ctx, "", records...)
}

// AppendFor is Append, but that the replies among the records are owed to one destination alone; to every one when none
// of that name is served.
func (s *Store) AppendFor(ctx context.Context, destination string, records ...field.Record) error {
	entries := make([]entry, len(records))
	for i := range records {
		e := &entries[i]
		e.rec, e.owed = records[i], s.everybody()
		if err := e.rec.Check(); err != nil {
			return err
		}
		if e.size = roughSize(&e.rec); e.size > MaxRecord {
			return fmt.Errorf("the store takes records up to %d bytes; this one of %s has about %d", MaxRecord, e.rec.Class(), e.size)
		}
		if e.rec.Class() == field.Replies {
			e.owed = s.only(destination)
		}
		if g := e.rec.Group; g != nil {
			n := 0
			if e.rec.Group, n = s.shapes.intern(g); n > MaxRecord {
				return fmt.Errorf("the names and units of %s take %d bytes; the store takes %d: put some of its tags into another group", g.Device, n, MaxRecord)
			}
		}
	}
	durable, err := s.append(entries)
	if err != nil || durable == nil {
		return err
	}
	select {
	case <-durable:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ticket is what an Append waits for: all its records to be durable, or that to be out of reach.
type ticket struct {
	left int
	done chan struct{} // closed when none is left
}

func (t *ticket) less() {
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// append takes records that were looked at. The channel, nil when there is nothing to wait for, is closed when they are durable.
func (s *Store) append(entries []entry) (<-chan struct{}, error) {
	now := time.Now()
	t := &ticket{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var came [len(field.Classes)]bool
	for i := range entries {
		s.enter(&entries[i], now, t)
		came[entries[i].rec.Class()] = true
	}
	if t.left > 0 {
		t.done = make(chan struct{})
	}
	s.entered(came, now)
	s.squeeze()
	return t.done, nil
}

// take takes an event of the store's own.
func (s *Store) take(r field.Record, now time.Time, t *ticket) {
	e := &entry{rec: r, owed: s.everybody(), size: roughSize(&r)}
	s.enter(e, now, t)
	var came [len(field.Classes)]bool
	came[r.Class()] = true
	s.entered(came, now)
}

// enter puts one entry, which says whom it is owed to, into its class's head.
func (s *Store) enter(e *entry, now time.Time, t *ticket) {
	c := e.rec.Class()
	s.taken++
	if len(s.dests) == 0 {
		return
	}
	st := s.streams[c]
	e.pos, e.taken = st.head.next(), now
	s.poured += uint64(e.size)
	if t != nil && s.durable(c) {
		e.ticket = t
		t.left++
	}
	st.head.entries = append(st.head.entries, e)
	s.weight += e.weight()
	for i, d := range s.dests {
		if e.owed&(1<<i) != 0 {
			d.tracks[c].books.taken++
			d.tracks[c].books.inHead++
		}
	}
}

// entered numbers what has entered and wakes whom it concerns.
func (s *Store) entered(came [len(field.Classes)]bool, now time.Time) {
	for c, st := range s.streams {
		if !came[c] || len(s.dests) == 0 {
			continue
		}
		s.number(st)
		if now.Add(s.deadline(field.Class(c))).Before(s.wakeAt) {
			s.wake()
		}
	}
}

// number gives sequence numbers to the records that have none, as far as the lease goes, and wakes those who may have
// them.
func (s *Store) number(st *stream) {
	h, l := &st.head, &st.lease
	before := h.named
	for h.named < h.next() && l.next < l.end {
		if e := h.at(h.named); e.state == waiting && e.epoch == 0 {
			e.rec.Seq, e.epoch = l.next, l.epoch
			l.next++
		}
		h.named++
	}
	if l.short() {
		s.wake()
	}
	if h.named > before && !s.durable(st.class) {
		for _, d := range s.dests {
			d.wake()
		}
	}
}

// wake ends the writer's sleep.
func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// release lets go of an entry that nobody is owed any more or that is in a block now.
func (s *Store) release(e *entry, to state) {
	s.weight -= e.weight()
	e.state, e.rec = to, field.Record{}
	if e.ticket != nil {
		e.ticket.less()
		e.ticket = nil
	}
}

// forget drops an entry that everybody has. One that is being sealed is left to the writer.
func (s *Store) forget(e *entry) {
	if e.owed == 0 && e.state == waiting {
		s.release(e, gone)
	}
}

// squeeze keeps the head within its limit: it gives up readings, then events, then replies, the oldest first.
func (s *Store) squeeze() {
	order := [...]field.Class{field.Readings, field.Events, field.Replies}
	for _, c := range order {
		st := s.streams[c]
		for s.weight > s.opt.HeadLimit {
			e := st.head.oldest()
			if e == nil {
				break
			}
			s.loseEntry(st, e, s.cause, "")
			st.head.trim()
		}
	}
}

// loseEntry declares one entry of the head lost for all who lack it.
func (s *Store) loseEntry(st *stream, e *entry, why Cause, text string) {
	for i, d := range s.dests {
		if e.owed&(1<<i) != 0 {
			d.tracks[st.class].books.inHead--
			d.tracks[st.class].books.lost[why]++
		}
	}
	s.declare(loss{to: e.owed, class: st.class, why: why, epoch: e.epoch, first: e.rec.Seq, last: e.rec.Seq, count: 1, text: text})
	e.owed = 0
	s.release(e, gone)
}

// freeAll ends the waiting of every Append: what they wait for is out of reach.
func (s *Store) freeAll() {
	for _, st := range s.streams {
		for _, e := range st.head.entries {
			if e.ticket != nil {
				e.ticket.less()
				e.ticket = nil
			}
		}
	}
}
