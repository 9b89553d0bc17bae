package buffer

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"edgegateway/adapters/field"
)

// recoverFor bounds how long opening the store may take to save what can be read of one that was set aside. What is
// left then is declared lost, and `gatewayd backlog salvage` may still bring it back.
const recoverFor = 5 * time.Second

// recover saves what can be read of stores that were set aside, and declares the rest lost, as far as it is known.
// Until that is on flash the folder remembers what is still to be told. known says that this process has told already.
func (s *Store) recover(aside wreck, known bool) {
	if len(s.w.ident.Before) == 0 && aside.folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recoverFor)
	defer cancel()
	before := s.w.ident.Before
	if len(before) == 0 {
		before = make([]identity, 1) // nothing is known of it
	}
	for i := range before {
		folder := newestAside(s.opt.Dir, before[i].Epoch)
		if i == len(before)-1 && aside.folder != "" {
			folder = aside.folder
		}
		if !known {
			s.lament(&before[i], folder != "", s.rescue(ctx, folder))
		}
	}
	s.flushLosses()
	s.sealHead(urgent)
}

// rescue saves what can be read in a folder, if there is one, and says what that is.
func (s *Store) rescue(ctx context.Context, folder string) tallies {
	saved := tallies{}
	if folder == "" {
		return saved
	}
	survey, err := s.salvage(ctx, folder, saved)
	if err != nil {
		s.opt.Log.Warn("the store that was set aside was not looked at in full: `gatewayd backlog salvage` may save more", "folder", folder, "err", err)
	}
	s.opt.Log.Info("saved from the store that was set aside", "folder", folder, "records", survey.Records(), "unreadable", survey.Damaged())
	return saved
}

// newestAside gives the folder of the store of an epoch that was set aside last; "" when there is none.
func newestAside(dir string, epoch uint32) string {
	folder := ""
	for _, name := range asides(dir) {
		if e, _ := asideNumber(name); e == epoch {
			folder = filepath.Join(dir, name)
		}
	}
	return folder
}

// tallies counts what was saved, by class and epoch, as ranges of numbers.
type tallies map[partKey]ranges

// Salvage takes what can be read of a store that was set aside into this one: under the numbers that the records had,
// for those who lacked them. What an earlier call took is left out. It is to be called after Open and before Run. An
// error says that not everything was looked at; what was is kept.
func (s *Store) Salvage(ctx context.Context, folder string) (Survey, error) {
	return s.salvage(ctx, folder, tallies{})
}

func (s *Store) salvage(ctx context.Context, folder string, saved tallies) (Survey, error) {
	r, err := openRelic(folder)
	if err != nil {
		return Survey{}, err
	}
	r.recall()
	err = r.each(ctx, func(found []rest) error {
		return s.retakeAll(found, saved, func(*rest) bool { return true })
	})
	if e := s.stow(); err == nil {
		err = e
	}
	if e := r.remember(); e != nil {
		s.opt.Log.Warn("what was saved of a store that was set aside may be saved again", "folder", folder, "err", e)
	}
	return r.finish(), err
}

// stow seals all that is in memory, while there is room.
func (s *Store) stow() error {
	s.sealHead(everything)
	if s.w.measured >= measureEvery {
		s.measure()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.usable:
		return fmt.Errorf("the store takes nothing more: %s", s.trouble)
	case s.disk > s.opt.soft():
		return fmt.Errorf("the store has reached its limit of %d MiB", s.opt.Limit>>20)
	}
	return nil
}

// retakeAll takes those records that are wanted, and seals whenever they are many.
func (s *Store) retakeAll(found []rest, saved tallies, wanted func(*rest) bool) error {
	for i := range found {
		s.mu.Lock()
		if wanted(&found[i]) {
			s.retake(&found[i], saved)
		}
		heavy := s.heavy()
		s.mu.Unlock()
		if heavy {
			if err := s.stow(); err != nil {
				return err
			}
		}
	}
	return nil
}

// heavy says that what was taken back should be sealed before more is. The holes between records take memory, too: of
// readings that were thinned out there are hundreds for each.
func (s *Store) heavy() bool {
	entries := 0
	for _, st := range s.streams {
		entries += len(st.head.entries)
	}
	return max(s.weight, int64(entries)*new(entry).weight()) > s.opt.HeadLimit/4
}

// retake takes a record under the number that it has. Numbers between it and the one before count as records that have
// left, so that they share a bucket.
func (s *Store) retake(f *rest, saved tallies) {
	const hole = 1000
	rec := f.record
	c := rec.Class()
	owed := s.everybody()
	if f.owedTo != nil {
		owed = 0
		for i, d := range s.dests {
			for _, name := range f.owedTo {
				if d.name == name {
					owed |= 1 << i
				}
			}
		}
	}
	if owed == 0 {
		return // those who lacked it are served no more
	}
	if rec.Group != nil {
		rec.Group, _ = s.shapes.intern(rec.Group)
	}
	st := s.streams[c]
	h := &st.head
	if n := len(h.entries); n > 0 && h.named == h.next() {
		if last := h.entries[n-1]; last.epoch == f.epoch && last.state == waiting && rec.Seq > last.rec.Seq && rec.Seq-last.rec.Seq < hole {
			for range rec.Seq - last.rec.Seq - 1 {
				h.entries = append(h.entries, &entry{pos: h.next(), state: gone})
			}
		}
	}
	e := &entry{rec: rec, pos: h.next(), epoch: f.epoch, owed: owed, size: roughSize(&rec), taken: time.Now()}
	h.entries = append(h.entries, e)
	s.weight += e.weight()
	s.taken++
	for i, d := range s.dests {
		if owed&(1<<i) != 0 {
			b := &d.tracks[c].books
			b.taken, b.found, b.inHead = b.taken+1, b.found+1, b.inHead+1
		}
	}
	s.number(st)
	k := partKey{c, f.epoch}
	spans := saved[k]
	spans.add(rec.Seq, rec.Seq+1)
	saved[k] = spans
}

// lament declares lost, as far as the folder tells, what stood in a store that was set aside or is gone and was not
// saved; and which numbers are in doubt, if it was not closed.
func (s *Store) lament(id *identity, aside bool, saved tallies) {
	why := "the store on flash was not there any more"
	if aside {
		why = "the store on flash was damaged and set aside"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.streams {
		from, next, end := id.Oldest[c], max(id.Next[c], 1), max(id.End[c], 1)
		if !id.Clean && next < end {
			s.take(field.Record{At: s.opt.Now(), Event: skipEvent(field.Class(c), id.Epoch, next, end-1)}, time.Now(), nil)
		}
		if id.Waiting[c] == 0 || from >= next {
			continue
		}
		spans := saved[partKey{field.Class(c), id.Epoch}]
		n := id.Waiting[c]
		n -= min(n, spans.within(from, next))
		s.lose(s.streams[c], s.everybody(), id.Epoch, from, next, n, spans, why+"; the count is that of its last lease, without what was saved")
	}
}

// lose declares n records lost for some that nobody counted before: of the numbers from from on and below to,
// without those that were saved at either end.
func (s *Store) lose(st *stream, whom mask, epoch uint32, from, to, n uint64, saved ranges, why string) {
	if n == 0 {
		return
	}
	if saved.has(from) {
		from = saved[saved.after(from)].to
	}
	if saved.has(to - 1) {
		to = saved[saved.after(to-1)].from
	}
	if from >= to {
		return
	}
	for i, d := range s.dests {
		if whom&(1<<i) == 0 {
			continue
		}
		b := &d.tracks[st.class].books
		b.found, b.taken, b.lost[Corrupt] = b.found+n, b.taken+n, b.lost[Corrupt]+n
	}
	s.declare(loss{to: whom, class: st.class, why: Corrupt, epoch: epoch, first: from, last: to - 1, count: n, text: why})
}
