package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
	"edgegateway/systemd"
)

// What a transfer of the journal may take.
const (
	replyBytes  = 32 << 10        // of an answer, which goes before all readings
	sendBytes   = 1 << 20         // of a transfer, which goes after them
	sendDefault = 256 << 10       //
	pieceBytes  = 4 << 10         // of one event: half a second of a link of 64 kbit/s
	pieceEvery  = time.Second     // at most one in so long
	idleEvery   = time.Second / 4 // how often it is asked whether nothing else waits
	sendWithin  = 2 * time.Hour   // for a whole transfer, on a link that is never idle
	longestBack = 31 * 24 * time.Hour
)

// LogsArgs are the arguments of logs.
type LogsArgs struct {
	Unit     string `json:"unit,omitempty"`     // one of the named units, or "kernel"; the gateway's own when left out
	Since    string `json:"since,omitempty"`    // how far back: "90s", "1h" (the default), at most "744h"
	Priority string `json:"priority,omitempty"` // the least severe that is wanted: "err", "warning", …; "info" when left out
	Bytes    int    `json:"bytes,omitempty"`    // at most so many; of an answer 32 KiB at most, which is the default, else 1 MiB
	Send     bool   `json:"send,omitempty"`     // not in the answer, but as events
}

// Logs is the answer to logs.
type Logs struct {
	Unit    string          `json:"unit"`
	More    bool            `json:"more"` // older entries did not fit
	Entries []systemd.Entry `json:"entries,omitempty"`
	Count   int             `json:"count"`
	Pieces  int             `json:"pieces,omitempty"` // events that follow, of kind "log"
	ID      string          `json:"id,omitempty"`     // that they carry
}

// query checks the arguments.
func (a LogsArgs) query(m *Machine) (systemd.Query, error) {
	q := systemd.Query{Unit: Self, Back: time.Hour, Priority: slices.Index(systemd.Priorities, "info"), Bytes: replyBytes}
	limit := replyBytes
	if a.Send {
		q.Bytes, limit = sendDefault, sendBytes
	}
	var err error
	switch a.Unit {
	case "":
	case "kernel":
		q.Unit = a.Unit
	default:
		if q.Unit, err = m.name(a.Unit); err != nil {
			return q, err
		}
	}
	if a.Since != "" {
		if q.Back, err = time.ParseDuration(a.Since); err != nil || q.Back < time.Second || q.Back > longestBack {
			return q, command.Invalidf(`since: %q: say how far back, "1s" to "744h"`, a.Since)
		}
	}
	if a.Priority != "" {
		if q.Priority = slices.Index(systemd.Priorities, a.Priority); q.Priority < 0 {
			return q, command.Invalidf("priority: %q: allowed are %s", a.Priority, strings.Join(systemd.Priorities, ", "))
		}
	}
	if a.Bytes != 0 {
		if q.Bytes = a.Bytes; q.Bytes < 1024 || q.Bytes > limit {
			return q, command.Invalidf("bytes: %d: allowed are 1024 to %d", a.Bytes, limit)
		}
	}
	return q, nil
}

func (m *Machine) logs(ctx context.Context, raw json.RawMessage) (any, error) {
	var args LogsArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	q, err := args.query(m)
	if err != nil {
		return nil, err
	}
	entries, more, err := m.o.Journal(ctx, q)
	if err != nil {
		return nil, err
	}
	out := Logs{Unit: q.Unit, More: more, Count: len(entries)}
	if !args.Send {
		out.Entries = entries
		return out, nil
	}
	pieces := cut(entries)
	out.Pieces, out.ID = len(pieces), fmt.Sprintf("log-%d", time.Now().UnixMilli())
	if err := m.announce(func(ctx context.Context) { m.send(ctx, out, pieces) }); err != nil {
		return nil, err
	}
	return out, nil
}

// cut makes pieces of whole lines.
func cut(entries []systemd.Entry) []string {
	var pieces []string
	var b strings.Builder
	for _, e := range entries {
		line := fmt.Sprintf("%s %s %s: %s\n", time.UnixMilli(e.T).UTC().Format("2006-01-02T15:04:05.000Z"),
			systemd.Priorities[e.Priority], e.From, e.Text)
		if b.Len() > 0 && b.Len()+len(line) > pieceBytes {
			pieces = append(pieces, b.String())
			b.Reset()
		}
		b.WriteString(line)
	}
	if b.Len() > 0 {
		pieces = append(pieces, b.String())
	}
	return pieces
}

// send stores one piece after the other, each only when nothing waits to be sent: so it is behind everything, and no
// more than one piece is ever in anybody's way.
func (m *Machine) send(ctx context.Context, l Logs, pieces []string) {
	end := time.Now().Add(sendWithin)
	for i, piece := range pieces {
		for !m.o.Idle() {
			if time.Now().After(end) {
				m.o.Event(field.Event{Kind: "log", Subject: l.Unit, Text: fmt.Sprintf("given up after %s: the link was never idle", sendWithin),
					More: []field.Member{{Name: "id", Value: field.Text(l.ID)}}})
				return
			}
			if !pause(ctx, idleEvery) {
				return
			}
		}
		m.o.Event(field.Event{Kind: "log", Subject: l.Unit, Text: piece, More: []field.Member{
			{Name: "id", Value: field.Text(l.ID)}, {Name: "piece", Value: field.Int(int64(i + 1))}, {Name: "of", Value: field.Int(int64(len(pieces)))}}})
		if !pause(ctx, pieceEvery) {
			return
		}
	}
}
