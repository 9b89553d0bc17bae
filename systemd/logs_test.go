package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// journalctl puts a program of that name first in the PATH. It writes its arguments to a file, which is returned.
func journalctl(t *testing.T, script string) (args string) {
	t.Helper()
	dir := t.TempDir()
	args = filepath.Join(dir, "args")
	text := fmt.Sprintf("#!/bin/sh\nfor a; do echo \"$a\"; done > %s\n%s\n", args, script)
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return args
}

func TestJournal(t *testing.T) {
	args := journalctl(t, `cat <<'X'
{"__REALTIME_TIMESTAMP":"1764500003000000","PRIORITY":"4","SYSLOG_IDENTIFIER":"gatewayd","MESSAGE":"third"}
{"__REALTIME_TIMESTAMP":"1764500002000000","PRIORITY":"3","SYSLOG_IDENTIFIER":"gatewayd","MESSAGE":[104,195,40,105]}
not JSON at all
{"__REALTIME_TIMESTAMP":"1764500001000000","SYSLOG_IDENTIFIER":"kernel","MESSAGE":null}
X`)
	got, more, err := Journal(t.Context(), Query{Unit: "gatewayd.service", Back: 90 * time.Second, Priority: 4})
	if err != nil || more {
		t.Fatalf("more %v, error %v", more, err)
	}
	want := []Entry{{1764500001000, 6, "kernel", "(too large)"}, {1764500002000, 3, "gatewayd", "h�(i"}, {1764500003000, 4, "gatewayd", "third"}}
	if !slices.Equal(got, want) {
		t.Errorf("entries %+v\nwant    %+v", got, want)
	}
	text, err := os.ReadFile(args)
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"--since=-90s", "--priority=4", "--unit=gatewayd.service", "--reverse", "--output=json"} {
		if !slices.Contains(strings.Fields(string(text)), arg) {
			t.Errorf("journalctl was not given %s:\n%s", arg, text)
		}
	}
}

// TestJournalIsBounded holds that a journal without end is left as soon as enough was read.
func TestJournalIsBounded(t *testing.T) {
	journalctl(t, `while :; do echo '{"__REALTIME_TIMESTAMP":"1764500003000000","PRIORITY":"6","MESSAGE":"again and again"}'; done`)
	got, more, err := Journal(t.Context(), Query{Bytes: 10_000})
	if err != nil || !more || len(got) < 100 || len(got) > 200 {
		t.Errorf("%d entries, more %v, error %v; want 100 to 200, more, none", len(got), more, err)
	}
}

func TestJournalSaysWhy(t *testing.T) {
	journalctl(t, `echo "Failed to add match: Invalid argument" >&2; exit 1`)
	if _, _, err := Journal(t.Context(), Query{}); err == nil || !strings.Contains(err.Error(), "Invalid argument") {
		t.Errorf("a failure: %v", err)
	}
	journalctl(t, `echo "Hint: You are currently not seeing messages from other users and the system." >&2`)
	if _, _, err := Journal(t.Context(), Query{}); err == nil || !strings.Contains(err.Error(), "systemd-journal") {
		t.Errorf("without the group: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err := Journal(t.Context(), Query{}); err == nil {
		t.Error("without journalctl there is no error")
	}
}
