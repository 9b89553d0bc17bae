package modbus

import (
	"math"
	"time"
)

// Sample is what a Generator makes a register's value of. All registers of one request see the same Count and
// Elapsed, so that a value of several registers is never torn.
type Sample struct {
	Unit    byte
	Address uint16
	Count   uint64        // read requests that the unit has answered before this one
	Elapsed time.Duration // since the server was made
}

// Generator gives a register's value, or, not 0 for 1, a bit's. It must depend on nothing but the sample.
type Generator func(Sample) uint16

// Proof is a value that belongs to one unit and one address alone, so that a checker sees when an answer was taken for
// that of another request. It never changes.
func Proof(s Sample) uint16 { return ProofOf(s.Unit, s.Address) }

// ProofOf is the value that Proof gives at that unit and address.
func ProofOf(unit byte, address uint16) uint16 {
	x := uint32(unit)<<16 | uint32(address)
	x *= 0x9E3779B1
	x ^= x >> 15
	x *= 0x85EBCA77
	return uint16(x ^ x>>16)
}

// ProofCount makes 32-bit values at even addresses, high word first: the high word is ProofOf(unit, even address), the
// low word counts the unit's reads, so that a checker sees old answers too.
func ProofCount(s Sample) uint16 {
	if s.Address%2 == 0 {
		return ProofOf(s.Unit, s.Address)
	}
	return uint16(s.Count)
}

// CheckProofCount says whether v can be what ProofCount gave at the unit's even address, and when: the count of reads
// before it, modulo 65536.
func CheckProofCount(unit byte, address uint16, v uint32) (count uint16, ok bool) {
	return uint16(v), uint16(v>>16) == ProofOf(unit, address)
}

// Count gives the low 16 bits of the unit's count of reads.
func Count(s Sample) uint16 { return uint16(s.Count) }

// Wave makes float32 values at even addresses, high word first (ABCD), that swing smoothly as measured values do:
// base ± amplitude once a period, each address at a phase of its own, with a ripple of 2 % on top.
func Wave(base, amplitude float64, period time.Duration) Generator {
	return func(s Sample) uint16 {
		hi, lo := Float32(float32(wave(s, s.Address&^1, base, amplitude, period)))
		if s.Address%2 == 0 {
			return hi
		}
		return lo
	}
}

// Wave16 is Wave for one register, int16.
func Wave16(base, amplitude float64, period time.Duration) Generator {
	return func(s Sample) uint16 {
		return uint16(int16(math.Round(wave(s, s.Address, base, amplitude, period))))
	}
}

func wave(s Sample, address uint16, base, amplitude float64, period time.Duration) float64 {
	phase := float64(ProofOf(s.Unit, address)) / 65536
	turn := s.Elapsed.Seconds()/period.Seconds() + phase
	return base + amplitude*(math.Sin(2*math.Pi*turn)+0.02*math.Sin(2*math.Pi*turn*37))
}

// Energy makes uint32 counters at even addresses, high word first, that rise by perSecond, each from a start of its
// own.
func Energy(perSecond float64) Generator {
	return func(s Sample) uint16 {
		v := uint32(ProofOf(s.Unit, s.Address&^1))*100 + uint32(perSecond*s.Elapsed.Seconds())
		if s.Address%2 == 0 {
			return uint16(v >> 16)
		}
		return uint16(v)
	}
}

// Square gives 1 and 0 in turn, each for half a period, each address at a phase of its own.
func Square(period time.Duration) Generator {
	return func(s Sample) uint16 {
		phase := float64(ProofOf(s.Unit, s.Address)) / 65536
		_, turn := math.Modf(s.Elapsed.Seconds()/period.Seconds() + phase)
		if turn < 0.5 {
			return 1
		}
		return 0
	}
}

// Float32 gives the two registers of v, high word first (ABCD).
func Float32(v float32) (hi, lo uint16) {
	b := math.Float32bits(v)
	return uint16(b >> 16), uint16(b)
}
