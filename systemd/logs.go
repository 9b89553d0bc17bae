package systemd

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query says which part of the journal is wanted. Zero values take the defaults; nothing is unbounded.
type Query struct {
	Unit     string        // a unit's name; "kernel" for the kernel's own messages; "" for all
	Back     time.Duration // how far back from now; default 1 h
	Priority int           // at most this severe a number of syslog, 0 (emerg) … 7 (debug)
	Bytes    int           // of the entries as JSON, about; default 32 KiB. The newest are kept.
}

// Entry is one message of the journal.
type Entry struct {
	T        int64  `json:"t"` // Unix milliseconds
	Priority int    `json:"p"`
	From     string `json:"from,omitempty"` // who said it: syslog's identifier
	Text     string `json:"text"`
}

// Priorities are syslog's names, most severe first: an index is a priority.
var Priorities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

const (
	queryBack    = time.Hour
	queryBytes   = 32 << 10
	entryText    = 2 << 10 // bytes of one message that are kept
	entryExtra   = 48      // bytes of an entry's JSON beside its texts, about
	queryTimeout = 30 * time.Second
)

// Journal reads the machine's journal through journalctl(1), which the user must be allowed to (group
// systemd-journal). It returns the newest entries that fit, oldest first, and whether older ones were left out.
func Journal(ctx context.Context, q Query) (entries []Entry, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", q.args()...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, false, err
	}
	if err := cmd.Start(); err != nil {
		return nil, false, fmt.Errorf("the journal can't be read: %w", err)
	}
	entries, more, err = newestEntries(out, cmp.Or(q.Bytes, queryBytes))
	if more || err != nil {
		cancel() // there may be gigabytes of older ones
		_ = cmd.Wait()
	} else if err = cmd.Wait(); err != nil {
		err = fmt.Errorf("journalctl: %w: %s", err, firstLine(complaint.String()))
	} else if strings.Contains(complaint.String(), "not seeing messages") || strings.Contains(complaint.String(), "insufficient permissions") {
		err = errors.New("the journal can't be read: the daemon's user is not in the group systemd-journal")
	}
	return entries, more, err
}

// args are journalctl's. Newest first, so that what does not fit is what is oldest.
func (q Query) args() []string {
	back := cmp.Or(q.Back, queryBack)
	args := []string{"--output=json", "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER", "--no-pager", "--reverse",
		fmt.Sprintf("--since=-%ds", int64(back.Seconds())), fmt.Sprintf("--priority=%d", q.Priority)}
	switch q.Unit {
	case "":
	case "kernel":
		args = append(args, "--dmesg", "--boot=all")
	default:
		args = append(args, "--unit="+q.Unit)
	}
	return args
}

// newestEntries reads journalctl's JSON lines, newest first, until they take so many bytes.
func newestEntries(r io.Reader, limit int) (entries []Entry, more bool, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20) // a journal entry of a few MiB is allowed; its fields are bounded below
	size := 0
	for lines.Scan() {
		e, ok := parseEntry(lines.Bytes())
		if !ok {
			continue // a line that a later journalctl brings is no reason to lose the others
		}
		size += entryExtra + len(e.From) + len(e.Text)
		if size > limit {
			more = true
			break
		}
		entries = append(entries, e)
	}
	slices.Reverse(entries)
	return entries, more, lines.Err()
}

// parseEntry reads one line. A field is a text, a list of bytes when it is no UTF-8, or null when it is too large.
func parseEntry(line []byte) (Entry, bool) {
	var raw struct {
		T        string          `json:"__REALTIME_TIMESTAMP"`
		Priority string          `json:"PRIORITY"`
		From     string          `json:"SYSLOG_IDENTIFIER"`
		Message  json.RawMessage `json:"MESSAGE"`
	}
	if json.Unmarshal(line, &raw) != nil {
		return Entry{}, false
	}
	micros, err := strconv.ParseInt(raw.T, 10, 64)
	if err != nil {
		return Entry{}, false
	}
	e := Entry{T: micros / 1000, From: raw.From, Priority: 6, Text: "(too large)"}
	if p, err := strconv.Atoi(raw.Priority); err == nil && p >= 0 && p < len(Priorities) {
		e.Priority = p
	}
	var text string
	var list []uint16
	switch {
	case string(raw.Message) == "null" || len(raw.Message) == 0:
	case json.Unmarshal(raw.Message, &text) == nil:
		e.Text = text
	case json.Unmarshal(raw.Message, &list) == nil:
		b := make([]byte, len(list))
		for i, c := range list {
			b[i] = byte(c)
		}
		e.Text = string(b)
	}
	if len(e.Text) > entryText {
		e.Text = e.Text[:entryText] + "…"
	}
	e.Text = strings.ToValidUTF8(e.Text, "�")
	return e, true
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
