package nbd

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

const (
	block  = 4096 // what the cache keeps and loses
	sector = 512  // what a drive writes whole
)

// errNoPower answers every request after Cut.
var errNoPower = errors.New("the power is cut")

// Stats count what the guest did, and what a cut did to it.
type Stats struct {
	Reads, Writes, Flushes uint64
	WrittenBytes           uint64
	Lost, Kept, Torn       uint64 // unflushed blocks, at all cuts together
}

// Disk is a backing file with a volatile cache before it. Its methods may be called from any goroutine.
type Disk struct {
	mu    sync.Mutex
	file  *os.File
	size  int64
	cache map[int64][]byte // block number → its newest content, not yet on the file
	dead  bool
	stats Stats
}

// Open takes the file, whose size is a multiple of 4 KiB, as a disk. The disk owns it until Close.
func Open(path string) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Disk{file: f, size: info.Size() / block * block, cache: map[int64][]byte{}}, nil
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Stats gives the counts so far.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Close writes the cache out and closes the file, as a machine that was switched off in order leaves it.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if !d.dead {
		err = d.flush()
	}
	d.dead = true
	return errors.Join(err, d.file.Close())
}

// Cut takes the power away: each block that was not flushed is lost, kept or torn at a sector's edge, as seed says.
// Every request from now on fails, until Restore. Stop the guest before, so that it cannot see the disk fail and tell
// others of it.
func (d *Disk) Cut(seed uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	random := rand.New(rand.NewPCG(seed, seed))
	numbers := make([]int64, 0, len(d.cache))
	for n := range d.cache {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		data := d.cache[n]
		switch random.IntN(3) {
		case 0:
			d.stats.Lost++
			continue
		case 1:
			d.stats.Kept++
		case 2:
			d.stats.Torn++
			data = data[:sector*(1+random.IntN(block/sector-1))]
		}
		if _, err := d.file.WriteAt(data, n*block); err != nil {
			return err
		}
	}
	clear(d.cache)
	return nil
}

// Restore gives the power back.
func (d *Disk) Restore() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = false
}

func (d *Disk) readAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errNoPower
	}
	d.stats.Reads++
	if _, err := d.file.ReadAt(p, off); err != nil && err != io.EOF {
		return err
	}
	for n := off / block; n*block < off+int64(len(p)); n++ {
		if data, ok := d.cache[n]; ok {
			at := max(off, n*block)
			copy(p[at-off:], data[at-n*block:])
		}
	}
	return nil
}

func (d *Disk) writeAt(p []byte, off int64, through bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errNoPower
	}
	d.stats.Writes++
	d.stats.WrittenBytes += uint64(len(p))
	for len(p) > 0 {
		n, from := off/block, off%block
		take := min(int64(len(p)), block-from)
		data, ok := d.cache[n]
		if !ok {
			data = make([]byte, block)
			if take < block {
				if _, err := d.file.ReadAt(data, n*block); err != nil && err != io.EOF {
					return err
				}
			}
			d.cache[n] = data
		}
		copy(data[from:], p[:take])
		if through { // the whole block goes: a drive may write more than it must
			if _, err := d.file.WriteAt(data, n*block); err != nil {
				return err
			}
			delete(d.cache, n)
		}
		p, off = p[take:], off+take
	}
	return nil
}

// flush writes the cache to the file. The host does not lose power, so the file needs no sync of its own.
func (d *Disk) flush() error {
	for n, data := range d.cache {
		if _, err := d.file.WriteAt(data, n*block); err != nil {
			return err
		}
		delete(d.cache, n)
	}
	return nil
}

func (d *Disk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errNoPower
	}
	d.stats.Flushes++
	return d.flush()
}
