package buffer

import (
	"encoding/binary"
	"sync"

	"edgegateway/adapters/field"
)

// block is one block as it was read: its records, with their positions and those who are owed them.
type block struct {
	class      field.Class
	bucket     uint32
	first, end uint64
	records    []field.Record
	pos        []uint64
	owed       []mask
	damaged    bool // some or all of it could not be read
}

// lay fills positions and destinations from a header's runs.
func (b *block) lay(runs []run) {
	pos := b.first
	for _, r := range runs {
		if r.owed != 0 {
			for i := range r.count {
				b.pos = append(b.pos, pos+i)
				b.owed = append(b.owed, r.owed)
			}
		}
		pos += r.count
	}
}

// unpack reads a stored block. What is damaged comes back as a block without records that spans from expected to end.
func (f *flash) unpack(c field.Class, bucket uint32, expected, end uint64, stored []byte) *block {
	bad := &block{class: c, bucket: bucket, first: min(expected, end), end: end, damaged: true}
	h, payload, err := readHeader(stored)
	if err != nil || h.end() != end {
		return bad
	}
	bad.first = h.first
	f.decoded.Add(1)
	records, err := f.dec.Decode(payload, f.shapes.group)
	if err != nil {
		return bad
	}
	var count uint64
	for i := range h.runs {
		if r := &h.runs[i]; r.owed != 0 {
			count += r.count
			r.owed = f.inward(r.owed) | present
		}
	}
	if count != uint64(len(records)) {
		return bad
	}
	b := &block{class: c, bucket: bucket, first: h.first, end: end, records: records, pos: make([]uint64, 0, count), owed: make([]mask, 0, count)}
	b.lay(h.runs)
	return b
}

// read gives blocks of a bucket, beginning with the one that holds from, until they hold about as many records for
// the destination as are asked for. None means that the bucket has no block there.
func (f *flash) read(c field.Class, k *bucket, from uint64, to mask, maxRecords, maxBytes int) ([]*block, error) {
	var blocks []*block
	at, records, bytes := from, 0, 0
	enough := func(b *block) bool {
		blocks = append(blocks, b)
		at = b.end
		for i, owed := range b.owed {
			if owed&to != 0 && b.pos[i] >= from {
				records++
				bytes += roughSize(&b.records[i])
			}
		}
		return records >= maxRecords || bytes >= maxBytes || at >= k.end || len(blocks) >= maxBlocksRead
	}
	for at < k.end {
		b := f.cache.holding(c, k.id, at)
		if b == nil {
			break
		}
		if enough(b) {
			return blocks, nil
		}
	}
	if at >= k.end {
		return blocks, nil
	}
	prefix := bucketKey(c, k.id)
	err := f.each(prefix, blockKey(c, k.id, at+1), func(key []byte, value func() ([]byte, error)) (bool, error) {
		end := binary.BigEndian.Uint64(key[len(prefix):])
		if end > k.end {
			return false, nil // its summary, or what a commit that failed left behind
		}
		b := f.cache.holding(c, k.id, end-1)
		if b == nil {
			stored, err := value()
			if err != nil {
				b = &block{class: c, bucket: k.id, first: at, end: end, damaged: true}
			} else {
				b = f.unpack(c, k.id, at, end, stored)
			}
			if !b.damaged {
				f.cache.put(b)
			}
		}
		return !enough(b), nil
	})
	return blocks, err
}

// maxBlocksRead bounds the memory of one read where few records of each block are wanted.
const maxBlocksRead = 64

// present marks, in the destinations of a run that was read, that its records stand in the block also when none of
// those who were owed them is served any more.
const present mask = 1 << 31

// blockCache keeps the blocks that were sealed or read last, so that destinations which are near each other share
// the decoding.
type blockCache struct {
	mu     sync.Mutex
	blocks [8]*block
	next   int
}

func (c *blockCache) put(b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks[c.next] = b
	c.next = (c.next + 1) % len(c.blocks)
}

func (c *blockCache) holding(class field.Class, bucket uint32, pos uint64) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.blocks {
		if b != nil && b.class == class && b.bucket == bucket && b.first <= pos && pos < b.end {
			return b
		}
	}
	return nil
}

func (c *blockCache) drop(class field.Class, bucket uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range c.blocks {
		if b != nil && b.class == class && b.bucket == bucket {
			c.blocks[i] = nil
		}
	}
}
