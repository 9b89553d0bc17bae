package buffer

import (
	"context"
	"encoding/binary"
	"path/filepath"

	"edgegateway/adapters/field"
)

// stretch is a run of positions that buckets cover without a gap, all of one epoch. Every commit writes the stretches
// of its classes that are owed to somebody, so that what a damaged store no longer shows (a bucket, or an end of one) is
// missed when it is opened.
type stretch struct {
	first, end uint64
	epoch      uint32
	shift      uint64
}

// maxStretches bounds what a commit carries. There is one stretch, mostly; the youngest are left out beyond it.
const maxStretches = 64

// stretches lists those of a class, as they will be when the parcels are committed.
func (st *stream) stretches(parcels []*parcel) []stretch {
	var list []stretch
	add := func(s stretch) {
		if n := len(list); n > 0 && list[n-1].end == s.first && list[n-1].epoch == s.epoch && list[n-1].shift == s.shift {
			list[n-1].end = s.end
		} else if n < maxStretches {
			list = append(list, s)
		}
	}
	for _, b := range st.buckets {
		if !b.closing && b.owed != (tally{}) {
			add(stretch{b.first, b.end, b.epoch, b.shift})
		}
	}
	for _, p := range parcels {
		if p.st == st {
			add(stretch{p.header.first, p.end, p.header.epoch, p.header.shift})
		}
	}
	return list
}

// streamChange is what is committed of a class whose blocks end at a position.
func (s *Store) streamChange(st *stream, chain uint64, parcels []*parcel) change {
	b := binary.AppendUvarint(nil, uint64(s.w.nextBucket[st.class]))
	b = binary.AppendUvarint(b, chain)
	list := st.stretches(parcels)
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, l := range list {
		for _, v := range []uint64{l.first, l.end, uint64(l.epoch), l.shift} {
			b = binary.AppendUvarint(b, v)
		}
	}
	return change{streamKey(st.class), note(ofStream, b)}
}

// streamChanges gives those of all classes that parcels are of.
func (s *Store) streamChanges(parcels []*parcel) (changes []change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range parcels {
		if i == len(parcels)-1 || parcels[i+1].st != p.st {
			changes = append(changes, s.streamChange(p.st, p.end, parcels))
		}
	}
	return changes
}

// readStream reads what streamChange wrote; zeros when it cannot be read.
func readStream(b []byte) (next uint32, chain uint64, list []stretch) {
	r := numbers{b: noteOf(ofStream, b)}
	next, chain = uint32(r.next()), r.next()
	for n := r.next(); n > 0 && !r.bad; n-- {
		list = append(list, stretch{r.next(), r.next(), uint32(r.next()), r.next()})
	}
	if r.bad {
		return 0, 0, nil
	}
	return next, chain, list
}

// uncovered gives the parts of stretches that no bucket covers. Buckets are in the order of their positions.
func uncovered(list []stretch, buckets []*bucket) (gone []stretch) {
	for _, l := range list {
		for _, b := range buckets {
			if b.end <= l.first || b.first >= l.end {
				continue
			}
			if b.first > l.first {
				gone = append(gone, stretch{l.first, b.first, l.epoch, l.shift})
			}
			l.first = b.end
		}
		if l.first < l.end {
			gone = append(gone, l)
		}
	}
	return gone
}

// makeGood takes back what the store on flash has lost and can still be read, and declares the rest lost. before is
// what the folder said of it; same says that this still holds for the epoch.
func (s *Store) makeGood(before *identity, same bool) {
	saved := tallies{}
	s.takeBack(filepath.Join(s.opt.Dir, orphanFolder), saved, true)
	for _, gone := range s.w.gone {
		if len(gone) > 0 {
			s.takeBack(filepath.Join(s.opt.Dir, flashFolder), saved, false)
			break
		}
	}
	for c, gone := range s.w.gone {
		for _, g := range gone {
			s.miss(s.streams[c], g, saved[partKey{field.Class(c), g.epoch}])
		}
		s.w.gone[c] = nil
	}
	if same {
		s.regret(before, s.w.chains, saved)
	}
}

// miss declares lost what a stretch held that is gone, for those who had not yet come behind it.
func (s *Store) miss(st *stream, g stretch, saved ranges) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to, low := mask(0), g.end
	for i, d := range s.dests {
		if t := &d.tracks[st.class]; t.low < g.end {
			to |= 1 << i
			low = min(low, t.low)
		}
	}
	from, end := max(g.first, low)+g.shift, g.end+g.shift
	if to == 0 || from >= end {
		return
	}
	n := end - from
	n -= min(n, saved.within(from, end))
	s.lose(st, to, g.epoch, from, end, n, saved, "a part of the store on flash was damaged")
}

// takeBack takes back what stands in a folder and is nowhere in the store, within the time that opening it may take.
func (s *Store) takeBack(folder string, saved tallies, remove bool) {
	ctx, cancel := context.WithTimeout(context.Background(), recoverFor)
	defer cancel()
	s.adoptFrom(ctx, folder, saved, remove)
}
