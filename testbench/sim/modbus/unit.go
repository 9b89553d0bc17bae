package modbus

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Table is one of the four address spaces of a unit.
type Table uint8

// The tables, as functions 1, 2, 4 and 3 read them.
const (
	Coils Table = iota
	Discretes
	Inputs
	Holdings
)

var tableNames = [...]string{"coil", "discrete", "input", "holding"}

// String names the table as addresses do: "coil", "discrete", "input", "holding".
func (t Table) String() string { return tableNames[t] }

func (t Table) bits() bool { return t == Coils || t == Discretes }

// Write is what the witness saw of one write that the unit carried out.
type Write struct {
	At       time.Time
	Unit     byte // the unit that was written; a broadcast is seen once by each
	Function byte
	Table    Table
	Address  uint16
	Values   []uint16 // 0 or 1 for coils
}

// Counts are a unit's own figures since it was made.
type Counts struct {
	Requests   int          // that reached the unit, broadcasts too
	Answers    int          // that were handed to the wire, whatever was done to them on their way
	Exceptions int          // of those answers
	Registers  int          // read and answered, bits counted as one each
	Functions  map[byte]int // requests by function code
	Faults     map[Kind]int // faults that fell
}

// Unit is one slave. Every address of every table exists and holds 0, until Hole, Limit, Set or Generate say
// otherwise. Its methods may be called from any goroutine, also while it is served.
type Unit struct {
	id     byte
	server *Server
	faults faults

	mu         sync.Mutex
	set        map[cell]uint16
	holes      []span
	generators []generated
	maxRegs    int
	maxBits    int
	latency    time.Duration
	jitter     time.Duration
	reads      uint64
	rng        *rand.Rand
	counts     Counts
	writes     []Write
	identity   identity
}

type cell struct {
	table   Table
	address uint16
}

type span struct {
	table    Table
	from, to uint16
}

func (s span) has(c cell) bool { return s.table == c.table && s.from <= c.address && c.address <= s.to }

type generated struct {
	span
	f Generator
}

func newUnit(id byte, server *Server) *Unit {
	return &Unit{
		id: id, server: server,
		set:     map[cell]uint16{},
		maxRegs: 125, maxBits: 2000,
		rng:    rand.New(rand.NewPCG(server.seed, uint64(id))),
		counts: Counts{Functions: map[byte]int{}, Faults: map[Kind]int{}},
	}
}

// ID is the unit's address.
func (u *Unit) ID() byte { return u.id }

// Set puts values from the address on; of a bit table, what is not 0 is 1. It takes the place of a generator there.
func (u *Unit) Set(t Table, address uint16, values ...uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, v := range values {
		u.put(cell{t, address + uint16(i)}, v)
	}
}

func (u *Unit) put(c cell, v uint16) {
	if c.table.bits() && v != 0 {
		v = 1
	}
	u.set[c] = v
}

// Get is what a master would read at the address now. It counts as no read.
func (u *Unit) Get(t Table, address uint16) uint16 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.value(cell{t, address}, u.server.elapsed())
}

// Hole makes the addresses from…to, both included, not exist: whoever touches one gets exception 2.
func (u *Unit) Hole(t Table, from, to uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.holes = append(u.holes, span{t, from, to})
}

// Fill takes every hole of the table away again.
func (u *Unit) Fill(t Table) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.holes = slices.DeleteFunc(u.holes, func(s span) bool { return s.table == t })
}

// Limit makes the table end before the address n: n and everything above do not exist.
func (u *Unit) Limit(t Table, n uint16) { u.Hole(t, n, 0xFFFF) }

// Generate lets f give the values of the addresses from…to, both included, that were not Set. The latest generator of
// an address counts.
func (u *Unit) Generate(t Table, from, to uint16, f Generator) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.generators = append(u.generators, generated{span{t, from, to}, f})
}

// MaxRegisters bounds the registers of one request, 1…125; more get exception 3.
func (u *Unit) MaxRegisters(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.maxRegs = n
}

// MaxBits bounds the coils or discretes of one request, 1…2000; more get exception 3.
func (u *Unit) MaxBits(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.maxBits = n
}

// Latency makes the unit think for d, plus up to jitter, before each answer. Meanwhile the line or the connection is
// taken: what else was asked waits, as behind a serial server.
func (u *Unit) Latency(d, jitter time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.latency, u.jitter = d, jitter
}

// Inject switches a fault on, for this unit.
func (u *Unit) Inject(f Fault) { u.faults.inject(f) }

// Clear switches faults of these kinds off, for this unit; all of them when none is named.
func (u *Unit) Clear(kinds ...Kind) { u.faults.clear(kinds) }

// Writes is the witness: every write that was carried out, in order.
func (u *Unit) Writes() []Write {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.writes)
}

// Counts gives the unit's figures.
func (u *Unit) Counts() Counts {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.counts
	c.Functions, c.Faults = maps.Clone(c.Functions), maps.Clone(c.Faults)
	return c
}

func (u *Unit) exists(c cell) bool {
	return !slices.ContainsFunc(u.holes, func(s span) bool { return s.has(c) })
}

func (u *Unit) value(c cell, elapsed time.Duration) uint16 {
	if v, ok := u.set[c]; ok {
		return v
	}
	for _, g := range slices.Backward(u.generators) {
		if !g.has(c) {
			continue
		}
		v := g.f(Sample{Unit: u.id, Address: c.address, Count: u.reads, Elapsed: elapsed})
		if c.table.bits() && v != 0 {
			return 1
		}
		return v
	}
	return 0
}
