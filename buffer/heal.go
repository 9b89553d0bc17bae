package buffer

import (
	"errors"
	"syscall"
	"time"

	"edgegateway/adapters/field"
)

// stall says that the store on flash takes nothing more: records live in memory until it does. Want of space, and a disk
// that may not be written, leave it open; any other fault closes it, to be opened again later: what a failed sync left
// behind cannot be trusted, and Badger writes all of it anew when it is closed.
func (s *Store) stall(err error, parcels []*parcel) {
	var no *noWrite
	noRoom := errors.As(err, &no)
	s.opt.Log.Error("the store on flash cannot be used: records live in memory", "err", err)
	s.mu.Lock()
	s.restore(parcels)
	f := s.flash
	if !noRoom {
		s.flash = nil
		for _, p := range parcels {
			if last := p.st.last(); last != nil {
				last.closed = true // what the failed commit may have left behind it stays there, beyond its end
			}
		}
	}
	was := s.usable
	s.usable, s.trouble, s.cause = false, err.Error(), Evicted
	if noRoom && !no.readOnly || errors.Is(err, syscall.ENOSPC) {
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
		s.leave(f)
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
		if n, err := free(s.opt.Dir); err != nil || n < s.opt.Reserve+slack || s.room() != nil || !s.writable() {
			return
		}
		s.mu.Lock()
		s.usable, s.trouble, s.cause = true, "", Evicted
		s.mu.Unlock()
	} else {
		if now.Before(s.w.retryAt) {
			return
		}
		s.elsewhere()
		err := errLeaving
		if s.left(closeWait) {
			err = s.connect(now)
		}
		if err != nil {
			s.w.retryAt = now.Add(s.tune.retry)
			s.mu.Lock()
			s.trouble = err.Error()
			s.mu.Unlock()
			return
		}
	}
	s.opt.Log.Info("the store on flash is usable again")
	s.tell(&field.Event{Kind: "store", Text: "the store on flash is usable again"})
}
