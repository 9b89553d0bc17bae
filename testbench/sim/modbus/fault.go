package modbus

import (
	"slices"
	"sync"
	"time"
)

// Kind is what goes wrong with an answer.
type Kind uint8

// The faults. Those of a connection (HalfOpen, Close, Reset) are Silent on a serial port; those of TCP alone do
// nothing on RTU, as noted.
const (
	Silent           Kind = iota // no answer
	Late                         // the answer comes Delay later, and holds up nobody: also after the master gave up
	Split                        // the answer comes in 2 to 4 pieces with pauses of Delay (0 means 5 ms)
	NoiseBefore                  // 1 to 8 stray bytes (or Bytes) before the answer
	NoiseBetween                 // the same within the answer, which destroys it
	NoiseAfter                   // the same after the answer
	Echo                         // the request itself comes back first, as from a two-wire adapter
	Foreign                      // a valid answer of the same shape, from another unit (TCP: another transaction) comes first
	Exception                    // exception Code (0 means 4, device failure) instead of the answer; nothing is written
	ExceptionSplit               // the same, without its last byte, which comes Delay (0 means 20 ms) later
	Short                        // the answer is one register (two bytes) shorter than asked, with good lengths and CRC
	Long                         // the answer is one register (two bytes) longer than asked, with good lengths and CRC
	BadCRC                       // the CRC is wrong (TCP: the protocol identifier is not 0)
	WrongTransaction             // TCP: the answer carries another transaction id
	HalfOpen                     // TCP: from now on this connection stays open, and is never served again
	Close                        // TCP: the connection is closed instead of an answer
	Reset                        // TCP: the connection is reset instead of an answer
	kinds
)

var kindNames = [kinds]string{"silent", "late", "split", "noise-before", "noise-between", "noise-after", "echo", "foreign",
	"exception", "exception-split", "short", "long", "bad-crc", "wrong-transaction", "half-open", "close", "reset"}

// String names the kind in lower case with hyphens: "noise-before".
func (k Kind) String() string { return kindNames[k] }

// ParseKind finds the kind of that name.
func ParseKind(name string) (Kind, bool) {
	i := slices.Index(kindNames[:], name)
	return Kind(max(i, 0)), i >= 0
}

// Fault is one thing that goes wrong, how often, and how.
type Fault struct {
	Kind   Kind
	Chance float64       // of each request, 0…1; 0 means 1: always
	Skip   int           // this many requests are left alone first
	Count  int           // how often it falls in all; 0 means without end
	Delay  time.Duration // of Late, Split and ExceptionSplit
	Code   byte          // of Exception and ExceptionSplit
	Bytes  []byte        // of the noises; nil means random ones
}

// faults is what is switched on. Where several fall on one request, all of them do what they can.
type faults struct {
	mu   sync.Mutex
	list []*Fault
}

func (f *faults) inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, &fault)
}

func (f *faults) clear(kinds []Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(g *Fault) bool {
		return len(kinds) == 0 || slices.Contains(kinds, g.Kind)
	})
}

// fall says which faults fall on the next request, only those of the kinds where any are named. roll gives the unit's
// own luck in [0,1), so that it does not depend on what other units are asked.
func (f *faults) fall(roll func() float64, kinds ...Kind) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fallen []Fault
	spent := func(g *Fault) bool {
		if len(kinds) > 0 && !slices.Contains(kinds, g.Kind) {
			return false
		}
		if g.Skip > 0 {
			g.Skip--
			return false
		}
		if g.Chance > 0 && g.Chance < 1 && roll() >= g.Chance {
			return false
		}
		fallen = append(fallen, *g)
		if g.Count == 0 {
			return false
		}
		g.Count--
		return g.Count == 0
	}
	f.list = slices.DeleteFunc(f.list, spent)
	return fallen
}
