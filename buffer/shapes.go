package buffer

import (
	"encoding/binary"
	"fmt"
	"sync"

	"edgegateway/adapters/field"
)

// shapes is the dictionary of group shapes: equal shapes are one pointer, and each that stands in a block has a number.
type shapes struct {
	mu      sync.Mutex
	byKey   map[string]*shape // by what field.AppendGroup gives
	byGroup map[*field.Group]*shape
	byID    map[uint32]*shape
	nextID  uint32
}

// shape is one entry of the dictionary.
type shape struct {
	key    string
	group  *field.Group
	id     uint32 // 0 until a block needs it
	stored bool   // in the store that is open
}

func newShapes() *shapes {
	return &shapes{byKey: map[string]*shape{}, byGroup: map[*field.Group]*shape{}, byID: map[uint32]*shape{}, nextID: 1}
}

// maxPointers bounds how many pointers of callers are remembered; beyond it they are looked up by content again.
const maxPointers = 4096

// intern gives the one pointer for a shape, and the bytes that it takes in the dictionary.
func (d *shapes) intern(g *field.Group) (*field.Group, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sh := d.find(g)
	return sh.group, len(sh.key)
}

func (d *shapes) find(g *field.Group) *shape {
	if sh, ok := d.byGroup[g]; ok {
		return sh
	}
	key := string(field.AppendGroup(nil, g))
	sh, ok := d.byKey[key]
	if !ok {
		sh = &shape{key: key, group: g}
		d.byKey[key] = sh
	}
	if len(d.byGroup) >= maxPointers {
		clear(d.byGroup)
	}
	d.byGroup[g] = sh
	return sh
}

// number gives a shape's number, and the shape itself when it still has to be stored.
func (d *shapes) number(g *field.Group) (uint32, *shape) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sh := d.find(g)
	if sh.id == 0 {
		sh.id = d.nextID
		d.nextID++
		d.byID[sh.id] = sh
	}
	if sh.stored {
		return sh.id, nil
	}
	return sh.id, sh
}

// markStored notes that a shape is in a transaction. When that fails the store is opened anew, and so is this.
func (d *shapes) markStored(sh *shape) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sh.stored = true
}

// group gives the shape with a number; nil when there is none.
func (d *shapes) group(id uint32) *field.Group {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sh, ok := d.byID[id]; ok {
		return sh.group
	}
	return nil
}

// note is the shape as it is stored.
func (sh *shape) note() []byte {
	return note(ofShape, binary.BigEndian.AppendUint32(nil, sh.id), []byte(sh.key))
}

// load takes a stored shape in.
func (d *shapes) load(id uint32, stored []byte) error {
	if stored = noteOf(ofShape, stored); len(stored) < 4 {
		return fmt.Errorf("shape %d: %w", id, field.ErrBlock)
	}
	stored = stored[4:]
	g, err := field.DecodeGroup(stored)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sh, ok := d.byKey[string(stored)]
	if !ok {
		sh = &shape{key: string(stored), group: g}
		d.byKey[sh.key] = sh
	}
	if sh.id == 0 {
		sh.id = id
	}
	sh.stored = true
	d.byID[id] = sh
	d.nextID = max(d.nextID, id+1)
	return nil
}

// forgetStored says that a new store is open, in which no shape stands yet.
func (d *shapes) forgetStored() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, sh := range d.byID {
		sh.stored = false
	}
}
