package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

type entry struct {
	message  string
	priority journal.Priority
	fields   map[string]string
}

// recording gives a logger whose entries are kept instead of being sent.
func recording(level slog.Level) (*slog.Logger, *[]entry) {
	var entries []entry
	send := func(message string, p journal.Priority, fields map[string]string) error {
		entries = append(entries, entry{message, p, maps.Clone(fields)})
		return nil
	}
	return slog.New(newJournalHandler(level, send, slog.DiscardHandler)), &entries
}

func TestJournalEntry(t *testing.T) {
	log, entries := recording(slog.LevelInfo)
	log.Debug("not asked for")
	log.With("line", "rs485-1").WithGroup("device").With("name", "pump-1").
		Error("no answer", "level", 2.5, "error", errors.New(`bytes came: "01 83"`), "", "", slog.Group("wire", "crc", 0xbeef))
	if len(*entries) != 1 {
		t.Fatalf("%d entries, want 1: %+v", len(*entries), *entries)
	}
	got := (*entries)[0]
	if got.priority != journal.PriErr {
		t.Errorf("priority %d", got.priority)
	}
	want := `no answer line=rs485-1 device.name=pump-1 device.level=2.5 device.error="bytes came: \"01 83\"" ` +
		`device.="" device.wire.crc=48879`
	if got.message != want {
		t.Errorf("message:\n got %s\nwant %s", got.message, want)
	}
	for name, value := range map[string]string{
		"SYSLOG_IDENTIFIER":        "gatewayd",
		"GATEWAYD_LINE":            "rs485-1",
		"GATEWAYD_DEVICE_NAME":     "pump-1",
		"GATEWAYD_DEVICE_LEVEL":    "2.5",
		"GATEWAYD_DEVICE_WIRE_CRC": "48879",
	} {
		if got.fields[name] != value {
			t.Errorf("%s = %q, want %q", name, got.fields[name], value)
		}
	}
}

func TestJournalFieldNamesAreAllowed(t *testing.T) {
	for _, key := range []string{"", "_secret", "µ", "MESSAGE", "a b=c\nd", strings.Repeat("long", 40)} {
		name := fieldName(key)
		if len(name) > maxFieldName || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name[0] == '_' {
			t.Errorf("%q becomes %q", key, name)
		}
		if name == "MESSAGE" {
			t.Errorf("%q takes the place of the message", key)
		}
	}
}

func TestJournalPriorities(t *testing.T) {
	log, entries := recording(slog.LevelDebug)
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 4} {
		log.Log(context.Background(), l, "x")
	}
	want := []journal.Priority{journal.PriDebug, journal.PriInfo, journal.PriWarning, journal.PriErr, journal.PriErr}
	for i, e := range *entries {
		if e.priority != want[i] {
			t.Errorf("entry %d has priority %d, want %d", i, e.priority, want[i])
		}
	}
}

func TestSiblingLoggersShareNothing(t *testing.T) {
	log, entries := recording(slog.LevelInfo)
	parent := log.With("a", 1, "b", 2, "c", 3)
	one, two := parent.With("who", "one"), parent.With("who", "two")
	one.Info("x")
	two.Info("x")
	for i, who := range []string{"one", "two"} {
		if got := (*entries)[i].fields["GATEWAYD_WHO"]; got != who {
			t.Errorf("entry %d is of %q, want %q", i, got, who)
		}
	}
}

func TestAFailedSendFallsBack(t *testing.T) {
	var text bytes.Buffer
	refuse := func(string, journal.Priority, map[string]string) error { return errors.New("no socket") }
	h := newJournalHandler(slog.LevelInfo, refuse, slog.NewTextHandler(&text, nil))
	slog.New(h).With("line", "rs485-1").WithGroup("g").Warn("unplugged", "port", "/dev/ttyS1")
	for _, want := range []string{"unplugged", "line=rs485-1", "g.port=/dev/ttyS1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in %s", want, &text)
		}
	}
}

// TestJournalHandlerIsAHandler runs the standard library's own suite, on what the entries' fields say.
func TestJournalHandlerIsAHandler(t *testing.T) {
	var got map[string]any
	send := func(message string, p journal.Priority, fields map[string]string) error {
		text, _, _ := strings.Cut(message, " ")
		got = map[string]any{slog.MessageKey: text, slog.LevelKey: p}
		for name, value := range fields {
			if key, ours := strings.CutPrefix(name, fieldPrefix); ours {
				nest(got, strings.Split(key, "_"), value)
			}
		}
		return nil
	}
	slogtest.Run(t, func(*testing.T) slog.Handler {
		return newJournalHandler(slog.LevelInfo, send, slog.DiscardHandler)
	}, func(t *testing.T) map[string]any {
		// The journal stamps every entry by itself; only the case that forbids a time must not see one.
		if !strings.HasSuffix(t.Name(), "/zero-time") {
			got[slog.TimeKey] = time.Now()
		}
		return got
	})
}

// nest puts the value under its path, one map for each group.
func nest(m map[string]any, path []string, value string) {
	for _, group := range path[:len(path)-1] {
		group = suiteKey(group)
		if m[group] == nil {
			m[group] = map[string]any{}
		}
		m = m[group].(map[string]any)
	}
	m[suiteKey(path[len(path)-1])] = value
}

// suiteKey undoes fieldName for the names that slogtest uses: groups are in capitals, keys are not.
func suiteKey(s string) string {
	if s == "G" || s == "H" {
		return s
	}
	return strings.ToLower(s)
}

func TestHandlerFollowsJournalStream(t *testing.T) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(os.Stderr.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stream  string
		journal bool
	}{
		{"", false},
		{"nonsense", false},
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino+1), false},
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino), true},
	} {
		t.Setenv("JOURNAL_STREAM", c.stream)
		if _, got := LogHandler(slog.LevelInfo).(*journalHandler); got != c.journal {
			t.Errorf("JOURNAL_STREAM=%q: journal %v, want %v", c.stream, got, c.journal)
		}
	}
}
