package modbus

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Functions by which a unit says what it is and what it has queued (application protocol V1.1b3, 6.13, 6.18, 6.21).
const (
	reportServerID = 0x11
	maskWrite      = 0x16
	readQueue      = 0x18
	encapsulated   = 0x2B
	deviceID       = 0x0E
)

// identity is what a unit tells of itself; without it the functions are illegal.
type identity struct {
	objects map[byte]string
	server  []byte
	queues  map[uint16][]uint16
}

// Identify gives the unit objects of the device identification, function 43/14: 0 vendor, 1 product code, 2 revision,
// 3 to 6 the regular ones, from 128 on its own.
func (u *Unit) Identify(objects map[byte]string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.identity.objects = maps.Clone(objects)
}

// ServerID gives the unit an answer to function 17: id, run indicator, and whatever follows.
func (u *Unit) ServerID(data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.identity.server = slices.Clone(data)
}

// Queue puts registers into the queue at an address, function 24. More than 31 are refused when they are read.
func (u *Unit) Queue(address uint16, values ...uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.identity.queues == nil {
		u.identity.queues = map[uint16][]uint16{}
	}
	u.identity.queues[address] = values
}

// tell carries out the functions of this file. ok is false for any other.
func (u *Unit) tell(pdu []byte) (answer []byte, code byte, ok bool) {
	switch pdu[0] {
	case reportServerID:
		if u.identity.server == nil {
			return nil, illegalFunction, true
		}
		return append([]byte{reportServerID, byte(len(u.identity.server))}, u.identity.server...), 0, true
	case readQueue:
		answer, code = u.readQueue(pdu)
		return answer, code, true
	case encapsulated:
		answer, code = u.readIdentity(pdu)
		return answer, code, true
	case maskWrite:
		answer, code = u.maskWrite(pdu)
		return answer, code, true
	}
	return nil, 0, false
}

func (u *Unit) maskWrite(pdu []byte) ([]byte, byte) {
	if len(pdu) != 7 {
		return nil, illegalValue
	}
	word := func(at int) uint16 { return binary.BigEndian.Uint16(pdu[at:]) }
	c := cell{Holdings, word(1)}
	if !u.exists(c) {
		return nil, illegalAddress
	}
	now := u.value(c, u.server.elapsed())
	and, or := word(3), word(5)
	return slices.Clone(pdu), u.write(maskWrite, Holdings, c.address, []uint16{now&and | or&^and})
}

func (u *Unit) readQueue(pdu []byte) ([]byte, byte) {
	if len(pdu) != 3 {
		return nil, illegalValue
	}
	queue, ok := u.identity.queues[binary.BigEndian.Uint16(pdu[1:])]
	switch {
	case !ok:
		return nil, illegalAddress
	case len(queue) > 31:
		return nil, illegalValue
	}
	answer := []byte{readQueue}
	answer = binary.BigEndian.AppendUint16(answer, uint16(2+2*len(queue)))
	answer = binary.BigEndian.AppendUint16(answer, uint16(len(queue)))
	for _, v := range queue {
		answer = binary.BigEndian.AppendUint16(answer, v)
	}
	return answer, 0
}

func (u *Unit) readIdentity(pdu []byte) ([]byte, byte) {
	if len(pdu) != 4 || pdu[1] != deviceID || u.identity.objects == nil {
		return nil, illegalFunction
	}
	last := map[byte]byte{1: 0x02, 2: 0x7F, 3: 0xFF, 4: pdu[3]}
	end, known := last[pdu[2]]
	if !known {
		return nil, illegalValue
	}
	conformity := byte(0x81)
	var ids []byte
	for _, id := range slices.Sorted(maps.Keys(u.identity.objects)) {
		if id > 0x7F {
			conformity = 0x83
		} else if id > 2 {
			conformity = max(conformity, 0x82)
		}
		if id >= pdu[3] && id <= end {
			ids = append(ids, id)
		}
	}
	if _, there := u.identity.objects[pdu[3]]; !there {
		if pdu[2] == 4 {
			return nil, illegalAddress
		}
		ids = ids[:0] // an object that is not there means: from the beginning
		for _, id := range slices.Sorted(maps.Keys(u.identity.objects)) {
			if id <= end {
				ids = append(ids, id)
			}
		}
	}
	answer := []byte{encapsulated, deviceID, pdu[2], conformity, 0, 0, 0}
	for _, id := range ids {
		text := u.identity.objects[id]
		if len(answer)+2+len(text) > 253 {
			answer[4], answer[5] = 0xFF, id
			break
		}
		answer = append(answer, id, byte(len(text)))
		answer = append(answer, text...)
		answer[6]++
	}
	return answer, 0
}
