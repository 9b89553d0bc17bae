// Package consumer is the platform's side of the native dialect: it takes what a gateway publishes and keeps books on
// it, as the contract lets any consumer do. It is the referee of every scenario.
//
//	messages (broker.Tap, broker.Follow) ─ Take ─ strict JSON ─ repeats dropped ─ gaps, explanations, order ─ Books
//
// It reads JSON in its own way and shares nothing with the gateway's encoder. It promises that nothing outside the
// contract passes silently: an unknown or doubled member, a wrong type, a sequence number that stood for something
// else before, a gap without an explanation. A caller may not assume that Books know of records that were taken and
// neither came nor were followed by another: what is still in the gateway's buffer leaves no gap.
package consumer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Recorder. The zero value takes every gateway as it finds it. Record and Event must not call the
// Recorder.
type Options struct {
	Prefix      string       // only topics below it count; "" for all
	FromStart   bool         // it listened before the gateway's store was made: a gap may begin at number 1
	Destination string       // the name that the gateway knows this platform by: losses for others explain nothing. "" for all
	Record      func(Record) // called with each record of data that is no repeat, one at a time; may be nil
	Event       func(Event)  // called with each event that is no repeat, one at a time; may be nil
}

// Record is what one read of one device's group yielded.
type Record struct {
	Gateway  string
	Epoch    uint64
	Seq      uint64
	Device   string
	Time     int64 // Unix milliseconds
	Trust    string
	Backfill bool
	Values   map[string]json.RawMessage // numbers, truth values, texts
	Quality  map[string]string
	Arrived  time.Time
}

// Event is something that happened.
type Event struct {
	Gateway             string
	Epoch               uint64
	Seq                 uint64
	Time                int64
	Kind, Subject, Text string
	Members             map[string]json.RawMessage // all of them
	Arrived             time.Time
}

// State is what a gateway says of itself.
type State struct {
	Gateway string
	Online  bool
	Epoch   uint64
	Version string
	Since   int64
	Changes int             // how often Online turned, the first word included
	Birth   json.RawMessage // the last birth, or its first part
}

// Recorder keeps the books. Take may be called from any goroutine.
type Recorder struct {
	options Options

	mu      sync.Mutex
	books   Books // but for what is reckoned from streams
	streams map[key]*stream
	states  map[string]*State // by prefix
	replies map[string][]Reply
}

// Reply is an answer to a command.
type Reply struct {
	ID, Verb, Code, Text string
	Result               json.RawMessage
	Time                 int64
	Arrived              time.Time
}

// New makes a recorder that has seen nothing.
func New(o Options) *Recorder {
	return &Recorder{
		options: o, streams: map[key]*stream{}, states: map[string]*State{}, replies: map[string][]Reply{},
	}
}

// Take books a message. retained says that it came with the flag, as one that was kept for later subscribers.
func (r *Recorder) Take(topic string, payload []byte, retained bool) {
	if r.options.Prefix != "" && !strings.HasPrefix(topic, r.options.Prefix+"/") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	prefix, leaf := split(topic)
	now := time.Now()
	r.books.Messages++
	r.books.Bytes += int64(len(payload))
	if r.books.FirstAt.IsZero() {
		r.books.FirstAt = now
	}
	r.books.LastAt = now
	if !json.Valid(payload) {
		r.complain("%s: no valid JSON: %.80q", topic, payload)
		return
	}
	o, ok := parse(topic, bytes.TrimSpace(payload), r.complain)
	if !ok {
		return
	}
	if retained && (leaf == "data" || leaf == "event" || leaf == "reply" || leaf == "command") {
		r.complain("%s: a message is retained", topic)
	}
	switch leaf {
	case "data":
		r.data(o, now)
	case "event":
		r.event(o, now)
	case "reply":
		r.reply(o, now)
	case "state":
		r.state(prefix, o)
	case "birth":
		r.birth(prefix, o, payload)
	case "command":
	default:
		r.complain("%s: the contract has no such topic", topic)
	}
}

// split takes the prefix off a topic. A birth may have further parts, as birth/2.
func split(topic string) (prefix, leaf string) {
	prefix, leaf = cut(topic)
	if up, name := cut(prefix); name == "birth" {
		return up, name
	}
	return prefix, leaf
}

func cut(topic string) (prefix, leaf string) {
	i := strings.LastIndexByte(topic, '/')
	return topic[:max(i, 0)], topic[i+1:]
}

const maxProblems = 100

func (r *Recorder) complain(format string, args ...any) {
	r.books.ProblemCount++
	if len(r.books.Problems) < maxProblems {
		r.books.Problems = append(r.books.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *Recorder) stream(k key) *stream {
	s := r.streams[k]
	if s == nil {
		s = &stream{prints: map[uint64]*page{}}
		r.streams[k] = s
	}
	return s
}

// book says whether the record is new, and complains when its number stood for another one.
func (r *Recorder) book(o *object, k key, seq uint64, print uint32, backfill bool) bool {
	switch r.stream(k).arrive(seq, print, backfill) {
	case repeat:
		return false
	case another:
		r.complain("%s: number %d of epoch %d was another record before", o.where, seq, k.epoch)
		return false
	}
	return true
}

func (r *Recorder) data(o *object, now time.Time) {
	gateway := o.envelope()
	epoch, _ := o.number("epoch", 0, true)
	backfill := o.truth("backfill")
	for i, raw := range o.list("records") {
		p, ok := parse(at(o.where, i), raw, r.complain)
		if !ok {
			continue
		}
		rec := Record{Gateway: gateway, Epoch: epoch, Backfill: backfill, Arrived: now}
		numbered := r.record(p, &rec)
		print := fingerprint(p.get("device"), p.get("v"), p.get("q"))
		if numbered && r.book(p, key{gateway, "data", epoch}, rec.Seq, print, backfill) {
			r.books.Readings += len(rec.Values)
			r.books.Marked += len(rec.Quality)
			if r.options.Record != nil {
				r.options.Record(rec)
			}
		}
	}
	o.done()
}

func (r *Recorder) record(p *object, rec *Record) (numbered bool) {
	rec.Seq, numbered = p.number("seq", 0, true)
	rec.Device = p.name("device")
	rec.Time = p.time("t")
	rec.Values, rec.Quality = map[string]json.RawMessage{}, map[string]string{}
	r.tags(p, "v", true, func(tag string, value json.RawMessage) {
		switch _, twice := rec.Values[tag]; {
		case twice:
			p.complain("%s: tag %q stands there twice", p.where, tag)
		case !scalar(value):
			p.complain("%s: tag %q is %s, which no value can be", p.where, tag, value)
		}
		rec.Values[tag] = value
	})
	r.tags(p, "q", false, func(tag string, value json.RawMessage) {
		_, good := rec.Values[tag]
		_, twice := rec.Quality[tag]
		quality := strings.Trim(string(value), `"`)
		switch {
		case good || twice:
			p.complain("%s: tag %q stands there twice", p.where, tag)
		case !slices.Contains(qualities(), quality):
			p.complain("%s: tag %q has the quality %s; allowed are %s", p.where, tag, value, strings.Join(qualities(), ", "))
		}
		rec.Quality[tag] = quality
	})
	if p.get("q") != nil && len(rec.Quality) == 0 {
		p.complain("%s: q is left out when all is well", p.where)
	}
	rec.Trust = p.text("tq", false, "corrected", "estimated")
	p.done()
	return numbered
}

// qualities are the contract's words for a tag without a value.
func qualities() []string {
	return []string{"timeout", "exception", "offline", "invalid", "stale", "uncertain"}
}

// tags visits the members of v or q.
func (r *Recorder) tags(p *object, name string, required bool, visit func(string, json.RawMessage)) {
	switch raw := p.raw(name, required); {
	case raw == nil:
	case raw[0] != '{':
		p.complain("%s: %q is no object", p.where, name)
	default:
		each(raw, visit)
	}
}

func (r *Recorder) event(o *object, now time.Time) {
	gateway := o.envelope()
	epoch, _ := o.number("epoch", 0, true)
	for i, raw := range o.list("events") {
		p, ok := parse(at(o.where, i), raw, r.complain)
		if !ok {
			continue
		}
		ev := Event{Gateway: gateway, Epoch: epoch, Members: map[string]json.RawMessage{}, Arrived: now}
		seq, numbered := p.number("seq", 0, true)
		ev.Seq, ev.Time = seq, p.time("t")
		ev.Kind = p.text("kind", true, "change", "device_offline", "device_online", "line_down", "line_up", "clock", "store",
			"loss", "skip", "config", "command", "sim")
		ev.Subject, ev.Text = p.text("subject", false), p.text("text", false)
		var print [][]byte
		for _, m := range p.members {
			ev.Members[m.name] = m.value
			if m.name != "t" && m.name != "tq" { // these may be put right before it is sent again
				print = append(print, m.value)
			}
		}
		fresh := numbered && r.book(p, key{gateway, "event", epoch}, seq, fingerprint(print...), false)
		switch ev.Kind {
		case "change":
			p.raw("value", true)
		case "loss", "skip":
			if fresh {
				r.explain(p, ev)
			}
		}
		if fresh && r.options.Event != nil {
			r.options.Event(ev)
		}
	}
	o.done()
}

// explain books a loss or a skip. The contract's range is of the numbers of data, unless the subject says event; of
// the event's own epoch, unless of_epoch names another.
func (r *Recorder) explain(p *object, ev Event) {
	from, ok := p.number("from_seq", 0, true)
	to, ok2 := p.number("to_seq", 0, true)
	if !ok || !ok2 {
		return
	}
	if to < from {
		p.complain("%s: from %d to %d", p.where, from, to)
		return
	}
	k := key{ev.Gateway, "data", ev.Epoch}
	if epoch, ok := p.number("of_epoch", 0, false); ok {
		k.epoch = epoch
	}
	if ev.Subject == "event" || ev.Subject == "reply" {
		k.topic = ev.Subject
	}
	if ev.Kind == "skip" {
		r.stream(k).skipped.add(Span{from, to})
		return
	}
	p.text("cause", true, "evicted", "expired", "thinned", "corrupt", "poison", "disk_full")
	count, ok := p.number("count", 1, true)
	if count > to-from+1 {
		p.complain("%s: %d records in numbers %d to %d", p.where, count, from, to)
	}
	if d := p.text("destination", false); !ok || d != "" && r.options.Destination != "" && d != r.options.Destination {
		return
	}
	s := r.stream(k)
	s.lost.add(Span{from, to})
	s.counts += count
}
