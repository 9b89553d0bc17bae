package buffer

import (
	"time"

	"edgegateway/adapters/field"
)

// mask is a set of destinations, one bit each, in the order of Options.Destinations.
type mask uint32

// state is where an entry stands.
type state uint8

const (
	waiting state = iota // in the head
	sealing              // in the head, and part of the transaction that is being committed
	sealed               // in a block
	gone                 // nobody is owed it any more
)

// entry is one record that was taken and is not yet forgotten.
type entry struct {
	rec    field.Record
	pos    uint64    // its place in the class's order; see stream
	epoch  uint32    // of its sequence number; 0 until it has one
	owed   mask      // who lacks it
	out    mask      // who has it in flight
	asked  mask      // owed when its sealing began
	state  state     // guarded, like all of it, by Store.mu
	size   int       // of the record, as Batch.Bytes counts
	taken  time.Time // monotonic
	ticket *ticket   // who waits for it to be durable; nil when nobody
}

// weight is about what the entry takes in memory.
func (e *entry) weight() int64 { return int64(200 + 2*e.size) }

// roughSize is about what a record takes on the wire, in bytes; its encoding in a block is never larger.
func roughSize(r *field.Record) int {
	n := 64 + len(r.Reply) + 16*len(r.Values)
	for _, v := range r.Values {
		n += len(v.AsText())
	}
	if r.Event != nil {
		n += len(r.Event.Kind) + len(r.Event.Subject) + len(r.Event.Text)
		for _, m := range r.Event.More {
			n += 24 + len(m.Name) + len(m.Value.AsText())
		}
	}
	return n
}

// head holds the entries of one class that are not in blocks, in order and without a hole: what is forgotten in the
// middle stays as an entry that is gone until everything before it has left.
type head struct {
	entries []*entry
	base    uint64 // position of entries[0], or of the next record when there is none
	named   uint64 // position of the first entry that has no sequence number yet
}

func (h *head) next() uint64           { return h.base + uint64(len(h.entries)) }
func (h *head) at(pos uint64) *entry   { return h.entries[pos-h.base] }
func (h *head) from(pos uint64) uint64 { return max(pos, h.base) }

// trim lets go of what has left at the front.
func (h *head) trim() {
	n := 0
	for n < len(h.entries) && (h.entries[n].state == gone || h.entries[n].state == sealed) {
		h.entries[n] = nil
		n++
	}
	h.entries = h.entries[n:]
	h.base += uint64(n)
	h.named = max(h.named, h.base)
	if len(h.entries) == 0 {
		h.entries = nil
	}
}

// oldest gives the first entry that the ring may give up.
func (h *head) oldest() *entry {
	for _, e := range h.entries {
		if e.state == waiting {
			return e
		}
	}
	return nil
}

// shift moves every position up, so that the head follows blocks that were found later than its records were taken.
func (h *head) shift(by uint64) {
	for _, e := range h.entries {
		e.pos += by
	}
	h.base += by
	h.named += by
}

// stream is all that the store holds of one class. Positions count the class's records in the order in which they
// were taken, for the life of the store on flash; they order the house, never leave it, and never go back.
//
//	blocks in buckets: … [ chain ) … head: [ base … named … next )
type stream struct {
	class   field.Class
	head    head
	lease   lease
	chain   uint64    // end of the last block: the next one begins here, so a block that is missing shows as a hole
	relist  bool      // a bucket is about to be freed, and what stands on flash still lists it
	buckets []*bucket // oldest first; the last may still grow
	fresh   [2]mark   // what was sealed only just now; see recent
}

// mark is where the chain ended at some moment.
type mark struct {
	at  time.Time
	pos uint64
}

// sealedTo notes that the chain moved.
func (st *stream) sealedTo(pos uint64, now time.Time) {
	if now.Sub(st.fresh[1].at) > freshFor {
		st.fresh[0] = st.fresh[1]
		st.fresh[1] = mark{at: now, pos: st.chain}
	}
	st.chain = pos
}

// freshFor is how long a block counts as just sealed when readings are durable first: what leaves within it left at
// once, as far as "backfill" goes.
const freshFor = 5 * time.Second

// recent says that the record at pos was sealed not longer than about twice freshFor ago.
func (st *stream) recent(pos uint64, now time.Time) bool {
	for _, m := range st.fresh {
		if !m.at.IsZero() && now.Sub(m.at) < 2*freshFor && pos >= m.pos {
			return true
		}
	}
	return false
}
