package buffer

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"edgegateway/adapters/field"
)

// meta is what stands under metaKey.
type meta struct {
	V            int              `json:"v"`
	Epoch        uint32           `json:"epoch"`
	Destinations map[string]uint8 `json:"destinations"` // name → persistent number
}

// get reads one key; nil when it is not there.
func (f *flash) get(key []byte) (value []byte, err error) {
	err = f.view(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			value, err = item.ValueCopy(nil)
		}
		return err
	})
	return value, err
}

// meta reads it; a zero version says that the store is new.
func (f *flash) meta() (meta, error) {
	m := meta{Destinations: map[string]uint8{}}
	b, err := f.get(metaKey)
	if err != nil || b == nil {
		return m, err
	}
	if err := json.Unmarshal(noteOf(ofMeta, b), &m); err != nil || m.V != 1 {
		return m, fmt.Errorf("the store is of an unknown form (version %d): %w", m.V, err)
	}
	return m, nil
}

func (m meta) change() change {
	m.V = 1
	b, err := json.Marshal(m)
	if err != nil {
		panic("buffer: the store's meta data cannot be encoded: " + err.Error()) // strings and numbers alone
	}
	return change{metaKey, note(ofMeta, b)}
}

// assign gives every name its persistent number, new ones the lowest that is free. It returns the names that are
// stored but not served any more.
func (m *meta) assign(names []string) (ids []uint8, known []bool, former []string) {
	served := map[string]bool{}
	taken := mask(0)
	for _, id := range m.Destinations {
		taken |= 1 << id
	}
	for _, name := range names {
		id, ok := m.Destinations[name]
		if !ok {
			for taken&(1<<id) != 0 {
				id++
			}
			taken |= 1 << id
			m.Destinations[name] = id
		}
		served[name] = true
		ids, known = append(ids, id), append(known, ok)
	}
	for name := range m.Destinations {
		if !served[name] {
			former = append(former, name)
		}
	}
	return ids, known, former
}

// loadShapes fills the dictionary.
func (f *flash) loadShapes() error {
	f.shapes.forgetStored()
	return f.each([]byte{'d'}, []byte{'d'}, func(key []byte, value func() ([]byte, error)) (bool, error) {
		b, err := value()
		if err == nil && len(key) == 5 {
			err = f.shapes.load(binary.BigEndian.Uint32(key[1:]), b)
		}
		// A shape that cannot be read costs the blocks that need it, and they say so themselves.
		return err == nil || errors.Is(err, field.ErrBlock), nil
	})
}

// contents is what a store holds, as far as opening it must know.
type contents struct {
	streams [len(field.Classes)]struct {
		buckets []*bucket
		gone    []stretch // what should be there and is not
		chain   uint64
		next    uint32   // the last bucket's number
		dead    []uint32 // buckets that rewriting left behind
	}
	tracks []*[len(field.Classes)]track // in the order of flash.ids
	ledger []Loss
	told   uint64
}

// load reads what the store holds. ids, and fresh for those that are new and owed nothing yet, stand in f.
func (f *flash) load(known []bool) (*contents, error) {
	x := &contents{}
	for i, id := range f.ids {
		ts := &[len(field.Classes)]track{}
		for c := range ts {
			b, err := f.get(cursorKey(id, field.Class(c)))
			if err != nil {
				return nil, err
			}
			ts[c].low = math.MaxUint64 // of a new one; see below
			if known[i] {
				// A cursor that is not there or damaged costs repeats.
				ts[c].low, ts[c].moved = 1, true
				if b != nil && ts[c].parseNote(b) == nil {
					ts[c].moved = false
				}
			}
		}
		x.tracks = append(x.tracks, ts)
	}
	for c := range x.streams {
		if err := f.loadStream(x, field.Class(c)); err != nil {
			return nil, err
		}
	}
	err := f.each([]byte{'l'}, []byte{'l'}, func(key []byte, value func() ([]byte, error)) (bool, error) {
		b, err := value()
		if err != nil || len(key) != 9 {
			return true, nil // one entry of the ledger less
		}
		var l Loss
		if json.Unmarshal(b, &l) == nil {
			x.ledger = append(x.ledger, l)
		}
		x.told = binary.BigEndian.Uint64(key[1:]) + 1
		return true, nil
	})
	return x, err
}

func (f *flash) loadStream(x *contents, c field.Class) error {
	st := &x.streams[c]
	st.chain = 1
	b, err := f.get(streamKey(c))
	if err != nil {
		return err
	}
	var list []stretch
	st.next, st.chain, list = readStream(b)
	st.chain = max(st.chain, 1)
	ids, err := f.buckets(c)
	if err != nil {
		return err
	}
	for _, id := range ids {
		st.next = max(st.next, id)
	}
	alive, dead, err := f.survey(c, ids)
	if err != nil {
		return err
	}
	st.dead = dead
	end := uint64(0)
	for _, id := range alive {
		k, err := f.loadBucket(x, c, id, end)
		if err != nil {
			return err
		}
		end = k.end
		st.buckets = append(st.buckets, k)
	}
	if end <= st.chain { // else the list is older than the blocks
		st.gone = uncovered(list, st.buckets)
	}
	st.chain = max(st.chain, end)
	for _, ts := range x.tracks {
		if t := &ts[c]; t.low != math.MaxUint64 {
			st.chain = max(st.chain, t.low)
		}
	}
	for i := range x.tracks {
		t := &x.tracks[i][c]
		if t.low == math.MaxUint64 {
			t.low, t.moved = st.chain, true
		}
		t.read = t.low
	}
	return nil
}

// survey puts buckets in the order of their positions: one that took the place of others has a higher number than its
// neighbours. dead are those that a rewrite replaced and could not drop any more, or began and did not finish.
func (f *flash) survey(c field.Class, ids []uint32) (alive, dead []uint32, err error) {
	first := map[uint32]uint64{}
	for _, id := range ids {
		stored, err := f.get(blockKey(c, id, summaryEnd))
		if err != nil {
			return nil, nil, err
		}
		// A summary that is damaged leaves a rewritten bucket and those that it replaced: the newer counts for nothing.
		if k, err := readSummary(stored, f.index); err == nil {
			first[id] = k.first
			dead = append(dead, k.replaces...)
			continue
		}
		prefix := bucketKey(c, id)
		err = f.each(prefix, prefix, func(key []byte, value func() ([]byte, error)) (bool, error) {
			first[id] = binary.BigEndian.Uint64(key[len(prefix):])
			b, err := value()
			if err != nil {
				return false, nil // whoever reads the block will say so
			}
			if h, _, err := readHeader(b); err == nil {
				first[id] = h.first
				if h.rewritten {
					dead = append(dead, id)
				}
			}
			return false, nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	alive = slices.DeleteFunc(ids, func(id uint32) bool { return slices.Contains(dead, id) })
	slices.SortStableFunc(alive, func(a, b uint32) int { return cmp.Compare(first[a], first[b]) })
	return alive, dead, nil
}

// buckets lists the buckets of a class, by jumping from one to the next.
func (f *flash) buckets(c field.Class) ([]uint32, error) {
	var ids []uint32
	prefix := bucketKey(c, 0)[:2]
	err := f.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = prefix
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(prefix); it.ValidForPrefix(prefix); {
			key := it.Item().Key()
			if len(key) < 6 {
				it.Next()
				continue
			}
			id := binary.BigEndian.Uint32(key[2:])
			ids = append(ids, id)
			if id == math.MaxUint32 {
				break
			}
			it.Seek(bucketKey(c, id+1))
		}
		return nil
	})
	return ids, err
}

// loadBucket makes a bucket from its summary, or, where none is or somebody has come half way through it, from the
// headers of its blocks. Positions below from belong to the bucket before it.
func (f *flash) loadBucket(x *contents, c field.Class, id uint32, from uint64) (*bucket, error) {
	var step time.Duration
	var rewritten bool
	if stored, err := f.get(blockKey(c, id, summaryEnd)); err == nil && stored != nil {
		k, err := readSummary(stored, f.index)
		if err == nil {
			step, rewritten = k.step, len(k.replaces) > 0
		}
		if err == nil && k.first >= from && !k.half(x.tracks, c) {
			k.id, k.replaces, k.rewritten = id, nil, rewritten
			for i, ts := range x.tracks {
				if ts[c].low <= k.first {
					k.owed[i] = k.sealed[i]
				}
			}
			return k, nil
		}
	}
	k, err := f.scan(x, c, id, from)
	if k != nil {
		k.step, k.rewritten = step, rewritten
	}
	return k, err
}

// half says that some track stands inside the bucket.
func (b *bucket) half(tracks []*[len(field.Classes)]track, c field.Class) bool {
	for _, ts := range tracks {
		t := &ts[c]
		if t.low > b.first && t.low < b.end || t.settled.within(b.first, b.end) > 0 {
			return true
		}
	}
	return false
}

// scan makes a bucket from the headers of its blocks. Where one is missing or unreadable its whole span counts as
// owed: reading it will find the truth, and declare it.
func (f *flash) scan(x *contents, c field.Class, id uint32, from uint64) (*bucket, error) {
	k := &bucket{id: id, first: from, end: from}
	at := from
	count := func(a, b uint64, owed mask) {
		for i, ts := range x.tracks {
			t := &ts[c]
			if owed&(1<<i) == 0 || b <= t.low {
				continue
			}
			lo := max(a, t.low)
			k.sealed[i] += b - lo
			k.owed[i] += b - lo - t.settled.within(lo, b)
		}
	}
	prefix := bucketKey(c, id)
	err := f.each(prefix, prefix, func(key []byte, value func() ([]byte, error)) (bool, error) {
		if len(key) != len(prefix)+8 {
			return true, nil
		}
		end := binary.BigEndian.Uint64(key[len(prefix):])
		if end == summaryEnd || end <= at {
			return true, nil
		}
		stored, err := value()
		var h header
		if err == nil {
			h, _, err = readHeader(stored)
		}
		if err != nil || h.end() != end {
			count(at, end, ^mask(0))
			k.bytes += int64(len(stored))
			at = end
			return true, nil
		}
		if k.blocks == 0 {
			k.epoch, k.shift = h.epoch, h.shift
			if at < h.first && k.bytes == 0 {
				k.first, at = h.first, h.first
			}
		}
		count(at, max(h.first, at), ^mask(0))
		pos := h.first
		for _, r := range h.runs {
			count(max(pos, at), max(pos+r.count, at), f.inward(r.owed))
			pos += r.count
		}
		k.add(&h, len(stored))
		at = end
		return true, nil
	})
	k.end = max(at, k.first)
	return k, err
}
