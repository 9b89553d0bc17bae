package consumer

import "hash/fnv"

// key names a run of sequence numbers: they count within a gateway, a topic and an epoch.
type key struct {
	gateway, topic string // topic: "data" or "event"
	epoch          uint64
}

// stream is what came of one run of sequence numbers.
type stream struct {
	seen   spans
	prints map[uint64]*page // what each number stood for
	last   [2]uint64        // highest number that came live, and as backfill

	lost    spans // numbers among which records were declared lost
	counts  uint64
	skipped spans // numbers that were not used, or used in the last moments before an unclean stop

	unique, repeats, outOfOrder, backfilled int
}

// page holds the fingerprints of 4096 numbers; 0 for one that never came. At four bytes a record a run of days fits.
type page [4096]uint32

type arrival uint8

const (
	fresh   arrival = iota
	repeat          // it came before
	another         // its number came before, with something else
)

// arrive books a record by its number and its fingerprint.
func (s *stream) arrive(seq uint64, print uint32, backfill bool) arrival {
	p := s.prints[seq/uint64(len(page{}))]
	if p == nil {
		p = new(page)
		s.prints[seq/uint64(len(page{}))] = p
	}
	was := &p[seq%uint64(len(page{}))]
	switch *was {
	case 0:
	case print:
		s.repeats++
		return repeat
	default:
		s.repeats++
		return another
	}
	*was = print
	s.seen.add(Span{seq, seq})
	s.unique++
	lane := 0
	if backfill {
		lane = 1
		s.backfilled++
	}
	if seq < s.last[lane] {
		s.outOfOrder++
	}
	s.last[lane] = max(s.last[lane], seq)
	return fresh
}

// fingerprint is never 0.
func fingerprint(parts ...[]byte) uint32 {
	h := fnv.New32a()
	for _, p := range parts {
		h.Write(p)
		h.Write([]byte{0})
	}
	return h.Sum32() | 1
}

// gaps gives the numbers between the first (or from, where that is less) and the last that did not come: those that
// nobody explained, how many were explained, and how many of these by a loss alone.
func (s *stream) gaps(from uint64) (unexplained spans, explained, lost uint64) {
	if len(s.seen) == 0 {
		return nil, 0, 0
	}
	all := spans{{min(from, s.seen[0].From), s.seen[len(s.seen)-1].To}}
	missing := all.without(s.seen)
	notSkipped := missing.without(s.skipped)
	unexplained = notSkipped.without(s.lost)
	return unexplained, missing.len() - unexplained.len(), notSkipped.len() - unexplained.len()
}
