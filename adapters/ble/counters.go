package ble

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"edgegateway/adapters/ble/advert"
)

// Series is the encrypted messages of one device in one format, which the device numbers.
type Series struct {
	Device string // its name in the configuration
	Format string // of the messages, as `scan` names it
	// Seal tells series of one device and format apart: it is another one with another address, another key or another
	// word on counter_restarts, and the numbers begin anew with it.
	Seal string
}

// Counters keeps the number of the last message of each series, also while no Driver lives. Its methods are called from
// the goroutine of Listen, once or more for each encrypted message, and must not wait.
type Counters interface {
	// Last gives what was noted last; ok is false where nothing was.
	Last(Series) (n uint32, ok bool)
	// Note notes the number of a message that was believed.
	Note(s Series, n uint32)
}

// Remember makes the driver go on where the counters stand, and tell them how far it has come. It comes before Listen.
func (d *Driver) Remember(c Counters) { d.counters = c }

// seal names what the numbers of a station's messages belong to, and gives nothing of the key away.
func (s *Station) seal() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%x %x %t", s.mac, s.key, s.quirks.restarts))
	return hex.EncodeToString(sum[:8])
}

// resume has a station's new decoder go on where the counters stand.
func (s *Station) resume() {
	if s.driver.counters == nil {
		return
	}
	s.sealed = s.seal()
	for _, f := range advert.SealedFormats() {
		if n, ok := s.driver.counters.Last(Series{s.name, f.String(), s.sealed}); ok {
			s.decoder.Resume(f, n)
		}
	}
}

// note tells the counters how far a station has come in a format.
func (s *Station) note(f advert.Format) {
	if s.sealed == "" {
		return
	}
	if n, ok := s.decoder.Last(f); ok {
		s.driver.counters.Note(Series{s.name, f.String(), s.sealed}, n)
	}
}
