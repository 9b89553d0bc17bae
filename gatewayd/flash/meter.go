package flash

import (
	"context"
	"sync"
	"time"
)

const (
	every = 10 * time.Minute // between two samples
	kept  = 24 * time.Hour   // over which a day's writes are counted
)

// Meter counts what is written in a day: by this process, and by the whole box to the device under a folder.
type Meter struct {
	dir, sysfs string
	own        func() int64

	mu      sync.Mutex
	samples []sample // one each ten minutes of the last day, the oldest first
}

type sample struct {
	at          time.Time // monotonic
	own, device int64
}

// Report is what a Meter knows. Rates are bytes a day, over the last day or, until one has passed, since the start.
type Report struct {
	Wear
	Own       int64   // bytes that this process caused to be written since its start
	OwnDay    float64 // the same, a day
	DeviceDay float64 // by the whole box, a day; 0 when the device is not known
}

// NewMeter makes a meter for the device under dir.
func NewMeter(dir string) *Meter {
	m := &Meter{dir: dir, sysfs: "/sys", own: Own}
	m.take(time.Now())
	return m
}

// Run takes samples until ctx ends; it returns nil.
func (m *Meter) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			m.take(now)
		}
	}
}

func (m *Meter) take(now time.Time) (Wear, sample) {
	w, _ := Look(m.dir, m.sysfs) // a folder that is not there is on no device
	s := sample{now, m.own(), w.Written}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.samples); n == 0 || now.Sub(m.samples[n-1].at) >= every/2 {
		m.samples = append(m.samples, s)
	}
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= kept {
		m.samples = m.samples[1:]
	}
	return w, s
}

// Report tells what is known now.
func (m *Meter) Report() Report {
	w, s := m.take(time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Report{Wear: w, Own: s.own}
	first := m.samples[0]
	if passed := s.at.Sub(first.at); passed > 0 {
		day := (24 * time.Hour).Seconds() / passed.Seconds()
		r.OwnDay = float64(s.own-first.own) * day
		if w.Device != "" {
			r.DeviceDay = float64(max(0, s.device-first.device)) * day
		}
	}
	return r
}
