// Package command judges a request (known? allowed?), runs its verb and answers once. The same table of verbs serves
// the command line, the local page and the platforms.
//
// It promises that a request which is refused never reached a verb. A verb may not assume that its caller waits: the
// context ends when nobody needs the answer any more.
package command

import "encoding/json"

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
	Issued  int64           `json:"issued"`  // Unix milliseconds
	Expires int64           `json:"expires"` // Unix milliseconds
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
