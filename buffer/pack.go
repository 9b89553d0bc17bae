package buffer

import (
	"slices"

	"edgegateway/adapters/field"
)

// packer writes the new bucket of a rewrite.
type packer struct {
	s      *Store
	f      *flash
	st     *stream
	bucket *bucket
	served mask  // those that are still owed something of it
	step   int64 // ms; 0 when nothing is left out
	kept   []uint64
	carry  map[*field.Group]*carried

	header    header
	pos       uint64 // the next position
	records   []field.Record
	size      int
	out       []change
	committed bool // something of it is on flash
}

// carried is what a group's records in the window at hand said last of each point.
type carried struct {
	window int64
	record field.Record
}

// window is the step that a record falls into.
func (p *packer) window(r *field.Record) int64 { return floorDiv(r.At.Wall, p.step) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// choose finds the positions to be kept: the last record of each group in each step. What would leave out less than a
// fifth is not worth it.
func (p *packer) choose(olds []*bucket) error {
	if p.step == 0 {
		return nil
	}
	type last struct {
		window int64
		pos    uint64
	}
	lasts := map[*field.Group]last{}
	seen := 0
	err := p.s.eachBlock(p.f, p.st.class, olds, func(b *block) error {
		for i := range b.records {
			if b.owed[i]&p.served == 0 {
				continue
			}
			seen++
			g, w := b.records[i].Group, p.window(&b.records[i])
			if l, ok := lasts[g]; ok && l.window != w {
				p.kept = append(p.kept, l.pos)
			}
			lasts[g] = last{w, b.pos[i]}
		}
		return nil
	})
	for _, l := range lasts {
		p.kept = append(p.kept, l.pos)
	}
	slices.Sort(p.kept)
	if err == nil && len(p.kept)*5 > seen*4 {
		return errUnfit
	}
	return err
}

// pack takes the records of one old block.
func (p *packer) pack(b *block) error {
	for i := range b.records {
		owed := b.owed[i] & p.served
		if owed == 0 {
			continue
		}
		pos, r := b.pos[i], &b.records[i]
		if p.step > 0 {
			p.fill(r)
			if len(p.kept) == 0 || p.kept[0] != pos {
				continue
			}
			p.kept = p.kept[1:]
		}
		if err := p.add(pos, r, owed); err != nil {
			return err
		}
	}
	return nil
}

// fill gives points of which the record says nothing what was last said of them within its step, so that a record that
// stays speaks for those that go.
func (p *packer) fill(r *field.Record) {
	w := p.window(r)
	c := p.carry[r.Group]
	if c == nil {
		c = &carried{}
		p.carry[r.Group] = c
	} else if c.window == w && r.Quality != nil {
		for i, q := range r.Quality {
			if q == field.Absent {
				r.Values[i], r.Quality[i] = c.record.Values[i], c.record.QualityOf(i)
			}
		}
	}
	c.window, c.record = w, *r
}

// add puts a record into the block at hand; positions that were passed over are not in it.
func (p *packer) add(pos uint64, r *field.Record, owed mask) error {
	size := roughSize(r)
	if len(p.records) > 0 && p.size+size > blockBytes {
		if err := p.seal(); err != nil {
			return err
		}
	}
	if len(p.records) == 0 {
		p.header.epoch, p.header.shift = p.bucket.epoch, p.bucket.shift
		p.header.oldest, p.header.newest = r.At.Wall, r.At.Wall
	}
	p.header.oldest, p.header.newest = min(p.header.oldest, r.At.Wall), max(p.header.newest, r.At.Wall)
	p.header.unsure = p.header.unsure || r.At.Trust == field.Estimated
	p.header.note(pos-p.pos, 0)
	p.header.note(1, p.f.outward(owed))
	for i := range p.s.dests {
		if owed&(1<<i) != 0 {
			p.bucket.sealed[i]++
			p.bucket.owed[i]++
		}
	}
	p.pos = pos + 1
	p.records = append(p.records, *r)
	p.size += size
	return nil
}

// seal ends the block at hand, and commits when there is enough.
func (p *packer) seal() error {
	var news []*shape
	value, err := p.s.w.enc.Append(p.header.append(nil), p.records, func(g *field.Group) uint32 {
		id, sh := p.s.shapes.number(g)
		if sh != nil {
			news = append(news, sh)
		}
		return id
	})
	if err == nil {
		err = p.s.storeShapes(p.f, news)
	}
	if err != nil {
		return err
	}
	if len(p.out) > 0 && sizeOf(p.out)+len(value) > sealBytes {
		if err := p.commit(); err != nil {
			return err
		}
	}
	p.out = append(p.out, change{blockKey(p.st.class, p.bucket.id, p.pos), value})
	p.bucket.add(&p.header, len(value)+16)
	p.header = header{first: p.pos, rewritten: true}
	p.records, p.size = p.records[:0], 0
	return nil
}

// commit writes the blocks so far, and lets what somebody waits for go first.
func (p *packer) commit() error {
	for p.s.sealNow(awaited) {
	}
	if err := p.s.room(); err != nil {
		return err
	}
	p.s.mu.Lock()
	same := p.s.usable && p.s.flash == p.f
	p.s.mu.Unlock()
	if !same {
		return errNoFlash
	}
	p.committed = true
	if err := p.f.commit(p.out); err != nil {
		return err
	}
	p.s.wrote(p.out)
	p.out = nil
	return nil
}

// finish ends the last block at the position where the bucket ends.
func (p *packer) finish(end uint64) error {
	if len(p.records) == 0 {
		return errUnfit
	}
	p.header.note(end-p.pos, 0)
	p.pos = end
	if err := p.seal(); err != nil {
		return err
	}
	return p.commit()
}
