package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/audit"
)

// told notes that a reply is in the buffer, and answers who waited for that. It costs no sync: at worst the reply leaves
// twice.
func (d *Desk) told(ctx context.Context, e audit.Entry) {
	_, err := d.note(audit.Entry{Kind: audit.Told, Operator: e.Operator, ID: e.ID, Verb: e.Verb}, false)
	if err != nil {
		d.o.Log.Error("the audit log does not know that a reply was given", "id", e.ID, "error", err)
	}
	var also []repeat
	d.mu.Lock()
	if s := d.seen[key{e.Operator, e.ID}]; s != nil {
		s.entry.Kind = audit.Told
		also, s.also = s.also, nil
	}
	d.mu.Unlock()
	for _, r := range also {
		d.answerAgain(ctx, r.request, r.entry)
	}
}

// maxReply bounds what is sent as one reply; the buffer takes 96 KiB.
const maxReply = 90 << 10

// keptReply bounds what the audit log keeps of one.
const keptReply = 4 << 10

// Bounds of texts, in bytes. What is refused comes back in the words of the refusal, however long it was.
const (
	maxText  = 12 << 10 // of a reply
	maxEvent = 500      // of an event, and of what is said to strangers: the audit log keeps it
	maxEcho  = 4 * maxID
)

// encode writes a reply, without its result where that is too long.
func encode(r Reply) []byte {
	b, err := json.Marshal(r)
	if err != nil || len(b) > maxReply {
		r.Text = fmt.Sprintf("%s (the result of %d bytes is too long for a reply: ask for less)", r.Text, len(r.Result))
		r.Result = json.RawMessage("{}")
		if r.Code == OK {
			r.Code = Failed
		}
		b, _ = json.Marshal(r) // texts and numbers always encode
	}
	return b
}

// finish notes how a command ended and tells it; the first to say so is who is believed. It is on flash before it is told,
// of one that only looked too: else a power cut could have another answer follow the one that left.
func (d *Desk) finish(ctx context.Context, e audit.Entry, r Reply) {
	text := encode(r)
	kept := r
	if len(text) > keptReply {
		kept.Result, kept.Text = json.RawMessage("{}"), r.Text+" (its result was too long to be kept)"
	}
	d.mu.Lock()
	s := d.seen[key{e.Operator, e.ID}]
	if s != nil && s.reply != nil {
		d.mu.Unlock()
		return
	}
	if s != nil {
		s.reply, s.entry.Kind = &kept, audit.Done
	}
	d.mu.Unlock()
	e.Kind, e.Code, e.Text, e.Args, e.Reply = audit.Done, string(r.Code), kept.Text, nil, nil
	if len(text) <= keptReply {
		e.Reply = text
		e.Text = "" // it stands in the reply
	}
	noted, err := d.note(e, true)
	if err != nil {
		d.o.Log.Error("how a command ended is not in the audit log", "id", e.ID, "error", err)
		noted = e
	}
	d.tellText(ctx, noted, r, text)
}

// tell stores the reply of a command that ended.
func (d *Desk) tell(ctx context.Context, e audit.Entry, r Reply) {
	e.Code, e.Text = string(r.Code), r.Text
	d.tellText(ctx, e, r, encode(r))
}

func (d *Desk) tellText(ctx context.Context, e audit.Entry, r Reply, text []byte) {
	e.Code, e.Text = string(r.Code), r.Text
	var event field.Event
	if d.moves(e.Verb) {
		event = eventOf(e)
	}
	if err := d.o.Send(ctx, e.Platform, text, event); err != nil {
		d.o.Log.Error("a reply could not be stored; it is given when the daemon starts again", "id", r.ID, "error", err)
		return
	}
	d.told(ctx, e)
}

// moves says that a verb can do more than look; one that is not known any more may have been able to.
func (d *Desk) moves(verb string) bool {
	v, ok := d.o.Table.Find(verb)
	return !ok || v.Level > Observe
}

// eventOf tells the platforms of an entry, with its hash.
func eventOf(e audit.Entry) field.Event {
	who := e.Operator
	if who == "" {
		who = "somebody unknown"
	}
	text := fmt.Sprintf("%s by %s: %s", orUnreadable(e.Verb), who, e.Code)
	if e.Text != "" {
		text += ": " + e.Text
	}
	event := field.Event{Kind: "command", Subject: e.Verb, Text: cut(text, maxEvent)}
	for _, m := range []struct{ name, value string }{{"id", e.ID}, {"operator", e.Operator}, {"code", e.Code}} {
		if m.value != "" {
			event.More = append(event.More, field.Member{Name: m.name, Value: field.Text(m.value)})
		}
	}
	if e.Hash != "" {
		event.More = append(event.More, field.Member{Name: "audit_n", Value: field.Uint(e.N)}, field.Member{Name: "audit_hash", Value: field.Text(e.Hash)})
	}
	return event
}

// cut shortens a text to so many bytes and a mark.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func orUnreadable(verb string) string {
	if verb == "" {
		return "something unreadable"
	}
	return verb
}

// limiter lets a number through at once, and then one each period.
type limiter struct {
	left float64
	last time.Time
}

const (
	limiterBurst  = 50
	limiterPeriod = 10 * time.Second
)

func (l *limiter) take(now time.Time) bool {
	if l.last.IsZero() {
		l.left = limiterBurst
	} else {
		l.left = min(limiterBurst, l.left+now.Sub(l.last).Seconds()/limiterPeriod.Seconds())
	}
	l.last = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}
