package meter

import (
	"sync/atomic"
	"time"
)

// Stats is what a device has been through since it was bound, as it is counted: by the line's loop, for any reader.
type Stats struct {
	requests, answers, timeouts, garbage, late atomic.Uint64
	average                                    atomic.Int64
}

// Counts are the numbers of a Stats.
type Counts struct {
	Requests   uint64        // sent, probes and writes included
	Answers    uint64        // that came, refusals included
	Timeouts   uint64        // requests to which nothing came
	Garbage    uint64        // requests to which only something came that was no answer
	Late       uint64        // answers that came after their request was given up
	Turnaround time.Duration // moving average of the time to an answer, its wire time apart
}

// Counts may be called from any goroutine.
func (s *Stats) Counts() Counts {
	return Counts{
		Requests: s.requests.Load(), Answers: s.answers.Load(), Timeouts: s.timeouts.Load(),
		Garbage: s.garbage.Load(), Late: s.late.Load(), Turnaround: s.Turnaround(),
	}
}

// Turnaround is the moving average of the time to an answer; 0 before the first one.
func (s *Stats) Turnaround() time.Duration { return time.Duration(s.average.Load()) }

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
