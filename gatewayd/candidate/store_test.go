package candidate_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/gatewayd/candidate"
)

type box struct {
	t         *testing.T
	dir, main string
}

func newBox(t *testing.T) *box {
	dir := t.TempDir()
	b := &box{t, filepath.Join(dir, "state"), filepath.Join(dir, "etc", "gatewayd.toml")}
	b.put("etc/gatewayd.toml", "main")
	b.put("etc/conf.d/10-a.toml", "a")
	return b
}

func (b *box) put(name, text string) {
	b.t.Helper()
	file := filepath.Join(filepath.Dir(filepath.Dir(b.main)), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) open(resume int) *candidate.Store {
	b.t.Helper()
	s, err := candidate.Open(b.dir, b.main, resume)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// runs says what the store has us run.
func (b *box) runs(s *candidate.Store) string {
	b.t.Helper()
	text, err := os.ReadFile(s.File())
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// try puts a configuration on trial.
func (b *box) try(s *candidate.Store, main, secret string) int {
	b.t.Helper()
	old, err := s.Files()
	if err != nil {
		b.t.Fatal(err)
	}
	f := old.Clone()
	f[candidate.Main] = []byte(main)
	if secret != "" {
		f["credentials/platform-secret"] = []byte(secret)
	}
	n, _, err := s.Prepare(f)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := s.Begin(candidate.Trial{Generation: n, Old: old.Hash(), New: f.Hash(), Operator: "control-room", ID: "7"}); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func TestATrialIsKeptOrReturns(t *testing.T) {
	b := newBox(t)
	s := b.open(0)
	if got := b.runs(s); got != "main" || s.FromAfar() {
		t.Fatalf("at first %q runs", got)
	}
	n := b.try(s, "second", "s3cret")
	if got := b.runs(s); got != "second" {
		t.Errorf("on trial runs %q", got)
	}
	if secret, _ := os.ReadFile(s.Secret("platform-secret", "/none")); string(secret) != "s3cret" {
		t.Errorf("the secret is %q", secret)
	}
	if got := s.Secret("other", "/etc/credentials"); got != "/etc/credentials/other" {
		t.Errorf("a secret that did not come from afar: %s", got)
	}
	if _, _, err := s.Prepare(candidate.Files{candidate.Main: nil}); err == nil {
		t.Error("a configuration without a main file is taken")
	}
	if _, _, err := s.Prepare(candidate.Files{candidate.Main: []byte("x")}); !errors.Is(err, candidate.ErrBusy) {
		t.Errorf("a second trial: %v", err)
	}
	// Started anew for the trial: it goes on.
	s = b.open(n)
	if b.runs(s) != "second" || s.Trial() == nil || s.Note() != "" {
		t.Fatalf("resumed: %q, %+v, %s", b.runs(s), s.Trial(), s.Note())
	}
	if err := s.End(true, "good", nil); err != nil {
		t.Fatal(err)
	}
	s = b.open(0)
	if o := s.Outcome(); b.runs(s) != "second" || o == nil || !o.Kept || o.ID != "7" {
		t.Fatalf("kept: %q, %+v", b.runs(s), o)
	}
	b.try(s, "third", "")
	if err := s.End(false, "bad", nil); err != nil {
		t.Fatal(err)
	}
	s = b.open(0)
	if o := s.Outcome(); b.runs(s) != "second" || o == nil || o.Kept || o.Text != "bad" {
		t.Errorf("returned: %q, %+v", b.runs(s), o)
	}
	generations, _ := filepath.Glob(filepath.Join(b.dir, "gen-*"))
	if len(generations) != 1 {
		t.Errorf("generations that are left: %q", generations)
	}
}

func TestAStopDuringATrialBringsTheOldOneBack(t *testing.T) {
	b := newBox(t)
	s := b.open(0)
	n := b.try(s, "second", "")
	s = b.open(n + 1)
	if o := s.Outcome(); b.runs(s) != "main" || o == nil || o.Kept || o.ID != "7" || s.Note() == "" {
		t.Errorf("after a crash: %q, %+v, %q", b.runs(s), o, s.Note())
	}
	s = b.open(n) // too late: the trial is over
	if b.runs(s) != "main" || s.Trial() != nil || s.Outcome() == nil {
		t.Errorf("after another: %q", b.runs(s))
	}
}

// TestATrialEndsOnAFullDisk holds that a configuration that is no good does not stay because that cannot be written.
func TestATrialEndsOnAFullDisk(t *testing.T) {
	b := newBox(t)
	s := b.open(0)
	b.try(s, "second", "")
	state := filepath.Join(b.dir, "state.json")
	written, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(state), os.MkdirAll(filepath.Join(state, "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := s.End(true, "good", nil); err == nil || s.Trial() == nil {
		t.Errorf("kept though it cannot be written: %v, %+v", err, s.Trial())
	}
	if err := s.End(false, "bad", nil); err == nil || b.runs(s) != "main" || s.Trial() != nil {
		t.Errorf("given back: %v, %q runs, %+v", err, b.runs(s), s.Trial())
	}
	if o := s.Outcome(); o == nil || o.Kept || o.Text != "bad" {
		t.Errorf("outcome %+v", o)
	}
	// The disk has room again: what stands there has the trial still, which the next start ends, or the next trial.
	if err := errors.Join(os.RemoveAll(state), os.WriteFile(state, written, 0o600)); err != nil {
		t.Fatal(err)
	}
	b.try(s, "third", "")
	if got := b.runs(s); got != "third" {
		t.Errorf("the next one on trial: %q runs", got)
	}
	if s = b.open(0); b.runs(s) != "main" {
		t.Errorf("after a start %q runs", b.runs(s))
	}
}

func TestTheInstallersFilesGoFirstWhenTheyChange(t *testing.T) {
	b := newBox(t)
	s := b.open(0)
	b.try(s, "second", "")
	if err := s.End(true, "", nil); err != nil {
		t.Fatal(err)
	}
	b.put("etc/conf.d/10-a.toml", "a, changed")
	s = b.open(0)
	if b.runs(s) != "main" || !strings.Contains(s.Note(), "installer") {
		t.Errorf("runs %q, note %q", b.runs(s), s.Note())
	}
	if s = b.open(0); s.Note() != "" {
		t.Errorf("said again: %q", s.Note())
	}
	// Nor does another trial, good or bad, take their change for one that was taken up.
	for _, kept := range []bool{true, false} {
		b.try(s, "third", "")
		if err := s.End(true, "", nil); err != nil {
			t.Fatal(err)
		}
		b.put("etc/conf.d/10-a.toml", fmt.Sprint("a, changed again ", kept))
		b.try(s, "fourth", "")
		if err := s.End(kept, "", nil); err != nil {
			t.Fatal(err)
		}
		if _, newer := s.Installer(); !newer {
			t.Errorf("kept %v: the installer's change is forgotten", kept)
		}
		if s = b.open(0); b.runs(s) != "main" || !strings.Contains(s.Note(), "installer") {
			t.Errorf("kept %v: runs %q, note %q", kept, b.runs(s), s.Note())
		}
	}
}

// TestEveryCutLeavesAWholeConfiguration takes the state's file and folders as a power cut may leave them between any two
// steps of a trial.
func TestEveryCutLeavesAWholeConfiguration(t *testing.T) {
	b := newBox(t)
	s := b.open(0)
	f, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	f = f.Clone()
	f[candidate.Main] = []byte("second")
	if _, _, err := s.Prepare(f); err != nil {
		t.Fatal(err)
	}
	if got := b.runs(b.open(0)); got != "main" { // prepared, and nothing refers to it
		t.Errorf("prepared: %q runs", got)
	}
	s = b.open(0)
	n, _, err := s.Prepare(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "gen-99.new", "conf.d"), 0o700); err != nil { // half written
		t.Fatal(err)
	}
	if got := b.runs(b.open(n)); got != "main" {
		t.Errorf("half written: %q runs", got)
	}
	if _, _, err = b.open(0).Prepare(f); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "gen-99.new")); err == nil {
		t.Error("what was half written stays for ever")
	}
	if err := os.WriteFile(filepath.Join(b.dir, "state.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := b.open(0); b.runs(s) != "main" || s.Note() == "" {
		t.Errorf("an unreadable state: %q runs, note %q", b.runs(s), s.Note())
	}
}

func TestNamesOfFiles(t *testing.T) {
	for _, name := range []string{"gatewayd.toml", "conf.d/a.toml", "profiles/b.toml", "credentials/platform-secret"} {
		if err := candidate.CheckName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "other.toml", "/etc/passwd", "../x.toml", "conf.d/../../x.toml", "conf.d/", "conf.d/.a.toml", "conf.d/a.txt", "credentials/../x", "credentials/.x", "conf.d/a/b.toml", "credentials/a\x00"} {
		if candidate.CheckName(name) == nil {
			t.Errorf("%q is allowed", name)
		}
	}
}
