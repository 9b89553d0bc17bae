package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/gatewayd/audit"
)

const now = 1763925256123

func open(t *testing.T, dir string, o audit.Options) (*audit.Log, []audit.Entry) {
	t.Helper()
	if o.Now == nil {
		o.Now = func() int64 { return now }
	}
	l, entries, broken, err := audit.Open(dir, o)
	if err != nil || broken != nil {
		t.Fatalf("open: %v, broken: %v", err, broken)
	}
	t.Cleanup(func() { l.Close() })
	return l, entries
}

func add(t *testing.T, l *audit.Log, id string, expires int64) audit.Entry {
	t.Helper()
	e, err := l.Append(audit.Entry{Kind: audit.Taken, ID: id, Verb: "write", Operator: "control-room", Expires: expires}, true)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// files gives the log's files, the oldest first.
func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEntriesComeBackInAChain(t *testing.T) {
	dir := t.TempDir()
	l, entries := open(t, dir, audit.Options{})
	if len(entries) != 0 {
		t.Fatalf("a new log has %d entries", len(entries))
	}
	first, second := add(t, l, "a", 0), add(t, l, "b", 0)
	if first.N != 1 || second.N != 2 || second.Prev != first.Hash || first.Hash == "" {
		t.Fatalf("no chain: %+v, %+v", first, second)
	}
	l.Close()
	if _, err := l.Append(audit.Entry{}, true); err == nil {
		t.Error("a closed log takes entries")
	}
	l, entries = open(t, dir, audit.Options{})
	if len(entries) != 2 || entries[1].ID != "b" || entries[1].Hash != second.Hash {
		t.Fatalf("came back: %+v", entries)
	}
	if third := add(t, l, "c", 0); third.N != 3 || third.Prev != second.Hash {
		t.Errorf("the chain does not go on after a restart: %+v", third)
	}
	s, err := audit.Verify(dir, second.N, second.Hash)
	if err != nil || s.Entries != 3 || s.First != 1 || s.Last != 3 {
		t.Errorf("verify: %+v, %v", s, err)
	}
}

func TestVerifyFindsWhatWasDone(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, audit.Options{})
	for _, id := range []string{"a", "b", "c"} {
		add(t, l, id, 0)
	}
	last := add(t, l, "d", 0)
	l.Close()
	name := files(t, dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	for what, c := range map[string]struct {
		text []byte
		want string
	}{
		"a word is changed":     {bytes.Replace(whole, []byte(`"id":"b"`), []byte(`"id":"x"`), 1), "line 2: the line was changed"},
		"a line is taken out":   {join(lines[0], lines[2], lines[3]), "line 2: entry 3 does not follow entry 1"},
		"a line is repeated":    {join(lines[0], lines[0], lines[1]), "line 2: entry 1 does not follow entry 1"},
		"lines change places":   {join(lines[0], lines[2], lines[1]), "line 2: entry 3 does not follow"},
		"the end is cut off":    {join(lines[0], lines[1]), "its end was cut off"},
		"the beginning is gone": {join(lines[2], lines[3]), ""},
		"garbage follows":       {append(bytes.Clone(whole), "hello\n"...), "line 5: the line is too short"},
	} {
		if err := os.WriteFile(name, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := audit.Verify(dir, last.N, last.Hash)
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}

func TestATornLastLineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, audit.Options{})
	add(t, l, "a", 0)
	add(t, l, "b", 0)
	l.Close()
	name := files(t, dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	second := bytes.IndexByte(whole, '\n') + 1
	for cut := second + 1; cut < len(whole); cut++ {
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := audit.Verify(dir, 0, ""); err != nil || !s.Torn {
			t.Fatalf("cut at %d: verify says %+v, %v", cut, s, err)
		}
		l, entries := open(t, dir, audit.Options{})
		if len(entries) != 1 {
			t.Fatalf("cut at %d: %d entries", cut, len(entries))
		}
		if e := add(t, l, "c", 0); e.N != 2 {
			t.Fatalf("cut at %d: the next entry is %d", cut, e.N)
		}
		l.Close()
	}
}

func TestABrokenLogIsSetAside(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, audit.Options{})
	add(t, l, "a", 0)
	add(t, l, "b", 0)
	l.Close()
	name := files(t, dir)[0]
	whole, _ := os.ReadFile(name)
	if err := os.WriteFile(name, bytes.Replace(whole, []byte(`"id":"a"`), []byte(`"id":"x"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	l, entries, broken, err := audit.Open(dir, audit.Options{Now: func() int64 { return now }})
	if err != nil || broken == nil || len(entries) != 1 || entries[0].Kind != audit.Anew {
		t.Fatalf("got %v, broken %v, %+v", err, broken, entries)
	}
	l.Close()
	if _, err := os.Stat(filepath.Join(dir, "broken-1", filepath.Base(name))); err != nil {
		t.Errorf("what was broken is gone: %v", err)
	}
	// A crash may come before the first entry of the new one.
	if err := os.Truncate(files(t, dir)[0], 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, entries := open(t, dir, audit.Options{})
		if len(entries) != 1 || entries[0].Kind != audit.Anew {
			t.Errorf("opened again: %+v", entries)
		}
		l.Close()
	}
}

func TestAnUnusableLogSaysWhy(t *testing.T) {
	l := audit.Unusable(os.ErrPermission)
	if _, err := l.Append(audit.Entry{}, true); !errors.Is(err, os.ErrPermission) {
		t.Errorf("append: %v", err)
	}
	if n, hash := l.Head(); n != 0 || hash != "" {
		t.Errorf("head: %d %q", n, hash)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestRotationKeepsTheChainAndLiveCommands(t *testing.T) {
	dir := t.TempDir()
	at := int64(now)
	o := audit.Options{Size: 1000, Files: 3, Now: func() int64 { return at }}
	l, _ := open(t, dir, o)
	var full int
	for i := range 40 {
		_, err := l.Append(audit.Entry{Kind: audit.Taken, ID: fmt.Sprint(i), Expires: now + 60_000}, i%2 == 0)
		if errors.Is(err, audit.ErrFull) {
			full++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if full == 0 {
		t.Fatal("commands that have not expired were rotated away")
	}
	at += 61_000
	for i := range 40 {
		if _, err := l.Append(audit.Entry{Kind: audit.Note, Text: fmt.Sprint(i)}, false); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if n := len(files(t, dir)); n != 3 {
		t.Errorf("%d files are kept", n)
	}
	s, err := audit.Verify(dir, 0, "")
	if err != nil || s.First == 1 {
		t.Errorf("after rotation: %+v, %v", s, err)
	}
	_, entries := open(t, dir, o)
	if len(entries) != s.Entries {
		t.Errorf("%d entries come back of %d", len(entries), s.Entries)
	}
	if _, err := audit.Verify(dir, 1, "ab"); err == nil || !strings.Contains(err.Error(), "rotated away") {
		t.Errorf("an entry that was rotated away: %v", err)
	}
}
