package consumer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Books are the sum of what came. Data and events are booked apart in Streams, and together above.
type Books struct {
	Messages int
	Bytes    int64 // of payloads
	FirstAt  time.Time
	LastAt   time.Time

	Unique     int // records of data and events
	Repeats    int // that came before, and were dropped
	OutOfOrder int // below one that came before it in the same lane: live, or backfill
	Backfilled int // of Unique

	Readings int // good values in the records of data
	Marked   int // tags without a value, in the records of data

	Gaps        []Gap  // that no event explains
	Unexplained uint64 // numbers in them
	Explained   uint64 // numbers that did not come, and that a loss or a skip covers
	Declared    uint64 // records that loss events declared lost

	Replies         int
	RepliesRepeated int

	Streams      []Stream // by gateway, topic and epoch
	Problems     []string // what breaks the contract; the first hundred
	ProblemCount int
}

// Stream is one run of sequence numbers.
type Stream struct {
	Gateway     string
	Topic       string // "data", "event"
	Epoch       uint64
	First, Last uint64 // numbers that came
	Unique      int
	Repeats     int
	OutOfOrder  int
	Backfilled  int
	Unexplained uint64
	Explained   uint64
	Declared    uint64
}

// Gap is a run of numbers that never came and that nobody explained.
type Gap struct {
	Gateway, Topic string
	Epoch          uint64
	Span
}

func (g Gap) String() string {
	return fmt.Sprintf("%s %s epoch %d: %d to %d", g.Gateway, g.Topic, g.Epoch, g.From, g.To)
}

// Books gives the figures so far. A gap may still be filled, or explained, by what comes later.
func (r *Recorder) Books() Books {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.books
	b.Problems = slices.Clone(b.Problems)
	order := func(x, y key) int {
		return cmp.Or(cmp.Compare(x.gateway, y.gateway), cmp.Compare(x.topic, y.topic), cmp.Compare(x.epoch, y.epoch))
	}
	for _, k := range slices.SortedFunc(maps.Keys(r.streams), order) {
		s := r.streams[k]
		from := ^uint64(0)
		if r.options.FromStart {
			from = 1
		}
		gaps, explained, lost := s.gaps(from)
		for _, g := range gaps {
			b.Gaps = append(b.Gaps, Gap{k.gateway, k.topic, k.epoch, g})
		}
		if lost > s.counts {
			b.ProblemCount++
			b.Problems = append(b.Problems, fmt.Sprintf("%s %s epoch %d: %d records are lost, and %d were declared",
				k.gateway, k.topic, k.epoch, lost, s.counts))
		}
		t := Stream{
			Gateway: k.gateway, Topic: k.topic, Epoch: k.epoch,
			Unique: s.unique, Repeats: s.repeats, OutOfOrder: s.outOfOrder, Backfilled: s.backfilled,
			Unexplained: gaps.len(), Explained: explained, Declared: s.counts,
		}
		if len(s.seen) > 0 {
			t.First, t.Last = s.seen[0].From, s.seen[len(s.seen)-1].To
		}
		b.Streams = append(b.Streams, t)
		b.Unique += t.Unique
		b.Repeats += t.Repeats
		b.OutOfOrder += t.OutOfOrder
		b.Backfilled += t.Backfilled
		b.Unexplained += t.Unexplained
		b.Explained += t.Explained
		b.Declared += t.Declared
	}
	return b
}

// Check is nil when nothing broke the contract: no gap without an explanation, order kept, every payload as it must
// be. Else it says what.
func (b Books) Check() error {
	var all []error
	for i, g := range b.Gaps {
		if i == 10 {
			all = append(all, fmt.Errorf("and %d gaps more", len(b.Gaps)-i))
			break
		}
		all = append(all, fmt.Errorf("a gap without an explanation: %v", g))
	}
	if b.OutOfOrder > 0 {
		all = append(all, fmt.Errorf("%d records out of order", b.OutOfOrder))
	}
	for _, p := range b.Problems {
		all = append(all, errors.New(p))
	}
	if more := b.ProblemCount - len(b.Problems); more > 0 {
		all = append(all, fmt.Errorf("and %d problems more", more))
	}
	return errors.Join(all...)
}

// Stream gives the figures of one gateway's topic ("data", "event") in its latest epoch; the zero Stream when nothing
// came.
func (b Books) Stream(gateway, topic string) (s Stream) {
	for _, t := range b.Streams { // by epoch
		if t.Gateway == gateway && t.Topic == topic {
			s = t
		}
	}
	return s
}
