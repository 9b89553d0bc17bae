package buffer

import (
	"fmt"
	"time"

	"edgegateway/adapters/field"
)

// thin reduces old readings to the next coarser step, before any is given up: the finest of Options.Thin first, and the
// oldest buckets first. It says whether that made room.
func (s *Store) thin() bool {
	st := s.streams[field.Readings]
	for _, step := range s.opt.Thin {
		for {
			s.mu.Lock()
			olds := s.neighbours(st, 2*s.tune.bucketBytes, func(b *bucket) bool { return b.step < step })
			s.mu.Unlock()
			if len(olds) == 0 {
				break
			}
			if s.rewrite(st, olds, step) {
				return true
			}
			if !s.ready() {
				return false
			}
			s.mu.Lock()
			for _, b := range olds {
				b.step = step // it would gain nothing
			}
			s.mu.Unlock()
		}
	}
	return false
}

// ready says that the store can be written to: what could not be rewritten before is not to be tried again.
func (s *Store) ready() bool {
	s.mu.Lock()
	usable := s.usable
	s.mu.Unlock()
	return usable && s.room() == nil
}

// joinBelow is how many bytes a block has on average in a bucket that is joined: such come of deadlines, where little
// is read.
const joinBelow = 2 << 10

// join puts small blocks together: what a block costs by itself is more than what a few readings take. It does one
// rewrite at most.
func (s *Store) join() {
	for _, st := range s.streams {
		s.mu.Lock()
		olds := s.neighbours(st, s.tune.bucketBytes, func(b *bucket) bool {
			return !b.rewritten && b.blocks >= s.tune.joinBlocks && uint64(b.bytes) < b.blocks*joinBelow
		})
		s.mu.Unlock()
		if len(olds) == 0 {
			continue
		}
		if !s.rewrite(st, olds, 0) && s.ready() {
			s.mu.Lock()
			for _, b := range olds {
				b.unfit = true
			}
			s.mu.Unlock()
		}
		return
	}
}

// shortly prints a step as people say it.
func shortly(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}
