package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/gatewayd/config"
)

var update = flag.Bool("update", false, "write what Load says into testdata/*/expected.txt")

// TestComplaints runs every folder of testdata: what Load says of its gatewayd.toml is its expected.txt.
func TestComplaints(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/gatewayd.toml")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("found %d cases (%v)", len(dirs), err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Chdir(dir)
			_, problems, err := config.Load("gatewayd.toml", build())
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, p := range problems {
				if p.Fatal {
					b.WriteString("[fatal] ")
				}
				b.WriteString(p.String() + "\n")
			}
			if *update {
				if err := os.WriteFile("expected.txt", []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile("expected.txt")
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("Load says:\n%s\nexpected:\n%s", b.String(), want)
			}
		})
	}
}
