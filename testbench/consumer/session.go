package consumer

import (
	"bytes"
	"encoding/json"
	"time"
)

func (r *Recorder) state(prefix string, o *object) {
	s := State{Gateway: o.envelope(), Online: o.truth("online")}
	s.Epoch, _ = o.number("epoch", 0, true)
	s.Version = o.text("version", true)
	s.Since = o.time("since")
	o.done()
	was := r.states[prefix]
	if was == nil {
		was = &State{}
	}
	s.Birth, s.Changes = was.Birth, was.Changes
	if was.Changes == 0 || was.Online != s.Online {
		s.Changes++
	}
	r.states[prefix] = &s
}

func (r *Recorder) birth(prefix string, o *object, payload []byte) {
	gateway := o.envelope()
	if part, several := o.number("part", 1, false); several && part > 1 {
		return
	}
	s := r.states[prefix]
	if s == nil {
		s = &State{Gateway: gateway}
		r.states[prefix] = s
	}
	s.Birth = bytes.Clone(payload)
}

func (r *Recorder) reply(o *object, now time.Time) {
	o.envelope()
	a := Reply{ID: o.text("id", true), Verb: o.text("verb", true), Text: o.text("text", true), Arrived: now}
	a.Code = o.text("code", true, "ok", "invalid", "unknown_verb", "unauthorized", "expired", "repeated", "retained", "busy",
		"refused", "failed", "timeout")
	a.Time = o.time("t")
	a.Result = bytes.Clone(o.raw("result", true))
	o.done()
	if a.Code != "repeated" { // one answer to each id; only who asks again gets another, which says so
		for _, b := range r.replies[a.ID] {
			if b.Code == "repeated" {
				continue
			}
			if b.Code != a.Code || b.Time != a.Time || !bytes.Equal(b.Result, a.Result) {
				r.complain("%s: command %q was answered twice: %s, then %s", o.where, a.ID, b.Code, a.Code)
			}
			r.books.RepliesRepeated++
			return
		}
	}
	r.books.Replies++
	r.replies[a.ID] = append(r.replies[a.ID], a)
}

// State gives what the gateway below the prefix said of itself last; false when it has said nothing.
func (r *Recorder) State(prefix string) (State, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.states[prefix]
	if s == nil {
		return State{}, false
	}
	return *s, true
}

// Replies gives the answers to the command with that id, repeats left out.
func (r *Recorder) Replies(id string) []Reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Reply(nil), r.replies[id]...)
}

// Float gives a tag's value as a number; false when it has none, or one that is no number.
func (r Record) Float(tag string) (float64, bool) {
	v, ok := r.Values[tag]
	if !ok || v[0] == '"' {
		return 0, false
	}
	var f float64
	return f, json.Unmarshal(v, &f) == nil
}
