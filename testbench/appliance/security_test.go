package appliance_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityTableNamesTestsThatExist keeps docs/security.md from pointing at nothing.
func TestSecurityTableNamesTestsThatExist(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	step := regexp.MustCompile(`step\("([\w-]+)", func`)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, ".txtar"):
			there[filepath.Base(path)] = true
		case strings.HasSuffix(path, "_test.go"):
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range function.FindAllSubmatch(source, -1) {
				there[string(m[1])] = true
			}
			for _, m := range step.FindAllSubmatch(source, -1) {
				there["step "+string(m[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+|[\\w-]+\\.txtar)`|(step) `([\\w-]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 40 {
		t.Fatalf("only %d tests are named: the table is not read as it is written", len(named))
	}
	for _, m := range named {
		what := m[1]
		if m[2] != "" {
			what = "step " + m[3]
		}
		if !there[what] {
			t.Errorf("docs/security.md names %s, which does not exist", what)
		}
	}
}
