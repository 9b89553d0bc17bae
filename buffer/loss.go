package buffer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
)

// Loss is one entry of the ledger: records that were given up.
type Loss struct {
	At          int64  `json:"t"`                     // when it was declared, Unix milliseconds
	Destination string `json:"destination,omitempty"` // "" for every destination
	Class       string `json:"class"`                 // "readings", "events", "replies"
	Cause       Cause  `json:"cause"`
	Epoch       uint32 `json:"epoch"`
	From        uint64 `json:"from_seq"` // the sequence numbers among which they are, both ends included
	To          uint64 `json:"to_seq"`
	Count       uint64 `json:"count"` // records
	Text        string `json:"text,omitempty"`
}

// loss is a Loss that is not yet declared: neighbours join before an event tells of them.
type loss struct {
	to          mask
	class       field.Class
	why         Cause
	epoch       uint32
	first, last uint64
	count       uint64
	text        string
	former      string // name of a destination that is served no more; to is empty then
}

// declare notes a loss that the books already hold; the writer tells of it.
func (s *Store) declare(l loss) {
	for i := range s.losses {
		o := &s.losses[i]
		same := o.former == l.former && o.class == l.class && o.why == l.why && o.epoch == l.epoch && o.text == l.text
		switch {
		case same && o.to == l.to && i == len(s.losses)-1 && (l.first > o.last || l.first == 0 && o.last == 0):
			o.last, o.count = l.last, o.count+l.count
			return
		case same && o.to&l.to == 0 && o.first == l.first && o.last == l.last && o.count == l.count:
			o.to |= l.to
			return
		}
	}
	if len(s.losses) == 0 {
		s.lossSince = time.Now()
	}
	s.losses = append(s.losses, l)
}

// lossGather is how long losses join before an event tells of them.
const lossGather = time.Second

// tellLosses turns what was declared into events and ledger entries.
func (s *Store) tellLosses(now time.Time) {
	losses := s.losses
	s.losses = nil
	at := s.opt.Now()
	for _, l := range losses {
		for _, name := range s.names(l) {
			entry := Loss{At: at.Wall, Destination: name, Class: l.class.String(), Cause: l.why, Epoch: l.epoch,
				From: l.first, To: l.last, Count: l.count, Text: l.text}
			s.ledger = append(s.ledger, entry)
			s.unwritten++
			s.opt.Log.Warn("records lost", "class", entry.Class, "cause", entry.Cause.String(), "destination", name,
				"epoch", l.epoch, "from_seq", l.first, "to_seq", l.last, "count", l.count, "why", l.text)
			s.take(field.Record{At: at, Event: s.lossEvent(l, name)}, now, nil)
		}
	}
	if n := len(s.ledger) - maxLedger; n > 0 {
		s.ledger = slices.Delete(s.ledger, 0, n)
		s.unwritten = min(s.unwritten, maxLedger)
	}
}

// untold says that an event which tells of a loss is still to be made, or neither on flash nor in what is committed now.
func (s *Store) untold() bool {
	return len(s.losses) > 0 || slices.ContainsFunc(s.streams[field.Events].head.entries, func(e *entry) bool {
		return e.state == waiting && e.rec.Event != nil && e.rec.Event.Kind == "loss"
	})
}

// maxLedger bounds the ledger; the oldest entries leave it first.
const maxLedger = 500

// names gives those whom a loss hit by name: a single "" for everybody.
func (s *Store) names(l loss) []string {
	switch {
	case l.former != "":
		return []string{l.former}
	case l.to == s.everybody():
		return []string{""}
	}
	var out []string
	for i, d := range s.dests {
		if l.to&(1<<i) != 0 {
			out = append(out, d.name)
		}
	}
	return out
}

// topics are the contract's words for the classes' streams.
var topics = [...]string{field.Replies: "reply", field.Events: "event", field.Readings: "data"}

func (s *Store) lossEvent(l loss, destination string) *field.Event {
	var text strings.Builder
	fmt.Fprintf(&text, "%d %s lost: %s", l.count, l.class, strings.ReplaceAll(l.why.String(), "_", " "))
	if destination != "" {
		fmt.Fprintf(&text, ", for %s only", destination)
	}
	if l.text != "" {
		fmt.Fprintf(&text, " (%s)", l.text)
	}
	ev := &field.Event{Kind: "loss", Subject: topics[l.class], Text: text.String(), More: []field.Member{
		{Name: "cause", Value: field.Text(l.why.String())},
		{Name: "from_seq", Value: field.Uint(l.first)},
		{Name: "to_seq", Value: field.Uint(l.last)},
		{Name: "count", Value: field.Uint(l.count)},
		{Name: "of_epoch", Value: field.Uint(uint64(l.epoch))},
	}}
	if destination != "" {
		ev.More = append(ev.More, field.Member{Name: "destination", Value: field.Text(destination)})
	}
	return ev
}

// skipEvent tells of numbers that an unclean stop left in doubt.
func skipEvent(c field.Class, epoch uint32, from, to uint64) *field.Event {
	return &field.Event{Kind: "skip", Subject: topics[c],
		Text: fmt.Sprintf("the last stop was not clean: numbers %d to %d were not used, or used in its last moments", from, to),
		More: []field.Member{
			{Name: "from_seq", Value: field.Uint(from)},
			{Name: "to_seq", Value: field.Uint(to)},
			{Name: "of_epoch", Value: field.Uint(uint64(epoch))},
		}}
}

// Ledger gives the last losses, oldest first, at most max of them (all that are kept for max ≤ 0). They survive
// restarts as long as the store does.
func (s *Store) Ledger(max int) []Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := 0
	if max > 0 {
		from = len(s.ledger) - min(max, len(s.ledger))
	}
	return slices.Clone(s.ledger[from:])
}
