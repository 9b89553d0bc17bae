package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// Open opens the store in Options.Dir, or makes it. A damaged store is set aside, and one that cannot be used (no
// space, a read-only disk) is tried again later while records live in memory: neither is an error. Errors are ErrLocked,
// and options that make no sense. Run must be called on what it returns; it closes the store.
func Open(o Options) (*Store, error) { return open(o, defaultTuning()) }

func open(o Options, tune tuning) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.CommitEvents != 0 {
		tune.gather = max(o.CommitEvents, 0)
	}
	s := newStore(o, tune)
	s.w.enc = field.NewBlockEncoder()
	now := time.Now()
	s.w.houseAt = now.Add(tune.house)
	s.w.cursorsAt = now
	if o.Dir == "" {
		s.trouble = "records live in memory alone, by choice"
		s.renewLeases(now)
		return s, nil
	}
	if err := s.connect(now); err != nil {
		if errors.Is(err, ErrLocked) {
			return nil, err
		}
		s.stall(err, nil)
	}
	s.renewLeases(now)
	return s, nil
}

// openNeeds is the free space, in bytes, without which Badger is not opened: it replays its log into tables.
const openNeeds = 8 << 20

// connect takes hold of the folder and of the store in it.
func (s *Store) connect(now time.Time) error {
	s.w.retryAt = now.Add(s.tune.retry)
	dir := s.opt.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.w.lock == nil {
		lock, err := awaitLock(s.tune.lock, func() (*folderLock, error) { return lockFolder(dir) })
		if err != nil {
			return err
		}
		s.w.lock = lock
	}
	if !s.w.identified {
		s.identify()
	}
	f, m, aside, err := s.openAny()
	if err != nil {
		s.begin(s.w.ident.Epoch, [len(field.Classes)]uint64{}, false)
		return err
	}
	was, before := s.w.attached, s.w.ident
	if err := s.attach(f, m, aside); err != nil {
		s.leave(f)
		return err
	}
	s.w.place = placeOf(dir)
	s.measure()
	s.takeBallast()
	s.recover(aside, was)
	if !was {
		s.makeGood(&before, before.Epoch == s.w.ident.Epoch)
	}
	s.flushLosses()
	s.sealHead(everything) // what waits may have numbers of an epoch that the folder is about to forget
	s.noteFolder()
	return nil
}

// wreck is a store that was set aside just now: why, and where it is. The zero value is none.
type wreck struct{ why, folder string }

// openAny opens the store on flash; a damaged one is set aside and replaced.
func (s *Store) openAny() (f *flash, m meta, aside wreck, err error) {
	dir := filepath.Join(s.opt.Dir, flashFolder)
	if n, err := free(s.opt.Dir); err == nil && n < openNeeds {
		s.dropBallast()
		if n, err = free(s.opt.Dir); err == nil && n < openNeeds {
			return nil, m, wreck{}, &noWrite{text: fmt.Sprintf("the disk is full: %d MiB are free, opening the store takes %d", n>>20, openNeeds>>20)}
		}
	}
	crashes := attempts(s.opt.Dir)
	defer opened(s.opt.Dir)
	if _, err := awaitLock(s.tune.lock, func() (struct{}, error) { return struct{}{}, unused(dir) }); err != nil {
		return nil, m, wreck{}, err
	}
	if err = sweep(dir); err == nil {
		err = s.shelter(dir)
	}
	bad := inspect(dir)
	switch {
	case err != nil:
	case headless(dir):
		err = errors.New("its list of tables (MANIFEST) is missing")
	case bad != nil:
		err = bad
	case crashes >= openAttempts && s.probe(dir) != nil:
		err = fmt.Errorf("the daemon ended %d times while opening it", crashes)
	case s.w.damaged != "":
		err = errors.New(s.w.damaged)
	default:
		if f, m, err = s.openOne(dir); err != nil && damage(err) {
			// A second look: what the first one found half done it may have tidied up, and what can be spared goes.
			s.opt.Log.Warn("the store on flash does not open: looking again", "why", err)
			if err = errors.Join(sweep(dir), spare(dir)); err == nil {
				f, m, err = s.openOne(dir)
			}
		}
	}
	s.w.damaged = ""
	if err != nil && damage(err) {
		aside.why = err.Error()
		to, e := setAside(s.opt.Dir, s.w.ident.Epoch)
		if e != nil {
			return nil, m, wreck{}, fmt.Errorf("the store is damaged (%s) and cannot be set aside: %w", aside.why, e)
		}
		s.opt.Log.Error("the store on flash is damaged: set aside, and a new one begun", "why", aside.why, "to", to)
		aside.folder = to
		moveOrphans(s.opt.Dir, to)
		f, m, err = s.openOne(dir)
	}
	if err != nil {
		return nil, m, wreck{}, err
	}
	return f, m, aside, nil
}

// Try opens the store on flash in a folder, as Open does with the one in Options.Dir, and closes it again.
func Try(folder string) error {
	f, err := openFlash(folder, "", newShapes(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return f.close()
}

// probe has another process try the store.
func (s *Store) probe(dir string) error {
	if s.opt.Probe == nil {
		return errors.New("nobody tries it")
	}
	s.opt.Log.Warn("the daemon ended several times while opening the store on flash: another process tries it")
	return s.opt.Probe(dir)
}

func (s *Store) openOne(dir string) (*flash, meta, error) {
	f, err := awaitLock(s.tune.lock, func() (*flash, error) { return openFlash(dir, s.opt.Scratch, s.shapes, s.opt.Log) })
	if err != nil {
		return nil, meta{}, err
	}
	m, err := f.meta()
	if err == nil {
		err = f.loadShapes()
	}
	if err != nil {
		f.close()
		return nil, meta{}, err
	}
	return f, m, nil
}

// begin makes an epoch and what the folder says of its numbers those of the store, unless they are already. It tells
// of the numbers that an unclean stop left in doubt. fresh says that what the former epoch left is not there any more.
func (s *Store) begin(epoch uint32, known [len(field.Classes)]uint64, fresh bool) {
	switch {
	case epoch == 0 || s.w.begun == epoch:
		return
	case epoch != s.w.ident.Epoch:
		s.newEpoch(epoch, fresh)
	default:
		s.adopt(known)
	}
	for _, d := range s.w.ident.Doubt {
		s.tell(skipEvent(d.Class, d.Epoch, d.From, d.To-1))
	}
	s.w.begun = epoch
}

// tell takes an event of the store's own.
func (s *Store) tell(ev *field.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(field.Record{At: s.opt.Now(), Event: ev}, time.Now(), nil)
	s.squeeze()
}

// attach makes an open flash the store's. At first its contents are taken in; when it comes back after a failure they
// are known, unless it is not the same any more.
func (s *Store) attach(f *flash, m meta, aside wreck) error {
	fresh := m.V == 0
	before := m.Epoch
	former := map[string]uint8{}
	ids, known, names := m.assign(s.opt.Destinations)
	f.ids = ids
	again := s.w.attached && !fresh && m.Epoch == s.w.ident.Epoch
	var x *contents
	if !again {
		for _, name := range names {
			former[name] = m.Destinations[name]
			f.ids, known = append(f.ids, m.Destinations[name]), append(known, true)
		}
		var err error
		if x, err = f.load(known); err != nil {
			return err
		}
		f.ids = f.ids[:len(ids)]
		s.forgetBlocks(aside.why)
	}

	epoch := m.Epoch
	if fresh {
		if last := s.lastEpoch(); last == 0 || last != s.w.vacant {
			s.w.vacant = last + 1
		}
		epoch = s.w.vacant
	} else if s.w.ident.Epoch > epoch {
		epoch = s.w.ident.Epoch
	} else if s.w.ident.Epoch < epoch {
		epoch++
	}
	var ends [len(field.Classes)]uint64
	if x != nil {
		ends = x.ends(epoch)
	}
	s.begin(epoch, ends, fresh)

	m.Epoch = epoch
	changes := []change{}
	for name, id := range former {
		delete(m.Destinations, name)
		for _, c := range field.Classes {
			changes = append(changes, change{key: cursorKey(id, c)})
		}
	}
	// The numbers of a new epoch are leased before anything says that it has begun.
	s.w.leaseAt = time.Time{}
	s.renewLeases(time.Now())
	if fresh || m.Epoch != before || len(former) > 0 || slices.Contains(known, false) {
		changes = append(changes, m.change())
		if err := s.roomFor(f, changes); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x != nil {
		for c := range x.streams {
			s.w.chains[c], s.w.gone[c] = x.streams[c].chain, x.streams[c].gone
			if !fresh && epoch == s.w.ident.Epoch {
				x.streams[c].chain = max(x.streams[c].chain, s.w.ident.Chain[c])
			}
		}
		s.takeIn(x, names)
	}
	s.flash, s.usable, s.trouble, s.cause = f, true, "", Evicted
	s.w.attached, s.w.vacant = true, 0
	for _, d := range s.dests {
		d.wake()
	}
	return nil
}

// roomFor commits changes when there is room.
func (s *Store) roomFor(f *flash, changes []change) error {
	if err := s.room(); err != nil {
		return err
	}
	if err := f.commit(changes); err != nil {
		return err
	}
	s.wrote(changes)
	return nil
}

// lastEpoch is the highest that any trace is left of.
func (s *Store) lastEpoch() uint32 {
	last := s.w.ident.Epoch
	for _, name := range asides(s.opt.Dir) {
		epoch, _ := asideNumber(name)
		last = max(last, epoch)
	}
	return last
}

// ends gives, by class, the number behind the last that stands in a block of an epoch.
func (x *contents) ends(epoch uint32) (ends [len(field.Classes)]uint64) {
	for c := range x.streams {
		for _, b := range x.streams[c].buckets {
			if b.epoch == epoch && b.blocks > 0 {
				ends[c] = b.end + b.shift
			}
		}
	}
	return ends
}

// takeIn makes what was found on flash part of the store. Records taken meanwhile come behind it.
func (s *Store) takeIn(x *contents, former []string) {
	for c, st := range s.streams {
		in := &x.streams[c]
		if len(in.dead) > 0 {
			s.w.replaced = append(s.w.replaced, &replacement{class: field.Class(c), old: in.dead})
		}
		st.buckets, st.chain = in.buckets, max(in.chain, st.chain)
		s.w.nextBucket[c] = max(s.w.nextBucket[c], in.next)
		if h := &st.head; h.base < st.chain {
			by := st.chain - h.base
			h.shift(by)
			for _, d := range s.dests {
				d.tracks[c].live += by
			}
		}
		for i, d := range s.dests {
			t, found := &d.tracks[c], &x.tracks[i][c]
			t.low, t.read, t.settled, t.flying, t.moved = found.low, found.read, found.settled, nil, found.moved
			var n uint64
			for _, b := range st.buckets {
				n += b.owed[i]
			}
			t.books.inBlocks, t.books.found, t.books.taken = n, t.books.found+n, t.books.taken+n
			s.advance(i, st)
		}
		for i, name := range former {
			s.forgetFormer(st, len(s.dests)+i, name)
		}
	}
	s.ledger = append(x.ledger, s.ledger...)
	s.told = max(s.told, x.told)
}

// forgetFormer declares lost what was still owed to a destination that the configuration names no more.
func (s *Store) forgetFormer(st *stream, i int, name string) {
	for _, b := range st.buckets {
		if n := b.owed[i]; n > 0 {
			s.declare(loss{former: name, class: st.class, why: Evicted, epoch: b.epoch, first: b.first + b.shift,
				last: b.end - 1 + b.shift, count: n, text: "the configuration names this destination no more"})
		}
		b.owed[i], b.sealed[i] = 0, 0
	}
}

// forgetBlocks gives up what the store had on flash before it was damaged under the running daemon.
func (s *Store) forgetBlocks(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		for _, b := range st.buckets {
			for i := range s.dests {
				if b.owed[i] > 0 {
					s.loseBucket(i, st, b, Corrupt)
				}
			}
		}
		st.buckets = nil
		for i := range s.dests {
			s.advance(i, st)
		}
	}
	s.unwritten = len(s.ledger)
	s.w.replaced = nil
	if why != "" {
		s.take(field.Record{At: s.opt.Now(), Event: &field.Event{Kind: "store", Text: "the store was damaged and set aside: " + why}},
			time.Now(), nil)
	}
}
