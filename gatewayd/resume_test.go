package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"edgegateway/gatewayd/candidate"
)

// TestATrialThatCannotBeLoadedLeavesTheKeptOne holds that a start which cannot load what is on trial runs what was kept
// from afar before, and the installer's files only when that cannot be loaded either.
func TestATrialThatCannotBeLoadedLeavesTheKeptOne(t *testing.T) {
	dir := t.TempDir()
	main, log := filepath.Join(dir, "gatewayd.toml"), slog.New(slog.DiscardHandler)
	named := func(name string) []byte {
		return fmt.Appendf(nil, "[gateway]\nname = %q\n\n[platform]\nservers = [\"mqtt://127.0.0.1:1\"]\n", name)
	}
	if err := os.WriteFile(main, named("installed"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := candidate.Open(filepath.Join(dir, "state"), main, 0)
	if err != nil {
		t.Fatal(err)
	}
	try := func(text []byte) (generation int, file string) {
		t.Helper()
		generation, file, err := kept.Prepare(candidate.Files{candidate.Main: text})
		if err == nil {
			err = kept.Begin(candidate.Trial{Generation: generation})
		}
		if err != nil {
			t.Fatal(err)
		}
		return generation, file
	}
	runs := func(resume int, want string) {
		t.Helper()
		if kept, err = candidate.Open(filepath.Join(dir, "state"), main, resume); err != nil {
			t.Fatal(err)
		}
		s, err := loadKept(kept, dir, log)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.config.Gateway.Name; got != want || kept.Trial() != nil {
			t.Errorf("%q runs, want %q; trial %+v", got, want, kept.Trial())
		}
	}
	_, good := try(named("kept"))
	if err := kept.End(true, "good", nil); err != nil {
		t.Fatal(err)
	}
	generation, _ := try([]byte("[gateway"))
	runs(generation, "kept")
	if err := os.WriteFile(good, nil, 0o600); err != nil { // the flash spoilt it
		t.Fatal(err)
	}
	runs(0, "installed")
}
