package buffer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// lease is a range of sequence numbers that may be used: it was synced before its first number is.
type lease struct {
	epoch     uint32
	next, end uint64
	size      uint64    // of the range when it was granted
	from      uint64    // next, at that time
	granted   time.Time // monotonic
}

// short says that the lease should be renewed: half of it is used.
func (l *lease) short() bool { return l.end != math.MaxUint64 && l.end-l.next <= l.size/2 }

// want is how many numbers the next range should hold to last for span at the rate of the present one.
func (l *lease) want(span time.Duration, least uint64, now time.Time) uint64 {
	const most = 1 << 24
	used := float64(l.next - l.from)
	if elapsed := now.Sub(l.granted); used > 0 && elapsed > 0 && !l.granted.IsZero() {
		least = max(least, uint64(min(most, used/elapsed.Seconds()*span.Seconds())))
	}
	return least
}

// identity is what the file "sequence" keeps beside Badger, so that a damaged store on flash endangers no number:
// which epoch it is, and up to where each class's numbers are leased.
type identity struct {
	V       int                        `json:"v"`
	Epoch   uint32                     `json:"epoch"`
	Clean   bool                       `json:"clean"`            // written by a clean stop that left nothing in memory
	Next    [len(field.Classes)]uint64 `json:"next"`             // the first number in doubt after an unclean stop, by class
	End     [len(field.Classes)]uint64 `json:"end"`              // the first number not leased
	Waiting [len(field.Classes)]uint64 `json:"waiting"`          // records in blocks when this was written
	Oldest  [len(field.Classes)]uint64 `json:"oldest"`           // number of the oldest of them
	Chain   [len(field.Classes)]uint64 `json:"chain"`            // position behind the last block
	Sealed  [len(field.Classes)]uint64 `json:"sealed"`           // number behind that of the last block; 0 when that is of another epoch
	Doubt   []doubt                    `json:"doubt,omitempty"`  // numbers that unclean stops left in doubt, until it is on flash that they were told of
	Before  []identity                 `json:"before,omitempty"` // of stores set aside, whose losses are not yet told of
}

// doubt is a range of numbers that were not used, or used for records that a power cut took.
type doubt struct {
	Epoch uint32      `json:"epoch"`
	Class field.Class `json:"class"`
	From  uint64      `json:"from"`
	To    uint64      `json:"to"` // behind the last
}

const identityFile = "sequence"

// readIdentity reads the file; fs.ErrNotExist when there is none.
func readIdentity(dir string) (identity, error) {
	var id identity
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		return id, err
	}
	text, sum, _ := bytes.Cut(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	if string(sum) != identitySum(text) {
		return id, errors.New("its checksum is wrong")
	}
	if err := json.Unmarshal(text, &id); err != nil || id.V != 1 {
		return id, fmt.Errorf("it is of an unknown form (version %d): %w", id.V, err)
	}
	return id, nil
}

func identitySum(text []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
}

// write replaces the file; when it returns nil the new one is synced.
func (id identity) write(dir string) (int, error) {
	id.V = 1
	text, err := json.Marshal(id)
	if err != nil {
		return 0, err
	}
	text = append(append(append(text, '\n'), identitySum(text)...), '\n')
	return len(text), replaceFile(filepath.Join(dir, identityFile), text)
}

// replaceFile writes a file anew, so that a crash leaves the old or the new one, and syncs it.
func replaceFile(name string, content []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// identify reads what the folder says of epoch and numbers. An unclean stop leaves the rest of each lease in doubt:
// it is skipped.
func (s *Store) identify() {
	id, err := readIdentity(s.opt.Dir)
	switch {
	case err == nil:
		s.w.ident = id
	case errors.Is(err, fs.ErrNotExist):
		s.w.ident = identity{}
	default:
		s.opt.Log.Warn("the record of used sequence numbers cannot be read: a new epoch begins", "file", identityFile, "err", err)
		s.w.ident = identity{}
	}
	s.w.identified = true
}

// adopt makes epoch and numbers of the folder those of the store. known gives, by class, the first number behind
// those found in blocks. What an unclean stop left unused is put in doubt.
func (s *Store) adopt(known [len(field.Classes)]uint64) {
	id := &s.w.ident
	for c := range s.streams {
		from, to := max(id.Next[c], known[c], 1), max(id.End[c], known[c], 1)
		if !id.Clean && from < to {
			id.question(doubt{id.Epoch, field.Class(c), from, to})
		}
		id.Next[c], id.End[c] = to, to
	}
}

// question adds a range to those in doubt. Where every life ends while it opens the store, ranges meet and join.
func (id *identity) question(d doubt) {
	for i := range id.Doubt {
		if o := &id.Doubt[i]; o.Epoch == d.Epoch && o.Class == d.Class && o.To == d.From {
			o.To = d.To
			return
		}
	}
	id.Doubt = append(slices.Clip(id.Doubt), d)
}

// clearDoubt forgets what is in doubt once the events that tell of it are on flash, or have been delivered.
func (s *Store) clearDoubt(id *identity) {
	if !s.usable {
		return
	}
	for _, e := range s.streams[field.Events].head.entries {
		if (e.state == waiting || e.state == sealing) && e.rec.Event != nil && e.rec.Event.Kind == "skip" {
			return
		}
	}
	id.Doubt = nil
}

// newEpoch begins one: numbers start at 1 again. What is known of the former one is kept until its losses are told of.
func (s *Store) newEpoch(epoch uint32, lost bool) {
	before := s.w.ident.Before
	if old := s.w.ident; lost && old.Epoch != 0 {
		old.Before, old.Doubt = nil, nil
		before = append(before, old)
	}
	s.w.ident = identity{Epoch: epoch, Before: before, Doubt: s.w.ident.Doubt}
	for c := range s.streams {
		s.w.ident.Next[c], s.w.ident.End[c] = 1, 1
	}
}

// renewLeases extends the ranges that run short. When the folder cannot be written and numbers run out, they come
// from an epoch of this process alone, drawn at random from the upper half so that it meets no other.
func (s *Store) renewLeases(now time.Time) {
	s.mu.Lock()
	tell := s.usable && s.anyShort() && s.untold()
	s.mu.Unlock()
	if tell {
		s.flushLosses() // the numbers that were lost are behind those in doubt from now on
	}
	s.mu.Lock()
	id := s.w.ident
	id.Clean = false
	told := s.usable && !s.untold()
	var short, out bool
	var granted [len(field.Classes)]uint64
	for c, st := range s.streams {
		l := &st.lease
		if l.epoch == id.Epoch && l.epoch != 0 {
			if told {
				id.Next[c] = st.doubtful()
			}
			if !l.short() {
				continue
			}
		}
		granted[c] = l.want(s.tune.leaseSpan, s.tune.leaseLeast, now)
		id.End[c] += granted[c]
		short = true
		out = out || l.next == l.end
	}
	s.clearDoubt(&id)
	s.waiting(&id)
	s.mu.Unlock()
	if !short || now.Before(s.w.leaseAt) {
		return
	}
	err := errNoFolder
	if s.w.identified && id.Epoch != 0 {
		var n int
		if n, err = id.write(s.opt.Dir); err == nil {
			s.wrote([]change{{value: make([]byte, n)}})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.w.leaseAt = now.Add(s.tune.cursors)
		if out {
			s.improvise()
		}
		return
	}
	s.w.ident = id
	for c, st := range s.streams {
		l := &st.lease
		if l.epoch != id.Epoch {
			*l = lease{epoch: id.Epoch, next: id.Next[c]}
		}
		if granted[c] > 0 {
			l.end, l.size, l.from, l.granted = id.End[c], granted[c], l.next, now
		}
		s.number(st)
	}
}

// anyShort says that some lease of the present epoch should be renewed.
func (s *Store) anyShort() bool {
	for _, st := range s.streams {
		if st.lease.short() {
			return true
		}
	}
	return false
}

// doubtful is the first number that a power cut now would leave in doubt: those before it are on flash, acknowledged,
// or, when nothing is untold, told of.
func (st *stream) doubtful() uint64 {
	for _, e := range st.head.entries {
		if e.epoch == st.lease.epoch && (e.state == waiting || e.state == sealing) {
			return e.rec.Seq
		}
	}
	return st.lease.next
}

var errNoFolder = errors.New("no folder")

// improvise numbers on in an epoch of this process. Of those of the folder's epoch some may be in memory alone.
func (s *Store) improvise() {
	epoch := 1<<31 | rand.Uint32()>>1
	for c, st := range s.streams {
		l := &st.lease
		if l.end == math.MaxUint64 {
			continue
		}
		if id := &s.w.ident; l.epoch != 0 {
			if id.Next[c] < l.next {
				id.question(doubt{id.Epoch, field.Class(c), id.Next[c], l.next})
			}
			id.Next[c] = l.next
		}
		*l = lease{epoch: epoch, next: 1, end: math.MaxUint64}
		s.number(st)
	}
}

// noteFolder writes down what the folder holds, once it has all been told of.
func (s *Store) noteFolder() {
	s.mu.Lock()
	id := s.w.ident
	ok := s.usable && !s.untold() && id.Epoch != 0
	if ok {
		id.Before, id.Clean = nil, false
		for c, st := range s.streams {
			if st.lease.epoch == id.Epoch {
				id.Next[c] = st.doubtful()
			}
		}
		s.clearDoubt(&id)
		s.waiting(&id)
	}
	s.mu.Unlock()
	if !ok {
		return
	}
	if _, err := id.write(s.opt.Dir); err != nil {
		s.opt.Log.Debug("what the store holds could not be noted", "err", err)
		return
	}
	s.w.ident = id
}

// waiting notes what is in blocks, once they are known.
func (s *Store) waiting(id *identity) {
	if !s.w.attached {
		return
	}
	for c, st := range s.streams {
		id.Waiting[c], id.Oldest[c] = 0, 0
		if id.Chain[c], id.Sealed[c] = st.chain, 0; st.last() != nil && st.last().epoch == id.Epoch {
			id.Sealed[c] = st.chain + st.last().shift
		}
		for _, b := range st.buckets {
			if n := b.owed.most(); n > 0 && b.epoch == id.Epoch {
				if id.Waiting[c] == 0 {
					id.Oldest[c] = b.first + b.shift
				}
				id.Waiting[c] += n
			}
		}
	}
}

// giveBack ends the leases at the last number used.
func (s *Store) giveBack() {
	if !s.w.identified || s.w.ident.Epoch == 0 {
		return
	}
	s.mu.Lock()
	id := s.w.ident
	id.Clean = true
	told := !s.untold() // else those that were given up stay in doubt
	for c, st := range s.streams {
		if st.lease.epoch == id.Epoch {
			if id.End[c] = st.lease.next; told {
				id.Next[c] = st.doubtful()
			}
			id.Clean = id.Clean && id.Next[c] == id.End[c]
		} else {
			id.End[c] = id.Next[c]
		}
	}
	s.clearDoubt(&id)
	s.waiting(&id)
	s.mu.Unlock()
	if _, err := id.write(s.opt.Dir); err != nil {
		s.opt.Log.Warn("the unused sequence numbers could not be given back: they will be skipped", "err", err)
	}
}
