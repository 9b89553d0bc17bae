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
// connection dies twice more is held back until the broker acknowledges another of its class. Then the broker takes
// what we say, and the record leaves once more: if the connection dies over it again, the fault is the record's, and
// only then it is given up. So neither a weak link nor a broker that refuses everything (no permission for a topic, a
// store that is full), now or for a while, costs a record.
type trial struct {
	head    recordKey // at the head when the peer last closed
	strikes int

	active   bool
	class    field.Class
	upto     uint64             // last sequence number of the suspect batch
	suspects map[uint64]suspect // by sequence number
	held     []uint64           // out, not published; of this session
}

// suspect is a record over which connections died.
type suspect struct {
	kills int
	last  bool // the broker has taken another since: the next kill proves it guilty
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
			who := t.suspects[key.seq]
			who.kills++
			t.suspects[key.seq] = who
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
	t.suspects = make(map[uint64]suspect)
}

// judgement is what becomes of a record that is about to leave.
type judgement uint8

const (
	leaves   judgement = iota
	isHeld             // it has killed often enough: it stays out, unpublished
	isTheEnd           // so does it, and it is one too many: the broker takes nothing of this class, and no record is to blame
	isGuilty           // it is given up
)

func (t *trial) judge(b *buffer.Batch) judgement {
	seq := b.Records[0].Seq
	who := t.suspects[seq]
	switch {
	case !t.active || b.Class != t.class || who.kills < killsToHold || who.last && who.kills == killsToHold:
		return leaves
	case who.last:
		delete(t.suspects, seq)
		return isGuilty
	}
	t.held = append(t.held, seq)
	if len(t.held) < maxHeld {
		return isHeld
	}
	clear(t.suspects)
	return isTheEnd
}

// acked takes in that the broker has the batch. again says that it is time for the records that were held back: they are
// to be offered again.
func (t *trial) acked(b *buffer.Batch) (again bool) {
	if keyOf(b) == t.head {
		t.strikes = 0
	}
	if !t.active || b.Class != t.class {
		return false
	}
	delete(t.suspects, b.Records[0].Seq)
	if len(t.held) > 0 {
		for _, seq := range t.held {
			t.suspects[seq] = suspect{t.suspects[seq].kills, true}
		}
		t.held = nil
		return true
	}
	if b.Records[len(b.Records)-1].Seq >= t.upto {
		t.active, t.strikes = false, 0
	}
	return false
}
