package buffer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"edgegateway/adapters/field"
)

// Badger's opening does away with tables that its list does not name, and with a log behind its first damaged byte, and
// says nothing of either. Both are rests of a crash, mostly; but they are also what a list that lost its end, or a log
// with one flipped bit, leaves of good blocks. So they are kept in a folder of their own while Badger opens, and what
// stands in them and nowhere else is taken back.
const orphanFolder = "orphans"

// shelter keeps what Badger's opening may do away with. After a clean stop the logs are empty, and Badger needs none.
func (s *Store) shelter(dir string) error {
	to := filepath.Join(s.opt.Dir, orphanFolder)
	listed, err := tables(dir)
	if err != nil {
		return nil // Badger will refuse it, and then all of it is set aside
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		from, ext := filepath.Join(dir, e.Name()), filepath.Ext(e.Name())
		id, numbered := strconv.ParseUint(strings.TrimSuffix(e.Name(), ext), 10, 64)
		if numbered != nil || ext == ".mem" && s.w.ident.Clean || ext == ".sst" && listed[id] || ext != ".sst" && ext != ".mem" {
			continue
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		found = true
		if ext == ".sst" {
			err = os.Rename(from, filepath.Join(to, e.Name()))
		} else {
			err = copyLog(from, filepath.Join(to, "copy-"+e.Name()))
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return nil
	}
	return errors.Join(syncFolder(to), syncFolder(s.opt.Dir), syncFolder(dir))
}

// tables reads which tables Badger's list names.
func tables(dir string) (map[uint64]bool, error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil, err
	}
	listed := map[uint64]bool{}
	for id := range m.Tables {
		listed[id] = true
	}
	return listed, nil
}

// copyLog copies a log without the hole at its end.
func copyLog(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if b = bytes.TrimRight(b, "\x00"); len(b) < 64 {
		return nil // nothing but its head
	}
	if info, err := os.Stat(to); err == nil && info.Size() >= int64(len(b)) {
		return nil // an opening that did not end has shortened the log since
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// moveOrphans puts what was sheltered with the store that is set aside.
func moveOrphans(dir, to string) {
	from := filepath.Join(dir, orphanFolder)
	entries, _ := os.ReadDir(from) // mostly there are none
	for _, e := range entries {
		_ = os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())) // one that cannot be moved is not saved
	}
	_ = os.RemoveAll(from)
}

// adoptFrom takes back what stands in a folder and is nowhere in the store that is open now, and notes that in saved.
// With remove the folder goes when it was looked at.
func (s *Store) adoptFrom(ctx context.Context, folder string, saved tallies, remove bool) {
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return
	}
	n := 0
	r, err := openRelic(folder)
	if err == nil {
		var hint *bucket
		err = r.each(ctx, func(found []rest) error {
			return s.retakeAll(found, saved, func(f *rest) bool {
				if !s.absent(f, &hint) {
					return false
				}
				n++
				return true
			})
		})
		err = errors.Join(err, s.stow())
	} else if errors.Is(err, errNoRelic) {
		err = nil
	}
	if n > 0 {
		s.opt.Log.Warn("the store on flash had lost records that could be taken back", "records", n)
	}
	if err != nil {
		s.opt.Log.Warn("what the store on flash may have lost was not looked at in full", "folder", folder, "err", err)
		if ctx.Err() == nil {
			return // again at the next opening
		}
	}
	if remove {
		_ = os.RemoveAll(folder) // or it is looked at again
	}
}

// absent says that a record is in no bucket and still owed to somebody, to whom it is narrowed down. hint is a
// bucket that may hold it.
func (s *Store) absent(f *rest, hint **bucket) bool {
	c := f.record.Class()
	st := s.streams[c]
	holds := func(b *bucket) bool {
		pos := f.record.Seq - b.shift
		return b.epoch == f.epoch && pos >= b.first && pos < b.end
	}
	if *hint != nil && holds(*hint) {
		return false
	}
	for _, b := range st.buckets {
		if holds(b) {
			*hint = b
			return false
		}
	}
	f.owedTo = []string{}
	for i, d := range s.dests {
		t := &d.tracks[c]
		if s.flash != nil && s.flash.inward(f.owed)&(1<<i) != 0 && f.pos >= t.low && !t.settled.has(f.pos) {
			f.owedTo = append(f.owedTo, d.name)
		}
	}
	return len(f.owedTo) > 0
}

// regret declares lost what the store had on flash when its numbers were last leased, and has no more: its log or its
// list of tables lost its end. saved was taken back.
func (s *Store) regret(id *identity, chains [len(field.Classes)]uint64, saved tallies) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, st := range s.streams {
		if id.Sealed[c] == 0 || chains[c] >= id.Chain[c] {
			continue
		}
		from, to := chains[c]+id.Sealed[c]-id.Chain[c], id.Sealed[c]
		from = max(from, id.Oldest[c], 1)
		spans := saved[partKey{field.Class(c), id.Epoch}]
		if from >= to {
			continue
		}
		n := min(id.Waiting[c], to-from)
		n -= min(n, spans.within(from, to))
		s.lose(st, s.everybody(), id.Epoch, from, to, n, spans, "the end of the store on flash was damaged; the count is an estimate")
	}
}
