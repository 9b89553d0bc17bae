package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/audit"
)

// lane is one operator's commands, in the order in which they are to be run.
type lane struct {
	operator string
	queue    []*job
	last     uint64 // the highest counter that was begun
	long     int    // long ones that run
	wake     chan struct{}
	started  bool
}

// job is a command that was taken.
type job struct {
	request Request
	verb    Verb
	entry   audit.Entry
	arrived time.Time
}

// lane gives an operator's lane.
func (d *Desk) lane(operator string) *lane {
	l := d.lanes[operator]
	if l == nil {
		l = &lane{operator: operator, wake: make(chan struct{}, 1)}
		d.lanes[operator] = l
		d.startLane(l)
	}
	return l
}

// startLane runs a lane, once Run has begun.
func (d *Desk) startLane(l *lane) {
	if d.ctx == nil || l.started {
		return
	}
	l.started = true
	ctx := d.ctx
	d.wait.Go(func() { d.runLane(ctx, l) })
}

// enqueue notes a request that may be run, and puts it into its lane. The error says why not.
func (d *Desk) enqueue(ctx context.Context, r Request, v verdict, e *audit.Entry) *Error {
	d.mu.Lock()
	l := d.lane(v.operator)
	full := len(l.queue) >= maxQueue || v.verb.Long && l.long+l.longWaiting() >= maxLong
	late := r.Counter > 0 && (r.Counter <= l.last || slices.ContainsFunc(l.queue, func(j *job) bool { return j.request.Counter == r.Counter }))
	last := l.last
	d.mu.Unlock()
	switch {
	case full:
		return &Error{Busy, "too many commands of this operator are waiting: send it again later, with a new id"}
	case late:
		return &Error{Refused, fmt.Sprintf("ctr %d comes too late: %d was begun already", r.Counter, last)}
	}
	e.Kind = audit.Taken
	now, _ := d.o.Clock()
	e.Expires = min(e.Expires, now+longest.Milliseconds())
	noted, err := d.note(*e, v.verb.Level > Observe)
	if err != nil && v.verb.Level == Observe {
		d.o.Log.Error("somebody looks, and it is not in the audit log", "verb", e.Verb, "error", err)
		noted, err = *e, nil
		noted.T = now
	}
	if err != nil {
		code := Failed
		if errors.Is(err, audit.ErrFull) {
			code = Busy
		}
		return &Error{code, fmt.Sprintf("not run: %s", err)}
	}
	*e = noted
	j := &job{request: r, verb: v.verb, entry: noted, arrived: time.Now()}
	d.mu.Lock()
	d.forget(manySeen)
	d.seen[key{e.Operator, e.ID}] = &seen{entry: noted, expires: noted.Expires}
	ended := d.ended
	if !ended {
		l.add(j)
	}
	d.mu.Unlock()
	if ended {
		d.notBegun(ctx, j)
	}
	return nil
}

func (l *lane) longWaiting() int {
	n := 0
	for _, j := range l.queue {
		if j.verb.Long {
			n++
		}
	}
	return n
}

// add puts a job behind those that arrived before it, unless its counter is lower than theirs.
func (l *lane) add(j *job) {
	at := len(l.queue)
	for j.request.Counter > 0 && at > 0 && l.queue[at-1].request.Counter > j.request.Counter {
		at--
	}
	l.queue = slices.Insert(l.queue, at, j)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// manySeen is how many commands are remembered before those that expired are looked for.
const manySeen = 500

// forget drops what expired long ago, once there are many: were it sent again, it would be refused as expired. What only
// looked and anybody can send is dropped too. The lock is held, or nobody else knows the desk yet.
func (d *Desk) forget(many int) {
	const keep = time.Hour
	if len(d.seen) < many {
		return
	}
	now, believed := d.o.Clock()
	for k, s := range d.seen {
		// A clock that is ahead would have us forget what can still be sent again.
		expired := believed && max(s.expires, s.entry.T)+keep.Milliseconds() < now
		if s.entry.Kind == audit.Told && (expired || d.quiet(s.entry)) {
			delete(d.seen, k)
		}
	}
}

// runLane runs a lane's jobs until the context ends. What waits then was taken and never begun: it stays for the next run,
// which answers that it is not known. That is the safe side.
func (d *Desk) runLane(ctx context.Context, l *lane) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		j, wait := d.next(l)
		if j == nil {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
			case <-l.wake:
			case <-timer.C:
			}
			continue
		}
		if !j.verb.Long {
			d.perform(ctx, j)
			continue
		}
		d.wait.Go(func() {
			d.perform(ctx, j)
			d.mu.Lock()
			l.long--
			d.mu.Unlock()
		})
	}
}

// next takes the next job off the lane, or says how long to wait for one. A job whose counter says that another should
// have come before it gives that one a moment.
func (d *Desk) next(l *lane) (*job, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.queue) == 0 {
		return nil, time.Hour
	}
	j := l.queue[0]
	if c := j.request.Counter; c > 0 && c != l.last+1 {
		if left := gapWait - time.Since(j.arrived); left > 0 {
			return nil, left
		}
	}
	l.queue = l.queue[1:]
	l.last = max(l.last, j.request.Counter)
	if j.verb.Long {
		l.long++
	}
	return j, 0
}

// perform runs one job and answers it.
func (d *Desk) perform(ctx context.Context, j *job) {
	k := key{j.entry.Operator, j.entry.ID}
	if now, believed := d.o.Clock(); believed && j.request.Expires > 0 && now >= j.request.Expires {
		d.finish(ctx, j.entry, d.o.Table.answer(j.request, nil, &Error{Expired, "the command expired while it waited for its turn"}))
		return
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, stop := context.WithTimeoutCause(work, j.verb.limit(), context.DeadlineExceeded)
	defer stop()
	d.mu.Lock()
	d.jobs[k] = cancel
	d.mu.Unlock()
	work = context.WithValue(work, callerKey{}, Caller{j.entry.Operator, j.entry.ID})
	work = WithProgress(work, d.progress(ctx, j.entry.Operator, j.entry.ID, j.entry.Verb))
	reply, after := d.o.Table.run(work, j.request, Admin)
	d.mu.Lock()
	delete(d.jobs, k)
	d.mu.Unlock()
	if ctx.Err() != nil && reply.Code != OK {
		return // the daemon stops, and broke it off: the next run says what is known
	}
	if cause := context.Cause(work); reply.Code != OK && cause != nil {
		if errors.Is(cause, errCancelled) {
			reply.Code, reply.Text = Failed, cause.Error()
		} else if errors.Is(cause, context.DeadlineExceeded) {
			reply.Code, reply.Text = TimedOut, fmt.Sprintf("not done after %s: %s", j.verb.limit(), reply.Text)
		}
	}
	d.finish(context.WithoutCancel(ctx), j.entry, reply)
	if after != nil {
		after()
	}
}

// progressEvery is the least time between two words on the progress of one command.
const progressEvery = 5 * time.Second

// progress tells how far a command is, by events.
func (d *Desk) progress(ctx context.Context, operator, id, verb string) func(done, total int, text string) {
	var last time.Time
	return func(done, total int, text string) {
		now := time.Now()
		if !last.IsZero() && now.Sub(last) < progressEvery && (total == 0 || done < total) {
			return
		}
		last = now
		e := field.Event{Kind: "command", Subject: verb, Text: text, More: []field.Member{
			{Name: "id", Value: field.Text(id)}, {Name: "operator", Value: field.Text(operator)},
			{Name: "progress", Value: field.Int(int64(done))}, {Name: "of", Value: field.Int(int64(total))}}}
		if err := d.o.Send(ctx, "", nil, e); err != nil {
			d.o.Log.Warn("progress could not be told", "id", id, "error", err)
		}
	}
}

// Cancel breaks off a command that runs, by its id, of an operator; "" for any operator's. It says whether there was one.
func (d *Desk) Cancel(operator, id, by string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := false
	for k, cancel := range d.jobs {
		if k.id == id && (operator == "" || operator == k.operator) {
			cancel(fmt.Errorf("%w by %s", errCancelled, by))
			found = true
		}
	}
	return found
}

// GoesOn gives a context for what goes on with a command that outlived the run of the daemon that took it: its progress is
// told as before.
func (d *Desk) GoesOn(ctx context.Context, operator, id, verb string) context.Context {
	return WithProgress(ctx, d.progress(ctx, operator, id, verb))
}

// Complete answers a command that outlived the run of the daemon that took it, of which Resolve said that it goes on.
func (d *Desk) Complete(ctx context.Context, operator, id string, result any, err error) {
	d.mu.Lock()
	s := d.seen[key{operator, id}]
	d.mu.Unlock()
	if s == nil || s.reply != nil {
		return
	}
	d.finish(ctx, s.entry, d.o.Table.answer(Request{ID: id, Verb: s.entry.Verb}, result, err))
}

// Local runs a request of this machine's own people, who are allowed up to the given level, and answers it. What can do
// more than look is in the audit log.
func (d *Desk) Local(ctx context.Context, r Request, allowed Level) Reply {
	const operator = "local"
	work := context.WithValue(ctx, callerKey{}, Caller{Operator: operator})
	verb, ok := d.o.Table.Find(r.Verb)
	if !ok || verb.Level == Observe || verb.Level > allowed {
		reply, after := d.o.Table.run(work, r, allowed)
		if after != nil {
			after()
		}
		return reply
	}
	e := entryOf(r, operator, "")
	e.ID, e.Expires, e.Kind = "", 0, audit.Taken
	if _, err := d.o.Audit.Append(e, true); err != nil { // it is done all the same: who is here may have come to mend that
		d.o.Log.Error("a local command is not in the audit log", "verb", r.Verb, "error", err)
	}
	id := key{operator, fmt.Sprintf("%s-%d", r.Verb, time.Now().UnixNano())}
	work, cancel := context.WithCancelCause(work)
	defer cancel(nil)
	d.mu.Lock()
	d.jobs[id] = cancel
	d.mu.Unlock()
	reply, after := d.o.Table.run(work, r, allowed)
	d.mu.Lock()
	delete(d.jobs, id)
	d.mu.Unlock()
	e.Kind, e.Code, e.Text, e.Args = audit.Done, string(reply.Code), reply.Text, nil
	noted, err := d.o.Audit.Append(e, true)
	if err != nil {
		d.o.Log.Error("how a local command ended is not in the audit log", "verb", r.Verb, "error", err)
		noted = e
	}
	if err := d.o.Send(context.WithoutCancel(ctx), "", nil, eventOf(noted)); err != nil {
		d.o.Log.Error("a local command could not be told", "verb", r.Verb, "error", err)
	}
	if after != nil {
		after()
	}
	return reply
}

// Note puts something that was not asked for into the audit log, such as a configuration that came back by itself.
func (d *Desk) Note(text string) {
	if _, err := d.o.Audit.Append(audit.Entry{Kind: audit.Note, Text: text}, true); err != nil {
		d.o.Log.Error("a note is not in the audit log", "text", text, "error", err)
	}
}
