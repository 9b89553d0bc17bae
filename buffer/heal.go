package buffer

import (
	"errors"
	"syscall"
	"time"

	"edgegateway/adapters/field"
)

// stall says that the store on flash takes nothing more: records live in memory until it does. A fault that is not
// for want of space closes it, to be opened again later.
func (s *Store) stall(err error, parcels []*parcel) {
	var full *noSpace
	noRoom := errors.As(err, &full)
	s.opt.Log.Error("the store on flash cannot be used: records live in memory", "err", err)
	s.mu.Lock()
	s.restore(parcels)
	f := s.flash
	if !noRoom {
		s.flash = nil
	}
	was := s.usable
	s.usable, s.trouble, s.cause = false, err.Error(), Evicted
	if noRoom || errors.Is(err, syscall.ENOSPC) {
		s.cause = DiskFull
	}
	s.freeAll()
	for _, d := range s.dests {
		for c := range d.tracks {
			d.tracks[c].moved = d.tracks[c].moved || d.tracks[c].low > 1
		}
		d.wake()
	}
	if was {
		s.take(field.Record{At: s.opt.Now(), Event: &field.Event{Kind: "store", Text: "the store on flash cannot be used: " + s.trouble}},
			time.Now(), nil)
	}
	s.squeeze()
	s.mu.Unlock()
	if !noRoom && f != nil {
		s.closing(f)
	}
}

// heal looks for a usable store while there is none.
func (s *Store) heal(now time.Time) {
	s.mu.Lock()
	f, usable := s.flash, s.usable
	s.mu.Unlock()
	if usable || s.opt.Dir == "" {
		return
	}
	if f != nil {
		if n, err := free(s.opt.Dir); err != nil || n < s.opt.Reserve+slack || s.room() != nil {
			return
		}
		s.mu.Lock()
		s.usable, s.trouble, s.cause = true, "", Evicted
		s.mu.Unlock()
	} else {
		if now.Before(s.w.retryAt) {
			return
		}
		if err := s.connect(now); err != nil {
			s.mu.Lock()
			s.trouble = err.Error()
			s.mu.Unlock()
			return
		}
	}
	s.opt.Log.Info("the store on flash is usable again")
	s.tell(&field.Event{Kind: "store", Text: "the store on flash is usable again"})
}

// closeFlash closes what is open.
func (s *Store) closeFlash() {
	s.mu.Lock()
	f := s.flash
	s.flash = nil
	s.mu.Unlock()
	if f != nil {
		s.closing(f)
	}
}

// closing closes Badger, which writes its last table then. On a full disk that would kill the process, and is left
// out: all of it stands in the log.
func (s *Store) closing(f *flash) {
	if n, err := free(s.opt.Dir); err == nil && n < openNeeds {
		s.dropBallast()
		if n, err = free(s.opt.Dir); err == nil && n < openNeeds {
			f.abandon()
			return
		}
	}
	if err := f.close(); err != nil {
		s.opt.Log.Warn("the store on flash was not closed cleanly", "err", err)
	}
}
