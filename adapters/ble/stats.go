package ble

import (
	"errors"
	"sync"
	"time"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
)

// Stats is how a radio is. Counters count from New.
type Stats struct {
	Adapter   string // "hci0"
	Address   string // of the adapter; "" while it is not there
	Mode      string // "passive", "active" (discovery), or "off"
	Trouble   string // why it is off, or what was found wrong last; "" for nothing
	Listening bool
	Heard     time.Time // when anybody was, a stranger or not; zero for never

	Adverts   uint64 // signals that were an advertisement, of strangers too
	Repeats   uint64 // messages of our devices that were told before
	Strangers int    // devices on the air that are not ours, now
	Forgotten uint64 // strangers that were forgotten for want of room
	Dropped   uint64 // advertisements that came faster than they could be taken
	Odd       uint64 // objects and values of another shape than BlueZ documents
	Truncated uint64 // messages refused, by cause
	Unknown   uint64
	Key       uint64
	Replayed  uint64
	Plain     uint64 // not encrypted, of devices with a key

	Scans, Cycles, Restarts uint64 // steps of recovery: the scan, the adapter, bluetoothd
	Connects, Failures      uint64 // connections made, and not
	Devices                 []DeviceStats
}

// DeviceStats is how the radio sees one device.
type DeviceStats struct {
	Name, Address string
	Format        string      // of its last message; "" before
	RSSI          int16       // dBm, of the last advertisement; 0 for not known
	LastSeen      time.Time   // zero for never
	Battery       field.Value // %, as the device told it last; null for not known
	Adverts       uint64
	Repeats       uint64
	Refused       uint64
	Refusal       string // why the last one was
	Connected     bool
}

// stats is what Stats is made from.
type stats struct {
	mu sync.Mutex
	s  Stats
}

func (s *stats) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.s)
}

func (s *stats) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s.Trouble == "" {
		return "nothing was heard of it yet"
	}
	return s.s.Trouble
}

// refuse counts a message by the cause for which it was refused.
func (s *stats) refuse(err error) {
	s.count(func(s *Stats) {
		switch {
		case errors.Is(err, advert.ErrTruncated):
			s.Truncated++
		case errors.Is(err, advert.ErrKey):
			s.Key++
		case errors.Is(err, advert.ErrReplay):
			s.Replayed++
		case errors.Is(err, errPlain):
			s.Plain++
		default:
			s.Unknown++
		}
	})
}

// Stats tells how the radio is.
func (d *Driver) Stats() Stats {
	d.stats.mu.Lock()
	s := d.stats.s
	d.stats.mu.Unlock()
	s.Adapter = d.o.Adapter
	if s.Mode == "" {
		s.Mode = modeOff
	}
	for _, st := range d.all() {
		st.mu.Lock()
		book := st.book
		st.mu.Unlock()
		book.Name, book.Address = st.name, st.address
		s.Repeats += book.Repeats
		s.Devices = append(s.Devices, book)
	}
	return s
}

// The modes of Stats.
const (
	modeOff     = "off"
	modePassive = "passive"
	modeActive  = "active"
)
