package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Kind is what an entry tells of.
type Kind string

// The kinds of entries. A command that is run has Taken, then Done, then Told; one that is not has Refused alone.
const (
	Taken   Kind = "taken"   // a command was judged, and is to be run
	Done    Kind = "done"    // it has ended, and this is its reply
	Told    Kind = "told"    // the reply is in the buffer
	Refused Kind = "refused" // a command was refused, and this is its reply
	Anew    Kind = "anew"    // the log begins here, for the one before was broken: what it told of is not known
	Note    Kind = "note"    // something else that somebody may want to know of, such as a change of the configuration
)

// Entry is one line of the log. N, T, Prev and Hash are the log's to fill in.
type Entry struct {
	N        uint64          `json:"n"`
	T        int64           `json:"t"` // Unix milliseconds
	Prev     string          `json:"prev"`
	Kind     Kind            `json:"kind"`
	Operator string          `json:"operator,omitempty"` // "local" for the command line
	Platform string          `json:"platform,omitempty"` // on which it came, and which gets the reply; "" for every one
	ID       string          `json:"id,omitempty"`
	Verb     string          `json:"verb,omitempty"`
	Args     json.RawMessage `json:"args,omitempty"`    // when they are short and hold no secret
	Digest   string          `json:"digest,omitempty"`  // SHA-256 of the arguments, hex
	Counter  uint64          `json:"ctr,omitempty"`     // of the operator's commands
	Expires  int64           `json:"expires,omitempty"` // of the command, Unix milliseconds
	Code     string          `json:"code,omitempty"`
	Text     string          `json:"text,omitempty"`
	Reply    json.RawMessage `json:"reply,omitempty"` // the whole of it, when it is short

	Hash string `json:"-"` // SHA-256 of the line up to it, hex
}

// seal is how a line ends: with the hash of what stands before.
const (
	sealOpen  = `,"hash":"`
	sealClose = `"}`
	sealSize  = len(sealOpen) + 2*sha256.Size + len(sealClose)
)

// line encodes an entry with its hash, and fills that in.
func (e *Entry) line() ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	body = body[:len(body)-1]
	e.Hash = digest(body)
	return append(append(append(append(body, sealOpen...), e.Hash...), sealClose...), '\n'), nil
}

// Digest is the SHA-256 of a text in hex.
func Digest(b []byte) string { return digest(b) }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// parse reads a line without its newline, and holds its hash against it.
func parse(line []byte) (Entry, error) {
	var e Entry
	if len(line) < sealSize+2 {
		return e, fmt.Errorf("the line is too short: %q", line)
	}
	body, end := line[:len(line)-sealSize], string(line[len(line)-sealSize:])
	hash, ok := strings.CutPrefix(end, sealOpen)
	if ok {
		hash, ok = strings.CutSuffix(hash, sealClose)
	}
	if !ok {
		return e, fmt.Errorf("the line does not end with its hash")
	}
	if want := digest(body); hash != want {
		return e, fmt.Errorf("the line was changed: its hash is %s…, and %s… stands there", want[:12], hash[:12])
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("the line is no entry: %w", err)
	}
	e.Hash = hash
	return e, nil
}
