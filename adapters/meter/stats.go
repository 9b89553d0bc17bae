package meter

import (
	"sync/atomic"
	"time"

	"edgegateway/adapters/field"
)

// Stats is what a device has been through since it was bound, as it is counted: by the line's loop, for any reader.
type Stats struct {
	requests, answers, refusals, timeouts, garbage, late atomic.Uint64
	average                                              atomic.Int64
}

// Counts may be called from any goroutine.
func (s *Stats) Counts() field.Counts {
	return field.Counts{
		Requests: s.requests.Load(), Answers: s.answers.Load() - s.refusals.Load(), Exceptions: s.refusals.Load(),
		Timeouts: s.timeouts.Load(), Garbage: s.garbage.Load(), Late: s.late.Load(), Turnaround: s.Turnaround(),
	}
}

// Refused notes that the answer which came last refused what was asked.
func (s *Stats) Refused() { s.refusals.Add(1) }

// Turnaround is the moving average of the time to an answer, its wire time apart, the silence before the request included;
// 0 before the first one.
func (s *Stats) Turnaround() time.Duration { return time.Duration(s.average.Load()) }

// Pause is what one request takes beyond its wire time: what was measured, the silence before it included, or until
// something was, the usual turnaround and the line's silence.
func (s *Stats) Pause(usual, silence time.Duration) time.Duration {
	if t := s.Turnaround(); t > 0 {
		return t
	}
	return usual + silence
}

// turned folds one measurement into the average, of which it is an eighth.
func (s *Stats) turned(d time.Duration) {
	d = max(d, 1)
	old := s.average.Load()
	if old == 0 {
		s.average.Store(int64(d))
		return
	}
	s.average.Store(old + (int64(d)-old)/8)
}
