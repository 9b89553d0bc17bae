package buffer

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Badger's compactors look for work twenty times a second each, for ever: with the link up and the flash at rest that
// is most of what the whole daemon would cost. So Badger is opened without them, which is right as long as its tables
// are few, and opened anew with them once half a memtable was written, before tables pile up. When nothing is left to
// keep, it goes back to rest.

const (
	restingTables = 2       // of level zero that may stand without compactors
	noStall       = 1 << 20 // tables of level zero at which writes would wait for compactors that are not there
)

// openBadger opens Badger with compactors, or at rest. A panic inside its Open is an error like any other: a damaged
// file causes both.
func openBadger(dir, scratch string, log *slog.Logger, compact bool) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Debug("badger panicked while opening", "panic", r, "stack", string(debug.Stack()))
			db, err = nil, fmt.Errorf("panic: %v", r)
		}
	}()
	o := badgerOptions(dir, log)
	if !compact {
		o.NumCompactors = 0
		o.NumLevelZeroTablesStall = noStall
	}
	if scratch != "" {
		if err := prepareScratch(scratch, dir); err != nil {
			log.Debug("syncing the value log with the rest, which costs twice the time", "err", err)
		} else {
			o.ValueDir = scratch
		}
	}
	return badger.Open(o)
}

// levelZero counts the tables that compaction has not yet sorted.
func (f *flash) levelZero() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return 0
	}
	return f.db.Levels()[0].NumTables
}

// reopen closes Badger and opens it with compactors or without. Readers wait meanwhile.
func (f *flash) reopen(compact bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db == nil {
		return errNoFlash
	}
	db := f.db
	f.db = nil
	if err := db.Close(); err != nil {
		return err
	}
	db, err := openBadger(f.dir, f.scratch, f.log, compact)
	if err != nil {
		return err
	}
	f.db, f.compact = db, compact
	f.compacting.Store(compact)
	return nil
}

// tend sets compactors to work when half a memtable was written without. It says whether there is still a store to
// write to.
func (s *Store) tend() bool {
	s.mu.Lock()
	f := s.flash
	s.mu.Unlock()
	if f == nil {
		return false
	}
	if f.compact || s.w.untended < memTable/2 {
		return true
	}
	s.w.untended = 0
	return s.reopen(f, true)
}

// rest sends the compactors home when nothing on flash is owed to anybody and the tables are few.
func (s *Store) rest() {
	s.mu.Lock()
	f, owed := s.flash, s.owedBlocks()
	s.mu.Unlock()
	if f != nil && f.compact && !owed && f.levelZero() <= restingTables {
		s.reopen(f, false)
	}
}

// owedBlocks says that some bucket is owed to somebody.
func (s *Store) owedBlocks() bool {
	for _, st := range s.streams {
		for _, b := range st.buckets {
			if b.owed.most() > 0 {
				return true
			}
		}
	}
	return false
}

// reopen must not be called with a full disk: closing and opening both write.
func (s *Store) reopen(f *flash, compact bool) bool {
	if s.diskFit() != nil {
		return true // as it is, it serves
	}
	began := time.Now()
	if err := f.reopen(compact); err != nil {
		s.stall(err, nil)
		return false
	}
	s.opt.Log.Debug("the store on flash was opened anew", "compactors", compact, "took", time.Since(began))
	return true
}
