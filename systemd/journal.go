package systemd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/coreos/go-systemd/v22/journal"
)

// fieldPrefix keeps an attribute from passing for one of the journal's own fields, such as MESSAGE or UNIT.
const fieldPrefix = "GATEWAYD_"

// maxFieldName is what the journal allows (journald drops a longer one).
const maxFieldName = 64

// LogHandler gives the handler for the daemon's log: the journal when stderr is connected to it, which $JOURNAL_STREAM
// tells, else text on stderr. In the journal a record's message carries its attributes for people, and each of them
// stands in a field of its own as well, so that `journalctl GATEWAYD_DEVICE=pump-1` finds it.
func LogHandler(level slog.Leveler) slog.Handler {
	text := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	if connected, err := journal.StderrIsJournalStream(); err != nil || !connected {
		return text
	}
	return newJournalHandler(level, journal.Send, text)
}

type sendFunc func(message string, p journal.Priority, fields map[string]string) error

// journalHandler speaks the journal's own protocol. What could not be sent goes to the fallback: stderr is the
// journal too, only without fields.
type journalHandler struct {
	level    slog.Leveler
	send     sendFunc
	fallback slog.Handler
	attrs    []slog.Attr // their keys carry the groups that were open
	group    string      // the open groups, each followed by a dot
}

func newJournalHandler(level slog.Leveler, send sendFunc, fallback slog.Handler) *journalHandler {
	return &journalHandler{level: level, send: send, fallback: fallback}
}

// Enabled is part of slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle is part of slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = appendAttr(attrs, h.group, a)
		return true
	})
	fields := map[string]string{"SYSLOG_IDENTIFIER": "gatewayd"}
	for _, a := range attrs {
		fields[fieldName(a.Key)] = a.Value.String()
	}
	if err := h.send(message(r.Message, attrs), priority(r.Level), fields); err != nil {
		return errors.Join(err, h.fallback.Handle(ctx, r))
	}
	return nil
}

// WithAttrs is part of slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		with.attrs = appendAttr(with.attrs, h.group, a)
	}
	with.fallback = h.fallback.WithAttrs(attrs)
	return &with
}

// WithGroup is part of slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.group += name + "."
	with.fallback = h.fallback.WithGroup(name)
	return &with
}

// appendAttr appends the attribute with its groups in its key, a group as its members.
func appendAttr(to []slog.Attr, group string, a slog.Attr) []slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() != slog.KindGroup {
		if a.Equal(slog.Attr{}) {
			return to
		}
		a.Key = group + a.Key
		return append(to, a)
	}
	if a.Key != "" {
		group += a.Key + "."
	}
	for _, member := range a.Value.Group() {
		to = appendAttr(to, group, member)
	}
	return to
}

// message is the line that people read.
func message(text string, attrs []slog.Attr) string {
	b := []byte(text)
	for _, a := range attrs {
		b = append(append(append(b, ' '), a.Key...), '=')
		if v := a.Value.String(); v == "" || strings.ContainsFunc(v, needsQuotes) {
			b = strconv.AppendQuote(b, v)
		} else {
			b = append(b, v...)
		}
	}
	return string(b)
}

func needsQuotes(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !unicode.IsPrint(r) }

// fieldName is an attribute's name as the journal allows it: A–Z, 0–9 and underscores.
func fieldName(key string) string {
	name := fieldPrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
	if len(name) > maxFieldName {
		name = name[:maxFieldName]
	}
	return name
}

func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}
