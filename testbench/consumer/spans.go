package consumer

import "slices"

// Span is a run of sequence numbers, both ends included.
type Span struct{ From, To uint64 }

// Len is how many numbers it holds.
func (s Span) Len() uint64 { return s.To - s.From + 1 }

// spans is a set of numbers: sorted, disjoint, never touching.
type spans []Span

// add puts a number or a run of them in.
func (s *spans) add(x Span) {
	// Most numbers follow the last one.
	if n := len(*s); n > 0 && x.From == (*s)[n-1].To+1 {
		(*s)[n-1].To = x.To
		return
	}
	first, _ := slices.BinarySearchFunc(*s, x, func(have, x Span) int {
		if have.To+1 < x.From {
			return -1
		}
		return 1
	})
	last := first
	for last < len(*s) && (*s)[last].From <= x.To+1 {
		x.From, x.To = min(x.From, (*s)[last].From), max(x.To, (*s)[last].To)
		last++
	}
	*s = slices.Replace(*s, first, last, x)
}

// without gives what is in s and not in t.
func (s spans) without(t spans) (rest spans) {
	for _, x := range s {
		open := true
		for _, y := range t {
			if y.To < x.From || y.From > x.To {
				continue
			}
			if y.From > x.From {
				rest = append(rest, Span{x.From, y.From - 1})
			}
			if y.To >= x.To {
				open = false
				break
			}
			x.From = y.To + 1
		}
		if open {
			rest = append(rest, x)
		}
	}
	return rest
}

// len is how many numbers are in the set.
func (s spans) len() (n uint64) {
	for _, x := range s {
		n += x.Len()
	}
	return n
}
