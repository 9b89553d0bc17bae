package clock

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"edgegateway/gatewayd/durable"
)

// tableFile keeps the boots; remembered bounds how many.
const (
	tableFile  = "boots.json"
	remembered = 32
)

// table is what is known of the boots of this box, oldest first.
type table struct {
	Boots []boot `json:"boots"`
}

type boot struct {
	Ordinal uint32 `json:"ordinal"`
	ID      string `json:"id"`               // the kernel's
	Offset  *int64 `json:"offset,omitempty"` // wall clock minus time since boot, in ms; nil when never synchronised
}

// offset is how far the wall clock of a boot was ahead of the time since that boot, in ms, if that is known.
func (t *table) offset(ordinal uint32) (ms int64, ok bool) {
	for _, b := range t.Boots {
		if b.Ordinal == ordinal && b.Offset != nil {
			return *b.Offset, true
		}
	}
	return 0, false
}

func (t *table) know(ordinal uint32, ms int64) {
	for i := range t.Boots {
		if t.Boots[i].Ordinal == ordinal {
			t.Boots[i].Offset = &ms
		}
	}
}

// enter gives the boot with the kernel's id its ordinal, the next one if it is new.
func (t *table) enter(id string) (ordinal uint32, isNew bool) {
	next := uint32(1)
	for _, b := range t.Boots {
		if b.ID == id {
			return b.Ordinal, false
		}
		next = max(next, b.Ordinal+1)
	}
	t.Boots = append(t.Boots, boot{Ordinal: next, ID: id})
	if n := len(t.Boots) - remembered; n > 0 {
		t.Boots = t.Boots[n:]
	}
	return next, true
}

// readTable reads a table. Where none was kept yet the first boot is 1. A damaged one is replaced by a table that
// begins at a random high ordinal: an ordinal that went before must never come again for another boot.
func readTable(path string) (t table, damaged error, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return table{}, nil, nil
	}
	if err != nil {
		return table{}, nil, err
	}
	if damaged = json.Unmarshal(data, &t); damaged == nil && len(t.Boots) == 0 {
		damaged = errors.New("it names no boot")
	}
	if damaged != nil {
		var b [4]byte
		rand.Read(b[:])
		t = table{Boots: []boot{{Ordinal: 1<<30 | binary.BigEndian.Uint32(b[:])>>2}}}
	}
	return t, damaged, nil
}

// write replaces the file in one step: a power cut leaves the old one or the new one.
func (t *table) write(path string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'), 0o600)
}

// keep gives this boot its ordinal, if it has none yet, and brings the table to disk. What hinders it is logged once.
func (c *Clock) keep() {
	err := c.tryKeep()
	c.kept = err == nil
	switch {
	case err != nil && err.Error() != c.said:
		c.said = err.Error()
		c.o.Log.Warn("the table of boots cannot be kept: times from before the clock is synchronised may not be put right",
			"error", err, "hint", "the state folder must be writable")
	case err == nil:
		c.said = ""
	}
}

func (c *Clock) tryKeep() error {
	path := filepath.Join(c.dir, tableFile)
	if c.boot.Load() != 0 {
		return c.table.write(path)
	}
	id, err := c.bootID()
	if err != nil {
		return err
	}
	t, damaged, err := readTable(path)
	if err != nil {
		return err
	}
	if damaged != nil {
		c.o.Log.Warn("the table of boots was damaged and is begun anew", "file", path, "error", damaged)
	}
	ordinal, isNew := t.enter(id)
	if c.believed.Load() {
		t.know(ordinal, c.offset.Milliseconds())
		isNew = true
	}
	if isNew {
		if err := t.write(path); err != nil {
			return fmt.Errorf("boot %s has no ordinal: %w", id, err)
		}
	}
	c.table = t
	c.boot.Store(ordinal)
	return nil
}
