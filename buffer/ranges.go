package buffer

import "slices"

// span is a run of positions, from inclusive, to exclusive.
type span struct{ from, to uint64 }

// ranges is a set of positions: rising spans that neither overlap nor touch. Sets are small (what is in flight, what
// was acknowledged out of order), so a slice serves.
type ranges []span

// after gives the index of the first span that ends behind pos.
func (r ranges) after(pos uint64) int {
	i, _ := slices.BinarySearchFunc(r, pos, func(s span, p uint64) int {
		if s.to <= p {
			return -1
		}
		return 1
	})
	return i
}

func (r ranges) has(pos uint64) bool {
	i := r.after(pos)
	return i < len(r) && r[i].from <= pos
}

func (r ranges) count() uint64 {
	var n uint64
	for _, s := range r {
		n += s.to - s.from
	}
	return n
}

// within counts the positions of the set in [from, to).
func (r ranges) within(from, to uint64) uint64 {
	var n uint64
	for _, s := range r[r.after(from):] {
		if s.from >= to {
			break
		}
		n += min(s.to, to) - max(s.from, from)
	}
	return n
}

// add puts [from, to) in.
func (r *ranges) add(from, to uint64) {
	if from >= to {
		return
	}
	s := *r
	i := s.after(from)
	if i > 0 && s[i-1].to == from {
		i--
	}
	j := i
	for j < len(s) && s[j].from <= to {
		from, to = min(from, s[j].from), max(to, s[j].to)
		j++
	}
	*r = slices.Replace(s, i, j, span{from, to})
}

// remove takes [from, to) out.
func (r *ranges) remove(from, to uint64) {
	if from >= to {
		return
	}
	s := *r
	i := s.after(from)
	j := i
	var rest []span
	for j < len(s) && s[j].from < to {
		if s[j].from < from {
			rest = append(rest, span{s[j].from, from})
		}
		if s[j].to > to {
			rest = append(rest, span{to, s[j].to})
		}
		j++
	}
	*r = slices.Replace(s, i, j, rest...)
}

// below takes everything below pos out.
func (r *ranges) below(pos uint64) {
	if len(*r) > 0 && (*r)[0].from < pos {
		r.remove(0, pos)
	}
}
