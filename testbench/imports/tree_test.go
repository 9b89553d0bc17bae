package imports

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that stands at the root: the folders are the architecture.
var topLevel = []string{
	".ci", ".git", ".github", ".gitignore", "LICENSE", "README.md", "adapters", "buffer", "docs", "gatewayd", "go.mod", "go.sum",
	"packaging", "staticcheck.conf", "systemd", "testbench",
}

// saysNothing are names for folders that would say nothing of what is in them.
var saysNothing = []string{"common", "helper", "helpers", "internal", "lib", "misc", "pkg", "types", "util", "utils"}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), ".go"):
			t.Errorf("%s: no .go file at the root; a program has its folder", e.Name())
		case !slices.Contains(topLevel, e.Name()):
			t.Errorf("%s: not at the root: docs/ and packaging/ take what is not code; else add it to topLevel in testbench/imports",
				e.Name())
		}
	}
}

func TestPackageNames(t *testing.T) {
	for _, p := range house(t) {
		for _, element := range strings.Split(p.path, "/") {
			if slices.Contains(saysNothing, element) {
				t.Errorf("%s: %q says nothing of what it holds; name it for what it does, or put it where it is used", p.path, element)
			}
		}
		for _, f := range p.files {
			if name := f.syntax.Name.Name; !f.test && name != "main" && name != path.Base(p.path) {
				t.Errorf("%s: package %s in a folder %s", f.path, name, path.Base(p.path))
			}
		}
	}
}
