// Package command judges a request (whose? for us? fresh? allowed? seen before?), runs its verb, answers once, and keeps
// the account of it. The same table of verbs serves the command line, the local page and the platforms.
//
//	platform ─► Desk.Take ─► judge ─► audit: taken ─► the operator's lane ─► verb ─► audit: done ─► buffer: reply
//	                           │                       (in the order of counters)
//	                           └── refused ─► audit ─► buffer: reply
//
// It promises:
//   - A request that is refused never reached a verb.
//   - A request that can move something is on flash, by its id, before its verb begins. So it is run once at most,
//     whatever crashes when; one that a crash caught in the middle is answered `failed`, "outcome unknown", and not run
//     again.
//   - Each id that came with a good signature gets one answer; whatever comes under that id later is answered `repeated`,
//     with the first answer's result.
//   - An answer goes to the platform that its request came on, whatever crashes when. A repeat that waits for the first
//     answer on another platform is forgotten by a crash.
//
// A caller may not assume that an answer leaves once: like all that travels with QoS 1 it may come again, byte for byte
// the same. Nor may a verb assume that its caller waits: its context ends when nobody needs the answer any more.
package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Code is how a request ended, in the words of the contract.
type Code string

// The codes of the contract.
const (
	OK           Code = "ok"
	Invalid      Code = "invalid"
	UnknownVerb  Code = "unknown_verb"
	Unauthorized Code = "unauthorized"
	Expired      Code = "expired"
	Repeated     Code = "repeated"
	Retained     Code = "retained"
	Busy         Code = "busy"
	Refused      Code = "refused"
	Failed       Code = "failed"
	TimedOut     Code = "timeout"
)

// Request is one command, whoever gave it.
type Request struct {
	V       int             `json:"v"`
	ID      string          `json:"id"`
	Gateway string          `json:"gateway"`
	Verb    string          `json:"verb"`
	Args    json.RawMessage `json:"args,omitempty"`
	Issued  int64           `json:"issued"`        // Unix milliseconds
	Expires int64           `json:"expires"`       // Unix milliseconds
	Counter uint64          `json:"ctr,omitempty"` // of the operator's commands: they are run in this order; 0 for none

	Token    []byte `json:"-"` // the signed form (JWS, compact) in which it came; nil for a plain one
	Retained bool   `json:"-"` // the broker had kept it
}

// Reply is the one answer to a Request.
type Reply struct {
	V       int             `json:"v"`
	ID      string          `json:"id"`
	Gateway string          `json:"gateway"`
	Verb    string          `json:"verb"`
	Code    Code            `json:"code"`
	Text    string          `json:"text"`
	Result  json.RawMessage `json:"result"` // {} when there is none
	T       int64           `json:"t"`      // Unix milliseconds
}

// ReadRequest reads a request that is plain JSON. A member that stands there twice, or in other letters than it should
// be, is an error or is not seen: nobody may read another command than we do. What is in it is not judged.
func ReadRequest(text []byte) (Request, error) {
	members, err := object(text)
	if err != nil {
		return Request{}, fmt.Errorf("the command is no JSON object as it should be: %w", err)
	}
	var r Request
	for name, into := range map[string]any{
		"v": &r.V, "id": &r.ID, "gateway": &r.Gateway, "verb": &r.Verb, "args": &r.Args,
		"issued": &r.Issued, "expires": &r.Expires, "ctr": &r.Counter,
	} {
		if raw, ok := members[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return Request{}, fmt.Errorf("the command's %q cannot be read: %w", name, err)
			}
		}
	}
	return r, nil
}

// object reads a JSON object's members, by their exact names.
func object(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("it does not begin with {")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // within an object it is a name
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%q stands there twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if rest := text[d.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("something follows it")
	}
	return members, nil
}
