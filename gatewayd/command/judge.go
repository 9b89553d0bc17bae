package command

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Operator is one who may command the gateway.
type Operator struct {
	Name  string
	Key   ed25519.PublicKey
	Verbs []string
	Level Level // no verb above it, whatever Verbs says
}

// Bounds of what a request may say.
const (
	skew     = 30 * time.Second // by which the clock of whoever commands may be ahead of ours
	longest  = 24 * time.Hour   // for which a command may be valid: its id is remembered so long
	maxID    = 64               // bytes
	maxArgs  = 64 << 10         // bytes
	gapWait  = time.Second      // for a command that was overtaken on its way
	maxQueue = 16               // commands of one operator that wait
	maxLong  = 4                // long ones of one operator that run
)

// verdict is what became of a request. It is authentic when we know whose it is.
type verdict struct {
	operator string
	authentic,
	unsigned bool
	verb Verb
	err  *Error // nil when it may be run
}

func (v verdict) refuse(code Code, format string, args ...any) verdict {
	v.err = &Error{code, fmt.Sprintf(format, args...)}
	return v
}

// judge says whether a request may be run. It looks at nothing but the request, the clock and the operators: whether the
// id was seen before, the desk knows. Its order matters: nothing is said of a request to those who have not signed it.
func (d *Desk) judge(r *Request, unsignedVerbs []string) verdict {
	var v verdict
	if r.Token == nil {
		v.unsigned = true
		if !slices.Contains(unsignedVerbs, r.Verb) {
			if r.Retained {
				return v.refuse(Retained, "the broker had kept this command: send commands without the retain flag")
			}
			return v.refuse(Unauthorized, "%q is not taken without a signature", r.Verb)
		}
		v.authentic = true
	} else if v = d.authenticate(r); v.err != nil {
		return v
	}
	now, believed := d.o.Clock()
	verb, known := d.o.Table.Find(r.Verb)
	v.verb = verb
	switch {
	case r.Retained:
		return v.refuse(Retained, "the broker had kept this command: send commands without the retain flag")
	case r.Gateway != d.o.Gateway:
		return v.refuse(Unauthorized, "the command is for gateway %q; this is %q", r.Gateway, d.o.Gateway)
	case r.V != 1:
		return v.refuse(Invalid, "v is %d; this gateway understands 1", r.V)
	case r.ID == "" || len(r.ID) > maxID || strings.ContainsFunc(r.ID, func(c rune) bool { return c < ' ' || c == 0x7F }):
		v.authentic = false // there is nothing to remember it by
		return v.refuse(Invalid, "a command needs an id of 1 to %d bytes, a new one for each", maxID)
	case len(r.Args) > maxArgs && verb.Level < Configure:
		return v.refuse(Invalid, "the arguments are longer than %d bytes", maxArgs)
	}
	if !known {
		return v.refuse(UnknownVerb, "there is no verb %q; there are: %s", r.Verb, d.o.Table.names())
	}
	if !v.unsigned {
		if o, ok := d.operator(v.operator); !ok || !slices.Contains(o.Verbs, verb.Name) || verb.Level > o.Level {
			return v.refuse(Unauthorized, "operator %q may not %s", v.operator, verb.Name)
		}
	}
	return d.fresh(v, r, now, believed)
}

// fresh judges by the clock.
func (d *Desk) fresh(v verdict, r *Request, now int64, believed bool) verdict {
	if v.verb.Level == Observe && (r.Expires == 0 && v.unsigned || !believed) {
		return v // it moves nothing: without a clock, or to somebody without one, it is answered all the same
	}
	expires := time.UnixMilli(r.Expires)
	switch {
	case r.Expires <= 0:
		return v.refuse(Invalid, "a command needs expires, in Unix milliseconds")
	case !believed:
		return v.refuse(Refused, "this gateway's clock is not synchronised, so it cannot tell whether the command is a fresh one; "+
			"nothing that moves or changes something is done until it is")
	case now >= r.Expires:
		return v.refuse(Expired, "the command expired at %s; here it is %s", utc(r.Expires), utc(now))
	case r.Issued <= 0 || r.Issued > r.Expires:
		return v.refuse(Invalid, "a command needs issued, in Unix milliseconds, before expires")
	case r.Issued > now+skew.Milliseconds():
		return v.refuse(Invalid, "the command was issued in the future, at %s; here it is %s: a clock is wrong", utc(r.Issued), utc(now))
	case v.verb.Level > Observe && r.Issued < d.known(now):
		return v.refuse(Refused, "the account of what was run until %s was broken, and the command may have been done before: "+
			"look at how things stand, and send a new one", utc(d.known(now)))
	case expires.Sub(time.UnixMilli(now)) > longest:
		return v.refuse(Invalid, "the command expires at %s, which is too far away: at most %s from now", utc(r.Expires), longest)
	case expires.Sub(time.UnixMilli(r.Issued)) > longest: // one that was refused for it before may be forgotten by now
		return v.refuse(Invalid, "the command is valid from %s until %s, which is too long: at most %s", utc(r.Issued), utc(r.Expires), longest)
	}
	return v
}

// known says when a command must have been issued to be known if it was run before; by a clock that can be believed.
func (d *Desk) known(now int64) int64 {
	switch {
	case d.lost:
		return now - time.Since(d.opened).Milliseconds() + skew.Milliseconds()
	case d.anew > 0 && d.anew <= now: // else there is none, or it was written by a clock that was ahead
		return d.anew + skew.Milliseconds()
	default:
		return 0
	}
}

func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// authenticate finds out whose a signed request is, and reads it anew from what was signed.
func (d *Desk) authenticate(r *Request) verdict {
	var v verdict
	refused := func(why string) verdict {
		if r.Retained {
			return v.refuse(Retained, "the broker had kept this command: send commands without the retain flag")
		}
		return v.refuse(Unauthorized, "%s", why)
	}
	token, err := ParseToken(r.Token)
	if err != nil {
		return refused(err.Error())
	}
	o, ok := d.operator(token.Key)
	if !ok {
		return refused(fmt.Sprintf("there is no operator %q here: the JWS header's kid names one of the configuration's [[operator]]", token.Key))
	}
	if !token.Verify(o.Key) {
		return refused(fmt.Sprintf("the signature is not that of operator %q", o.Name))
	}
	read, err := ReadRequest(token.Payload)
	if err != nil {
		v.operator = o.Name
		return v.refuse(Invalid, "%s", err)
	}
	read.Token, read.Retained = r.Token, r.Retained
	*r = read
	return verdict{operator: o.Name, authentic: true}
}

// operator finds one of the operators by name.
func (d *Desk) operator(name string) (Operator, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.operators[name]
	return o, ok
}
