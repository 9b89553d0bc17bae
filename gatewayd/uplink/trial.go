package uplink

import (
	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// trial finds the record that a broker will not have: one over which it closes the connection, each time anew. It
// lasts over connections.
//
// A connection that the peer closes is a strike against the batch at the head of what was in flight. Three strikes in
// a row, and that batch's records leave alone, one at a time with nothing else in flight. A record over which the
// connection dies twice more is held back; the next record of its class that the broker does acknowledge proves that
// the fault is the record's, and only then it is given up. So neither a weak link nor a broker that refuses everything
// (no permission for a topic) costs a record.
type trial struct {
	head    recordKey // at the head when the peer last closed
	strikes int

	active bool
	class  field.Class
	upto   uint64 // last sequence number of the suspect batch
	killed map[uint64]int
	held   []*buffer.Batch // out, not published; of this session
}

const (
	strikesToSuspect = 3
	killsToHold      = 2
	maxHeld          = 8 // so many in a row are not records that differ from others: the broker refuses the class
)

type recordKey struct {
	class field.Class
	epoch uint32
	seq   uint64
}

func keyOf(b *buffer.Batch) recordKey {
	return recordKey{b.Class, b.Epoch, b.Records[0].Seq}
}

// sessionEnded takes the strike. head is the batch at the head of what was in flight, nil when there was none.
func (t *trial) sessionEnded(head *buffer.Batch, byPeer bool) {
	t.held = nil
	if head == nil || !byPeer {
		return
	}
	key := keyOf(head)
	if t.active {
		if key.class == t.class {
			t.killed[key.seq]++
		}
		return
	}
	if t.strikes == 0 || key != t.head {
		t.head, t.strikes = key, 0
	}
	t.strikes++
	if t.strikes >= strikesToSuspect {
		t.suspect(head)
	}
}

// suspect puts the batch on trial.
func (t *trial) suspect(b *buffer.Batch) {
	t.active = true
	t.class = b.Class
	t.upto = b.Records[len(b.Records)-1].Seq
	t.killed = make(map[uint64]int)
}

// hold says that the record has killed often enough: it stays out, unpublished. refused says that this is the one too
// many: the broker takes nothing of this class, and the records are not to blame.
func (t *trial) hold(b *buffer.Batch) (held, refused bool) {
	if !t.active || b.Class != t.class || t.killed[b.Records[0].Seq] < killsToHold {
		return false, false
	}
	t.held = append(t.held, b)
	if len(t.held) < maxHeld {
		return true, false
	}
	clear(t.killed)
	return true, true
}

// acked takes in that the broker has the batch, and gives back those that are proved guilty by it.
func (t *trial) acked(b *buffer.Batch) (guilty []*buffer.Batch) {
	if keyOf(b) == t.head {
		t.strikes = 0
	}
	if !t.active || b.Class != t.class {
		return nil
	}
	guilty, t.held = t.held, nil
	if last := b.Records[len(b.Records)-1].Seq; last >= t.upto {
		t.active, t.strikes = false, 0
	}
	return guilty
}
