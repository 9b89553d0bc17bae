package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/audit"
)

// DeskOptions are what a Desk is told.
type DeskOptions struct {
	Gateway string
	Table   *Table
	Audit   *audit.Log
	Entries []audit.Entry // what stood in the log when it was opened
	// Clock is the wall clock in Unix milliseconds, and whether it can be believed.
	Clock func() (now int64, believed bool)
	// Send stores a reply (nil for none) to the platform that asked ("" for every one) and the event about it (of no kind
	// for none), which every platform gets; they are durable, and on their way, when it returns nil.
	Send func(ctx context.Context, platform string, reply []byte, e field.Event) error
	// Resolve is asked about a command that a crash or a restart caught in the middle: the reply, when somebody knows how
	// it ended; or that it still goes on, and Complete will be called. May be nil.
	Resolve func(e audit.Entry) (reply *Reply, goesOn bool)
	Log     *slog.Logger
}

// Desk is where commands come in and answers go out. Make one with NewDesk, and Run it.
type Desk struct {
	o    DeskOptions
	left []*seen // that an earlier run did not answer

	opened time.Time // when this run began
	anew   int64     // when the audit log was, Unix milliseconds: what was run before is not known; 0 for never
	lost   bool      // it was by this run, so that opened tells it better: the clock may not have been right then

	taking sync.Mutex // one request is judged at a time, so that of two with one id the second is seen to be that

	mu        sync.Mutex
	operators map[string]Operator
	seen      map[key]*seen
	lanes     map[string]*lane
	jobs      map[key]context.CancelCauseFunc
	strangers limiter
	repeats   limiter
	ctx       context.Context // of what runs; nil until Run, and after it
	ended     bool            // Run does: nothing is begun any more
	wait      sync.WaitGroup
}

// unsigned begins the name under which plain commands of a platform go.
const unsigned = "unsigned:"

// quiet says that a command is neither in the audit log nor told of: it only looked, and anybody can send such.
func (d *Desk) quiet(e audit.Entry) bool {
	return strings.HasPrefix(e.Operator, unsigned) && !d.moves(e.Verb)
}

// note appends an entry to the audit log, unless it is quiet.
func (d *Desk) note(e audit.Entry, sync bool) (audit.Entry, error) {
	if d.quiet(e) {
		e.T, _ = d.o.Clock()
		return e, nil
	}
	return d.o.Audit.Append(e, sync)
}

// key names a command: ids are their operator's own.
type key struct{ operator, id string }

// seen is what is remembered of a command.
type seen struct {
	entry   audit.Entry
	reply   *Reply // nil while it runs
	expires int64
	also    []repeat // of it on other platforms, which wait until the first has its answer
}

// repeat is a request whose id was seen before.
type repeat struct {
	request Request
	entry   audit.Entry
}

// errCancelled is why a verb was broken off by the verb cancel.
var errCancelled = errors.New("cancelled")

// NewDesk makes a desk that knows what the audit log knows.
func NewDesk(o DeskOptions, operators []Operator) *Desk {
	d := &Desk{o: o, opened: time.Now(), seen: map[key]*seen{}, lanes: map[string]*lane{}, jobs: map[key]context.CancelCauseFunc{}}
	d.SetOperators(operators)
	for i, e := range o.Entries {
		d.remember(e)
		if e.Kind == audit.Anew {
			d.anew, d.lost = e.T, i == len(o.Entries)-1
		}
	}
	d.o.Entries = nil // they may be many
	d.forget(0)
	for _, s := range d.seen {
		if s.entry.Kind != audit.Told {
			d.left = append(d.left, s)
		}
	}
	return d
}

// SetOperators changes who may command. What was taken before is run all the same.
func (d *Desk) SetOperators(operators []Operator) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operators = map[string]Operator{}
	for _, o := range operators {
		d.operators[o.Name] = o
	}
}

// remember takes in an entry of the log.
func (d *Desk) remember(e audit.Entry) {
	k := key{e.Operator, e.ID}
	if e.ID == "" {
		return
	}
	switch e.Kind {
	case audit.Taken:
		d.seen[k] = &seen{entry: e, expires: e.Expires}
		if l := d.lane(e.Operator); e.Counter > l.last {
			l.last = e.Counter
		}
	case audit.Done, audit.Refused:
		s := d.seen[k]
		if s == nil {
			s = &seen{entry: e, expires: e.Expires}
			d.seen[k] = s
		}
		s.reply = replyOf(e)
		s.entry.Kind = e.Kind
	case audit.Told:
		if s := d.seen[k]; s != nil {
			s.entry.Kind = audit.Told
		}
	}
}

// replyOf gives an entry's reply; without its result when that was too long to be kept.
func replyOf(e audit.Entry) *Reply {
	var r Reply
	if e.Reply == nil || json.Unmarshal(e.Reply, &r) != nil {
		r = Reply{V: 1, ID: e.ID, Verb: e.Verb, Code: Code(e.Code), Text: e.Text, Result: json.RawMessage("{}"), T: e.T}
	}
	return &r
}

// Run answers what the last run left unanswered, and runs what Take takes until the context ends. It returns when
// nothing runs any more: a verb that is broken off then is answered by the next run, as after a crash.
func (d *Desk) Run(ctx context.Context) error {
	d.mu.Lock()
	d.ctx = ctx
	for _, l := range d.lanes {
		d.startLane(l)
	}
	d.mu.Unlock()
	for _, s := range d.left {
		d.settle(ctx, s)
	}
	<-ctx.Done()
	d.mu.Lock()
	d.ctx, d.ended = nil, true
	d.mu.Unlock()
	d.wait.Wait()
	d.dismiss(context.WithoutCancel(ctx))
	return nil
}

// dismiss answers what was never begun. Platforms are connected still, and requests may come meanwhile: see enqueue.
func (d *Desk) dismiss(ctx context.Context) {
	var waiting []*job
	d.mu.Lock()
	for _, l := range d.lanes {
		waiting = append(waiting, l.queue...)
		l.queue = nil
	}
	d.mu.Unlock()
	for _, j := range waiting {
		d.notBegun(ctx, j)
	}
}

func (d *Desk) notBegun(ctx context.Context, j *job) {
	d.finish(ctx, j.entry, d.o.Table.answer(j.request, nil, &Error{Failed, "not begun: the gateway was stopped while this waited for its turn"}))
}

// settle answers a command of an earlier run.
func (d *Desk) settle(ctx context.Context, s *seen) {
	d.mu.Lock()
	e, ended := s.entry, s.reply
	d.mu.Unlock()
	if ended != nil {
		if e.Kind != audit.Told { // whether the reply was stored is not known
			d.tell(ctx, e, *ended)
		}
		return
	}
	var reply *Reply
	if d.o.Resolve != nil {
		var goesOn bool
		if reply, goesOn = d.o.Resolve(e); goesOn {
			return
		}
	}
	if reply == nil {
		r := d.o.Table.answer(Request{ID: e.ID, Verb: e.Verb}, nil, &Error{Failed,
			"outcome unknown: the gateway stopped while this was being done; it is not done again. Look at how things stand before you send a new one"})
		reply = &r
	}
	reply.ID, reply.Verb = e.ID, e.Verb
	d.finish(ctx, e, *reply)
}

// Take takes a request that came on a platform, whose verbs without signature are given. When it returns, the request
// is remembered, so that the broker need not keep it. It does not wait for the verb.
func (d *Desk) Take(ctx context.Context, platform string, unsignedVerbs []string, r Request) {
	d.taking.Lock()
	defer d.taking.Unlock()
	v := d.judge(&r, unsignedVerbs)
	if v.unsigned {
		v.operator = unsigned + platform
	}
	e := entryOf(r, v.operator, platform)
	if v.authentic && d.answerAgain(ctx, r, e) {
		return
	}
	if v.err == nil {
		v.err = d.enqueue(ctx, r, v, &e)
	}
	if v.err != nil {
		d.refuse(ctx, r, v, e)
	}
}

// Unreadable takes what came on a command topic and is no command at all: there is no id to answer to.
func (d *Desk) Unreadable(ctx context.Context, platform string, why error) {
	d.refuse(ctx, Request{}, verdict{err: &Error{Invalid, why.Error()}}, audit.Entry{Platform: platform})
}

// entryOf is what the log has of a request.
func entryOf(r Request, operator, platform string) audit.Entry {
	e := audit.Entry{Operator: operator, Platform: platform, ID: r.ID, Verb: r.Verb, Counter: r.Counter, Expires: r.Expires}
	if len(r.Args) > 0 {
		e.Digest = audit.Digest(r.Args)
		if len(r.Args) <= 512 && !strings.Contains(strings.ToLower(string(r.Args)), "secret") {
			e.Args = r.Args
		}
	}
	if len(e.ID) > maxID {
		e.ID = e.ID[:maxID]
	}
	if len(e.Verb) > maxID {
		e.Verb = e.Verb[:maxID]
	}
	return e
}

// answerAgain answers a request whose id was seen before with the first answer. While that is still to come it says
// nothing to the platform that will get it: a broker sends again what it has no acknowledgement for, as after a drill that
// cut the link. Another platform waits for its turn. Nothing is said to one that the broker keeps and sends at each connect,
// nor to very many: whoever has seen a command can send it again.
func (d *Desk) answerAgain(ctx context.Context, r Request, e audit.Entry) bool {
	d.mu.Lock()
	s := d.seen[key{e.Operator, e.ID}]
	var first *Reply
	if s != nil && s.entry.Kind == audit.Told { // else this answer could leave before the first one
		first = s.reply
	} else if s != nil && !r.Retained {
		s.wait(repeat{r, e})
	}
	silent := r.Retained || first == nil || !d.repeats.take(time.Now())
	d.mu.Unlock()
	if s == nil || silent {
		return s != nil
	}
	again := d.o.Table.answer(r, nil, &Error{Repeated, fmt.Sprintf("this id was given before; the answer was %s: %s", first.Code, first.Text)})
	again.Result = first.Result
	e.Kind, e.Code, e.ID = audit.Refused, string(Repeated), "" // the id's own entry stays the one that counts
	e.Text = "id " + r.ID + " again"
	d.send(ctx, e, &again, false)
	return true
}

// wait keeps a repeat until the first answer is given, unless its platform gets that one or waits already.
func (s *seen) wait(r repeat) {
	to := r.entry.Platform
	waits := func(o repeat) bool { return o.entry.Platform == to }
	if s.entry.Platform != "" && s.entry.Platform != to && !slices.ContainsFunc(s.also, waits) {
		s.also = append(s.also, r)
	}
}

// refuse answers a request that is not run. Strangers are answered as long as they are few: what anybody can send must
// fill neither the flash nor the line.
func (d *Desk) refuse(ctx context.Context, r Request, v verdict, e audit.Entry) {
	r.ID, r.Verb = cut(r.ID, maxEcho), cut(r.Verb, maxEcho)
	reply := d.o.Table.answer(r, nil, v.err)
	if !v.authentic {
		reply.Text = cut(reply.Text, maxEvent)
		d.mu.Lock()
		ok := d.strangers.take(time.Now())
		d.mu.Unlock()
		if !ok {
			return
		}
		e.ID, e.Text = "", "id "+e.ID+": " // nobody can use up another's id
	}
	e.Kind, e.Code, e.Text = audit.Refused, string(reply.Code), e.Text+reply.Text
	if e.Expires <= 0 || e.Expires > reply.T+longest.Milliseconds() {
		e.Expires = 0 // an id that was refused over its time need not be remembered
	}
	answer := &reply
	if r.ID == "" {
		answer = nil
	}
	d.send(ctx, e, answer, v.authentic)
}

// send notes a refusal and tells it.
func (d *Desk) send(ctx context.Context, e audit.Entry, reply *Reply, remember bool) {
	if reply != nil && remember {
		e.Reply = encode(*reply)
	}
	noted, err := d.note(e, false)
	if err != nil {
		d.o.Log.Error("a refusal is not in the audit log", "error", err)
	}
	if remember && reply != nil {
		d.mu.Lock()
		d.forget(manySeen)
		d.remember(noted)
		d.mu.Unlock()
	}
	var text []byte
	if reply != nil {
		text = encode(*reply)
	}
	var event field.Event
	if !d.quiet(e) {
		event = eventOf(noted)
	}
	if err := d.o.Send(ctx, e.Platform, text, event); err != nil {
		d.o.Log.Error("a reply could not be stored", "id", e.ID, "error", err)
		return
	}
	if remember && reply != nil {
		noted.Kind, noted.Reply, noted.Args = audit.Told, nil, nil
		d.told(ctx, noted)
	}
}
