package buffer

import (
	"math"
	"time"

	"edgegateway/adapters/field"
)

// ratio is how many bytes on flash a rough byte of records becomes. What was sealed lately counts most.
type ratio struct{ rough, packed float64 }

const (
	packedAtFirst = 0.15    // of plain readings by ten, before anything was sealed
	ratioWindow   = 1 << 20 // rough bytes over which the ratio is taken
	onDisk        = 1.15    // what the files take beyond the blocks in them: keys, tables, logs
)

func (r *ratio) add(packed float64) {
	if r.packed += packed; r.rough > ratioWindow {
		r.rough, r.packed = r.rough/2, r.packed/2
	}
}

func (r *ratio) value() float64 {
	if r.rough == 0 {
		return packedAtFirst
	}
	return r.packed / r.rough
}

// rateWindow is over how long the present rate is taken, about.
const rateWindow = 10 * time.Minute

// gauge brings the present rate up to date.
func (s *Store) gauge(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := now.Sub(s.w.gaugedAt).Seconds()
	first := s.w.gaugedAt.IsZero()
	if !first && passed > 0 {
		present := float64(s.poured-s.w.gauged) / passed
		if s.rate == 0 {
			s.rate = present
		}
		s.rate += (present - s.rate) * (1 - math.Exp(-passed/rateWindow.Seconds()))
	}
	s.w.gaugedAt, s.w.gauged = now, s.poured
}

// forecast tells how much comes in, as bytes on flash a second, and how long an outage that begins now would be held:
// until the oldest readings had to go, for want of space or for their age.
func (s *Store) forecast() (inflow float64, holds time.Duration) {
	inflow = s.rate * s.packed.value() * onDisk
	if inflow <= 0 || s.opt.Dir == "" {
		return inflow, 0
	}
	seconds := float64(max(0, s.opt.soft()-s.disk)) / inflow
	if keep := s.opt.keep(field.Readings); keep > 0 {
		seconds = min(seconds, keep.Seconds())
	}
	return inflow, time.Duration(min(seconds, math.MaxInt64/1e9)*1e9) / time.Second * time.Second
}
