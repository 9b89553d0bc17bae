package modbus

import (
	"sync/atomic"
	"time"

	"edgegateway/adapters/field"
)

// Stats is what a station has been through since it was bound.
type Stats struct {
	field.Counts
	Refused int // points that are not asked for any more, because the device refused them
}

// stats are Stats as they are counted: by the line's loop, for any reader.
type stats struct {
	requests, answers, exceptions, timeouts, garbage, late atomic.Uint64
	average                                                atomic.Int64
	refused                                                atomic.Int64
}

// turned folds one measurement into the average, of which it is an eighth.
func (s *stats) turned(d time.Duration) {
	old := s.average.Load()
	if old == 0 {
		s.average.Store(int64(d))
		return
	}
	s.average.Store(old + (int64(d)-old)/8)
}

func (s *stats) turnaround() time.Duration { return time.Duration(s.average.Load()) }

// Stats may be called from any goroutine.
func (s *Station) Stats() Stats { return Stats{s.Counts(), int(s.stats.refused.Load())} }

// Counts implements field.Counter.
func (s *Station) Counts() field.Counts {
	return field.Counts{
		Requests:   s.stats.requests.Load(),
		Answers:    s.stats.answers.Load(),
		Exceptions: s.stats.exceptions.Load(),
		Timeouts:   s.stats.timeouts.Load(),
		Garbage:    s.stats.garbage.Load(),
		Late:       s.stats.late.Load(),
		Turnaround: s.stats.turnaround(),
	}
}
