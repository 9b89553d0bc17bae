package modbus

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Server holds the units of one line, or of one TCP address. It may be served on several ports at once.
type Server struct {
	seed   uint64
	born   time.Time
	faults faults

	mu      sync.Mutex
	rng     *rand.Rand
	units   map[byte]*Unit
	absent  byte
	watch   func(Seen)
	early   int
	garbage int
}

// Seen is one request as the simulator understood it.
type Seen struct {
	At       time.Time // when its last byte was read
	Unit     byte
	Function byte
	Address  uint16 // 0 when the request is too short to have one
	Quantity uint16 // of registers or bits that it reads or writes
	Present  bool   // there is such a unit
}

// New makes a server with no units. What is left to chance is determined by the seed.
func New(seed uint64) *Server {
	return &Server{seed: seed, born: time.Now(), rng: rand.New(rand.NewPCG(seed, 1<<8)), units: map[byte]*Unit{}}
}

// Unit gives the unit with that address, which is made when there was none.
func (s *Server) Unit(id byte) *Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[id]
	if u == nil {
		u = newUnit(id, s)
		s.units[id] = u
	}
	return u
}

// Remove takes the unit off the line.
func (s *Server) Remove(id byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.units, id)
}

// Absent sets the exception that requests for units which are not there get, as a gateway gives it: 0x0A or 0x0B.
// With 0, as at first, they get no answer.
func (s *Server) Absent(code byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.absent = code
}

// Inject switches a fault on, for requests to any unit.
func (s *Server) Inject(f Fault) { s.faults.inject(f) }

// Clear switches faults of these kinds off again that were injected here; all of them when none is named.
func (s *Server) Clear(kinds ...Kind) { s.faults.clear(kinds) }

// Watch has f called with each request, before it is answered; nil ends that. f must not block.
func (s *Server) Watch(f func(Seen)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = f
}

// Early counts the requests on paced ports whose first byte came before the line had been silent for t3.5: faults of
// the master.
func (s *Server) Early() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.early
}

// Garbage counts the bytes that were part of no request.
func (s *Server) Garbage() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.garbage
}

func (s *Server) elapsed() time.Duration { return time.Since(s.born) }

func (s *Server) note(early bool, garbage int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if early {
		s.early++
	}
	s.garbage += garbage
}

// find gives the units that a request is for, and the exception for when there are none.
func (s *Server) find(r *request, everyone bool) (units []*Unit, absent byte) {
	s.mu.Lock()
	u, watch := s.units[r.unit], s.watch
	switch {
	case everyone:
		units = slices.Collect(maps.Values(s.units))
	case u != nil:
		units = []*Unit{u}
	}
	absent = s.absent
	s.mu.Unlock()
	if watch != nil {
		seen := Seen{At: time.Now(), Unit: r.unit, Function: r.pdu[0], Present: len(units) > 0}
		if len(r.pdu) >= 5 {
			seen.Address = binary.BigEndian.Uint16(r.pdu[1:])
			seen.Quantity = 1
			if r.pdu[0] != writeCoil && r.pdu[0] != writeRegister {
				seen.Quantity = binary.BigEndian.Uint16(r.pdu[3:])
			}
		}
		watch(seen)
	}
	return units, absent
}

// draw rolls the unit's dice: which faults fall on this request, those of the server first. The mishap has dice of its
// own, which the unit's determine.
func (u *Unit) draw() *mishap {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := &mishap{fallen: append(u.server.faults.fall(u.rng.Float64), u.faults.fall(u.rng.Float64)...)}
	if m.fallen != nil {
		m.rng = rand.New(rand.NewPCG(u.rng.Uint64(), u.rng.Uint64()))
	}
	for _, f := range m.fallen {
		u.counts.Faults[f.Kind]++
	}
	return m
}

// echoed says whether the line's echo falls on a request that no unit answers.
func (s *Server) echoed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.fall(s.rng.Float64, Echo) != nil
}

// think is how long the unit takes for its next answer.
func (u *Unit) think() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.latency
	if u.jitter > 0 {
		d += time.Duration(u.rng.Int64N(int64(u.jitter)))
	}
	return d
}

// refuse is the answer with an exception.
func refuse(function, code byte) []byte { return []byte{function | exceptionBit, code} }

// answered books an answer.
func (u *Unit) answered(pdu []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Answers++
	if pdu[0]&exceptionBit != 0 {
		u.counts.Exceptions++
	}
}

// serve carries a request out and gives the answer's PDU. A forced exception is answered instead of doing anything.
func (u *Unit) serve(pdu []byte, forced byte) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Requests++
	u.counts.Functions[pdu[0]]++
	if forced != 0 {
		return refuse(pdu[0], forced)
	}
	answer, code := u.carryOut(pdu)
	if code != 0 {
		return refuse(pdu[0], code)
	}
	return answer
}

func (u *Unit) carryOut(pdu []byte) (answer []byte, code byte) {
	word := func(at int) uint16 { return binary.BigEndian.Uint16(pdu[at:]) }
	function := pdu[0]
	switch function {
	case readCoils, readDiscretes, readHoldings, readInputs:
		if len(pdu) != 5 {
			return nil, illegalValue
		}
		return u.read(function, readTable(function), word(1), int(word(3)))

	case writeCoil, writeRegister:
		if len(pdu) != 5 {
			return nil, illegalValue
		}
		t, v := Holdings, word(3)
		if function == writeCoil {
			t = Coils
			if v != 0 && v != 0xFF00 {
				return nil, illegalValue
			}
		}
		return slices.Clone(pdu), u.write(function, t, word(1), []uint16{v})

	case writeCoils, writeRegisters:
		if len(pdu) < 6 || len(pdu) != 6+int(pdu[5]) {
			return nil, illegalValue
		}
		t, limit := Holdings, 123
		if function == writeCoils {
			t, limit = Coils, 1968
		}
		values := unpack(t, pdu[6:], int(word(3)))
		if values == nil || len(values) > limit {
			return nil, illegalValue
		}
		return slices.Clone(pdu[:5]), u.write(function, t, word(1), values)

	case readWriteRegs:
		if len(pdu) < 10 || len(pdu) != 10+int(pdu[9]) {
			return nil, illegalValue
		}
		values := unpack(Holdings, pdu[10:], int(word(7)))
		if values == nil || len(values) > 121 {
			return nil, illegalValue
		}
		// The write comes before the read (application protocol, 6.17), but nothing is written when the read is refused.
		if code := u.allowed(Holdings, word(1), int(word(3))); code != 0 {
			return nil, code
		}
		if code := u.write(function, Holdings, word(5), values); code != 0 {
			return nil, code
		}
		return u.read(function, Holdings, word(1), int(word(3)))
	}
	if answer, code, ok := u.tell(pdu); ok {
		return answer, code
	}
	return nil, illegalFunction
}

func readTable(function byte) Table {
	return [...]Table{readCoils: Coils, readDiscretes: Discretes, readHoldings: Holdings, readInputs: Inputs}[function]
}

// allowed checks a range as the specification's flow charts do: the quantity first, then the addresses.
func (u *Unit) allowed(t Table, address uint16, n int) (code byte) {
	limit := u.maxRegs
	if t.bits() {
		limit = u.maxBits
	}
	if n < 1 || n > limit {
		return illegalValue
	}
	if int(address)+n > 1<<16 {
		return illegalAddress
	}
	for i := range n {
		if !u.exists(cell{t, address + uint16(i)}) {
			return illegalAddress
		}
	}
	return 0
}

func (u *Unit) read(function byte, t Table, address uint16, n int) (answer []byte, code byte) {
	if code := u.allowed(t, address, n); code != 0 {
		return nil, code
	}
	elapsed := u.server.elapsed()
	values := make([]uint16, n)
	for i := range values {
		values[i] = u.value(cell{t, address + uint16(i)}, elapsed)
	}
	u.reads++
	u.counts.Registers += n
	data := pack(t, values)
	return append([]byte{function, byte(len(data))}, data...), 0
}

func (u *Unit) write(function byte, t Table, address uint16, values []uint16) (code byte) {
	if code := u.allowed(t, address, len(values)); code != 0 {
		return code
	}
	for i, v := range values {
		u.put(cell{t, address + uint16(i)}, v)
		if t.bits() && v != 0 {
			values[i] = 1
		}
	}
	u.writes = append(u.writes, Write{
		At: time.Now(), Unit: u.id, Function: function, Table: t, Address: address, Values: values,
	})
	return 0
}

// pack lays values out as they go on the wire: bits low first, registers high byte first.
func pack(t Table, values []uint16) []byte {
	if !t.bits() {
		var b []byte
		for _, v := range values {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	b := make([]byte, (len(values)+7)/8)
	for i, v := range values {
		b[i/8] |= byte(v) << (i % 8)
	}
	return b
}

// unpack is the inverse of pack; nil when the data has not the length that n values have, or n is 0.
func unpack(t Table, data []byte, n int) []uint16 {
	want := 2 * n
	if t.bits() {
		want = (n + 7) / 8
	}
	if n == 0 || len(data) != want {
		return nil
	}
	values := make([]uint16, n)
	for i := range values {
		if t.bits() {
			values[i] = uint16(data[i/8] >> (i % 8) & 1)
		} else {
			values[i] = binary.BigEndian.Uint16(data[2*i:])
		}
	}
	return values
}
