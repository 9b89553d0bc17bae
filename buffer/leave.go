package buffer

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// leaving is a store on flash that is out of use and not yet closed. To close Badger is to write its last table: on a
// full disk that would kill the process, and on one that may not be written Badger tries for ever. So it waits until
// the disk can be written, and then goes on beside the writer. All that was committed stands in Badger's log anyway.
type leaving struct {
	f    *flash
	done chan error // nil until it is being closed
}

// How long the writer waits for a store to be closed: in between, and at the end.
const (
	closeWait = 2 * time.Second
	endWait   = 20 * time.Second
)

var errLeaving = errors.New("the store on flash is not yet closed, for the disk cannot be written")

// leave takes a store on flash out of use.
func (s *Store) leave(f *flash) {
	s.w.leaving = &leaving{f: f}
	s.left(closeWait)
}

// left says that no store is still to be closed; it waits for a moment.
func (s *Store) left(wait time.Duration) bool {
	l := s.w.leaving
	if l == nil {
		return true
	}
	if l.done == nil {
		if n, err := free(s.opt.Dir); err == nil && n < openNeeds {
			s.dropBallast()
		}
		if n, err := free(s.opt.Dir); err != nil || n < openNeeds || !s.writable() {
			return false
		}
		l.done = make(chan error, 1)
		go func() { l.done <- l.f.close() }()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-l.done:
		if err != nil {
			s.opt.Log.Warn("the store on flash was not closed cleanly", "err", err)
		}
		s.w.leaving = nil
		return true
	case <-timer.C:
		return false
	}
}

// closeFlash closes what is open.
func (s *Store) closeFlash() {
	s.mu.Lock()
	f := s.flash
	s.flash = nil
	s.mu.Unlock()
	if f != nil {
		s.w.leaving = &leaving{f: f}
	}
	s.left(endWait)
}

// writable tries whether files can be made in the folder: a file system that the kernel has stopped writing to after an
// error does not always say so.
func (s *Store) writable() bool {
	name := filepath.Join(s.opt.Dir, "writable")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, 0, 4096)
		if errors.Is(err, unix.EOPNOTSUPP) {
			_, err = f.WriteAt(make([]byte, 4096), 0)
		}
		f.Close()
		if e := os.Remove(name); err == nil {
			err = e
		}
	}
	return err == nil
}

// place names the folder's file system and inode; zero when there is none.
type place struct{ device, inode uint64 }

func placeOf(dir string) place {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return place{}
	}
	return place{uint64(st.Dev), st.Ino}
}

// elsewhere says that the folder is not the one any more that was connected: another file system was mounted there.
// What was open on the old one is let go of as it is: there it can neither be used nor closed.
func (s *Store) elsewhere() {
	if now := placeOf(s.opt.Dir); s.w.place != (place{}) && now != (place{}) && now != s.w.place {
		s.opt.Log.Warn("another file system is mounted at the store's folder")
		s.w.leaving, s.w.place = nil, place{}
		if s.w.lock != nil {
			s.w.lock.release()
			s.w.lock = nil
		}
	}
}

// guard lets the ballast go as soon as little is free, while Badger may be writing tables of its own accord: it
// dies of a full disk, and the writer looks at the disk only when it has something to write. It ends with stop.
func (s *Store) guard(stop <-chan struct{}) {
	for every := time.Second; ; {
		select {
		case <-stop:
			return
		case <-time.After(every):
		}
		s.mu.Lock()
		f := s.flash
		s.mu.Unlock()
		every = time.Second
		if f == nil || !f.compacting.Load() {
			continue
		}
		every = 50 * time.Millisecond
		if n, err := free(s.opt.Dir); err == nil && n < min(openNeeds, s.opt.Reserve/2) {
			s.dropBallast()
		}
	}
}
