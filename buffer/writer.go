package buffer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"edgegateway/adapters/field"
)

// writer is what only Run's goroutine touches (and Open, before Run).
type writer struct {
	lock       *folderLock
	enc        *field.BlockEncoder
	ident      identity
	identified bool                          // ident was read or made
	begun      uint32                        // epoch that the leases were begun in; 0 before
	vacant     uint32                        // epoch that was begun for a store that could not be begun yet; 0 for none
	attached   bool                          // a store on flash was open once
	chains     [len(field.Classes)]uint64    // where the blocks ended that were found on flash
	gone       [len(field.Classes)][]stretch // what should have been there and was not
	damaged    string                        // why the store on flash is to be set aside when it is next opened; "" to keep it
	nextBucket [len(field.Classes)]uint32
	cursorsAt  time.Time // when cursors were last written
	gaugedAt   time.Time // when the rate was last gauged, and what had been taken then
	gauged     uint64
	houseAt    time.Time                     // when to look after disk and age again
	retryAt    time.Time                     // when to look for a usable store again
	settledAt  [len(field.Classes)]time.Time // since when a bucket waits to be freed, by class
	leaseAt    time.Time                     // not to ask for a lease before
	measured   int64                         // written since the disk was last measured
	untended   int64                         // written since Badger was opened without compactors
	leaving    *leaving                      // a store on flash that is out of use and not yet closed
	place      place                         // of the folder when it was connected
	replaced   []*replacement                // rewrites that are not finished
}

// Run commits, seals, frees and retries until ctx ends; then it seals what is still owed, gives the unused sequence
// numbers back, and closes the store. It must be called once, also when the work is over before it began. The error
// says how many records could not be kept.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	unguarded, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(unguarded)
		s.guard(stop)
	}()
	defer func() { close(stop); <-unguarded }()
	defer s.turn.Store(0)
	for {
		select {
		case <-ctx.Done():
			return s.shutdown()
		case <-s.kick:
		case <-timer.C:
		}
		rest := s.work()
		s.turn.Store(int64(time.Since(s.begun) + max(rest, 0) + 1))
		timer.Reset(rest)
	}
}

// Overdue is how long the loop of Run stands still already, beyond the time that it gave itself for its last rest; 0
// while it turns, and while it does not run. A slow flash shows in it, too. It is for a watchdog.
func (s *Store) Overdue() time.Duration {
	until := s.turn.Load()
	if until == 0 {
		return 0
	}
	return max(0, time.Since(s.begun)-time.Duration(until))
}

// work does what is due and says when there is more.
func (s *Store) work() time.Duration {
	now := time.Now()
	s.mu.Lock()
	s.wakeAt = time.Time{}
	s.mu.Unlock()

	s.heal(now)
	s.renewLeases(now)
	s.mu.Lock()
	tell := len(s.losses) > 0 && now.Sub(s.lossSince) >= lossGather
	s.mu.Unlock()
	if tell {
		s.flushLosses()
	}
	some := false
	for s.seal(onTime) {
		some = true
	}
	if now.Sub(s.w.cursorsAt) >= s.tune.cursors {
		s.saveCursors()
	}
	if !now.Before(s.w.houseAt) {
		s.keepHouse(now)
		s.w.houseAt = now.Add(s.tune.house)
	}
	s.free()
	return s.sleep(some)
}

// sleep finds the next deadline. Records that are taken later and due earlier wake the writer. What was due and could
// not be sealed is tried again after a moment, not at once.
func (s *Store) sleep(sealed bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	at := now.Add(min(s.opt.Commit, s.tune.house, time.Second))
	soonest := now.Add(time.Millisecond)
	if sealed {
		soonest = now
	}
	if s.usable {
		for c, st := range s.streams {
			if e := st.head.oldest(); e != nil && st.head.named > st.head.base {
				if due := e.taken.Add(s.deadline(field.Class(c))); due.Before(at) {
					at = due
				}
			}
		}
	}
	if at.Before(soonest) {
		at = soonest
	}
	s.wakeAt = at
	return at.Sub(now)
}

// seal commits one transaction of what is due, when there is room for it. It says whether there may be more.
func (s *Store) seal(what urgency) bool {
	if !s.tend() {
		return false
	}
	s.evict()
	return s.sealNow(what)
}

func (s *Store) sealNow(what urgency) bool {
	now := time.Now()
	s.mu.Lock()
	f := s.flash
	var parcels []*parcel
	if s.usable {
		// What no event tells of yet goes along. Else a power cut could leave what stands behind a gap, and nothing that
		// explains the gap.
		if len(s.losses) > 0 && s.anyDue(now, what) {
			s.tellLosses(now)
			what = max(what, urgent)
		}
		parcels = s.gather(now, what)
	}
	s.mu.Unlock()
	return len(parcels) > 0 && s.write(f, parcels, now)
}

// write commits parcels and publishes them. It says whether that went well.
func (s *Store) write(f *flash, parcels []*parcel, now time.Time) bool {
	if err := s.room(); err != nil {
		s.stall(err, parcels)
		return false
	}
	var changes []change
	var shapes []*shape
	open := map[field.Class]*bucket{}
	kept := parcels[:0]
	for _, p := range parcels {
		value, news, err := s.encode(f, p)
		if err != nil {
			s.poison(p, err)
			continue
		}
		shapes = append(shapes, news...)
		last, ok := open[p.st.class]
		if !ok {
			last = p.st.last()
		}
		b := s.place(p, last, len(value), now)
		if b != last && last != nil && !ok {
			changes = append(changes, change{blockKey(p.st.class, last.id, summaryEnd), last.summary(f.ids)})
		}
		open[p.st.class] = b
		changes = append(changes, change{blockKey(p.st.class, b.id, p.end), value})
		p.size = len(value) + 16
		kept = append(kept, p)
	}
	if len(kept) == 0 {
		return true
	}
	also := s.cursorChanges(f)
	changes = append(append(changes, also.changes...), s.streamChanges(kept)...)
	err := s.storeShapes(f, shapes)
	if err == nil {
		err = f.commit(changes)
	}
	if err != nil {
		s.stall(err, kept)
		return false
	}
	s.wrote(changes)

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range kept {
		if last := p.st.last(); p.fresh && last != nil {
			last.closed = true
		}
		s.publish(p, now)
		p.block.bucket = p.bucket.id
		f.cache.put(p.block)
	}
	s.unwritten -= also.ledger
	return true
}

// encode makes a parcel's value, and lists the shapes that it needs and that are not yet stored.
func (s *Store) encode(f *flash, p *parcel) ([]byte, []*shape, error) {
	h := p.header
	h.runs = nil
	for _, r := range p.header.runs {
		h.note(r.count, f.outward(r.owed))
	}
	var news []*shape
	value, err := s.w.enc.Append(h.append(nil), p.block.records, func(g *field.Group) uint32 {
		id, sh := s.shapes.number(g)
		if sh != nil {
			news = append(news, sh)
		}
		return id
	})
	return value, news, err
}

// storeShapes commits shapes that blocks will need, before the blocks. There are few of them, ever.
func (s *Store) storeShapes(f *flash, shapes []*shape) error {
	for len(shapes) > 0 {
		var changes []change
		for len(shapes) > 0 && (len(changes) == 0 || sizeOf(changes)+len(shapes[0].key) <= sealBytes) {
			changes = append(changes, change{shapeKey(shapes[0].id), shapes[0].note()})
			s.shapes.markStored(shapes[0])
			shapes = shapes[1:]
		}
		if err := f.commit(changes); err != nil {
			return err
		}
		s.wrote(changes)
	}
	return nil
}

// poison declares lost what cannot be encoded. Append checks what it takes, so this is a fault of the store's own.
func (s *Store) poison(p *parcel, err error) {
	s.opt.Log.Error("records cannot be encoded", "class", p.st.class.String(), "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range p.entries {
		s.loseEntry(p.st, e, Poison, err.Error())
	}
	p.st.head.trim()
}

// extras is what goes along with a commit: cursors that moved, ledger entries.
type extras struct {
	changes []change
	ledger  int
}

// extraBytes bounds them; what does not fit goes with the next commit.
const extraBytes = 24 << 10

// cursorChanges lists them. Cursors wait while a loss is untold, so that none moves behind it durably before the event
// that tells of it is durable too.
func (s *Store) cursorChanges(f *flash) extras {
	s.mu.Lock()
	defer s.mu.Unlock()
	var x extras
	if s.untold() {
		return x
	}
	for i, d := range s.dests {
		for c := range d.tracks {
			if t := &d.tracks[c]; t.moved && sizeOf(x.changes) < extraBytes {
				x.changes = append(x.changes, change{cursorKey(f.ids[i], field.Class(c)), t.note(f.ids[i], field.Class(c))})
				t.moved = false
			}
		}
	}
	for _, st := range s.streams {
		if st.relist {
			x.changes = append(x.changes, s.streamChange(st, st.chain, nil))
			st.relist = false
		}
	}
	s.w.cursorsAt = time.Now()
	for _, l := range s.ledger[len(s.ledger)-s.unwritten:] {
		if sizeOf(x.changes) >= extraBytes {
			break
		}
		text, err := json.Marshal(l)
		if err != nil {
			panic("buffer: a ledger entry cannot be encoded: " + err.Error()) // strings and numbers alone
		}
		x.changes = append(x.changes, change{ledgerKey(s.told), text})
		if s.told >= maxLedger {
			x.changes = append(x.changes, change{key: ledgerKey(s.told - maxLedger)})
		}
		s.told++
		x.ledger++
	}
	return x
}

// saveCursors commits the cursors that moved and nothing else. While no block moves, none does, and nothing is
// written.
func (s *Store) saveCursors() {
	s.flushLosses()
	s.mu.Lock()
	f, ok := s.flash, s.usable && s.moved()
	s.mu.Unlock()
	if !ok {
		return
	}
	if err := s.room(); err != nil {
		s.stall(err, nil)
		return
	}
	x := s.cursorChanges(f)
	if err := f.commit(x.changes); err != nil {
		s.stall(err, nil)
		return
	}
	s.wrote(x.changes)
	s.mu.Lock()
	s.unwritten -= x.ledger
	s.mu.Unlock()
}

// flushLosses tells of the losses so far and makes that durable.
func (s *Store) flushLosses() {
	s.mu.Lock()
	untold := s.untold()
	if len(s.losses) > 0 {
		s.tellLosses(time.Now())
		s.squeeze()
	}
	s.mu.Unlock()
	if untold {
		s.sealHead(urgent)
	}
}

func (s *Store) moved() bool {
	for _, st := range s.streams {
		if st.relist {
			return true
		}
	}
	for _, d := range s.dests {
		for c := range d.tracks {
			if d.tracks[c].moved {
				return true
			}
		}
	}
	return false
}

// wrote counts a commit.
func (s *Store) wrote(changes []change) {
	n := sizeOf(changes)
	s.w.measured += int64(n)
	s.w.untended += int64(n)
	s.mu.Lock()
	s.commits++
	s.written += uint64(n)
	s.disk += int64(n)
	s.mu.Unlock()
}

// shutdown is the clean stop.
func (s *Store) shutdown() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.w.leaseAt = time.Time{}
	s.renewLeases(time.Now())
	s.flushLosses()
	for s.seal(everything) {
	}
	s.free()
	s.saveCursors()

	s.mu.Lock()
	s.freeAll()
	left := 0
	for _, st := range s.streams {
		for _, e := range st.head.entries {
			if e.state != gone {
				left++
			}
		}
	}
	trouble := s.trouble
	s.usable, s.trouble = false, "the store is closed"
	s.mu.Unlock()
	s.closeFlash()
	s.giveBack()
	if s.w.lock != nil {
		s.w.lock.release()
	}
	if left > 0 && s.opt.Dir != "" {
		return fmt.Errorf("%d records were in memory alone and end with this process: %s", left, trouble)
	}
	return nil
}
