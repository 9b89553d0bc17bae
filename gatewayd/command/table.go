package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgegateway/adapters/field"
)

// Table is all that the gateway can be asked to do. It is built once and not changed afterwards.
type Table struct {
	gateway string
	now     func() int64
	verbs   []Verb
}

// NewTable makes the table of a gateway's verbs. now stamps the replies, in Unix milliseconds.
func NewTable(gateway string, now func() int64, verbs ...Verb) *Table {
	return &Table{gateway: gateway, now: now, verbs: verbs}
}

// Verbs lists the table, in its order.
func (t *Table) Verbs() []Verb { return t.verbs }

// Find looks a verb up.
func (t *Table) Find(name string) (Verb, bool) {
	i := slices.IndexFunc(t.verbs, func(v Verb) bool { return v.Name == name })
	if i < 0 {
		return Verb{}, false
	}
	return t.verbs[i], true
}

// Do runs a request that was already judged to be allowed up to the given level, and answers it. What should follow the
// reply is done before it is given.
func (t *Table) Do(ctx context.Context, r Request, allowed Level) Reply {
	reply, after := t.run(ctx, r, allowed)
	if after != nil {
		after()
	}
	return reply
}

// run is Do, but for what follows the reply: that is the caller's to do; it is nil most of the time.
func (t *Table) run(ctx context.Context, r Request, allowed Level) (Reply, func()) {
	verb, ok := t.Find(r.Verb)
	switch {
	case !ok:
		return t.answer(r, nil, &Error{UnknownVerb, fmt.Sprintf("there is no verb %q; there are: %s", r.Verb, t.names())}), nil
	case verb.Level > allowed:
		return t.answer(r, nil, &Error{Unauthorized, fmt.Sprintf("%s is not allowed here; use the command line on the gateway", r.Verb)}), nil
	}
	result, err := verb.Run(ctx, r.Args)
	if after, ok := result.(Afterwards); ok {
		return t.answer(r, after.Result, err), after.Do
	}
	return t.answer(r, result, err), nil
}

// answer makes the reply to a request.
func (t *Table) answer(r Request, result any, err error) Reply {
	reply := Reply{V: 1, ID: r.ID, Gateway: t.gateway, Verb: r.Verb, Code: OK, Result: json.RawMessage("{}")}
	if result != nil {
		b, e := json.Marshal(result)
		if e == nil {
			reply.Result = b
		} else if err == nil {
			err = e
		}
	}
	if err != nil {
		reply.Code, reply.Text = codeOf(err), cut(err.Error(), maxText)
	}
	reply.T = t.now()
	return reply
}

func (t *Table) names() string {
	names := make([]string, len(t.verbs))
	for i, v := range t.verbs {
		names[i] = v.Name
	}
	return strings.Join(names, ", ")
}

// Error is a refusal with its code.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// Invalidf says that a request's arguments cannot be meant.
func Invalidf(format string, args ...any) error {
	return &Error{Invalid, fmt.Sprintf(format, args...)}
}

// codeOf finds the contract's code for an error.
func codeOf(err error) Code {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, field.ErrSilent), errors.Is(err, field.ErrAbsent), errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.Is(err, field.ErrRefused), errors.Is(err, field.ErrRange), errors.Is(err, field.ErrReadOnly):
		return Refused
	case errors.Is(err, field.ErrUnknownTag):
		return Invalid
	default:
		return Failed
	}
}

// Decode reads a verb's arguments strictly: a member that the verb does not know is an error that names it.
func Decode(args json.RawMessage, into any) error {
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	d := json.NewDecoder(strings.NewReader(string(args)))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return Invalidf("the arguments cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
