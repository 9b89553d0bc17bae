package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestACandidateLeavesSomebodyWhoMayConfig holds that only a candidate with which nobody can come back is refused.
func TestACandidateLeavesSomebodyWhoMayConfig(t *testing.T) {
	with := func(operators string, more ...string) *site {
		t.Helper()
		dir := t.TempDir()
		file := filepath.Join(dir, "gatewayd.toml")
		if err := os.WriteFile(file, []byte("[gateway]\nname = \"gw1\"\n[platform]\nservers = [\"mqtt://127.0.0.1:1\"]\n"+strings.Join(more, "\n")+"\n"+operators), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := load(file, inFolder(dir), false, slog.New(slog.DiscardHandler))
		if err != nil || judgeSite(s, dir) != nil {
			t.Fatalf("%v, %v", err, judgeSite(s, dir))
		}
		return s
	}
	operator := func(verbs, level string) string {
		return fmt.Sprintf("[[operator]]\nname = \"control-room\"\nkey = \"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\nverbs = [%s]\nlevel = %q\n", verbs, level)
	}
	may, mayNot := with(operator(`"config"`, "configure")), with(operator(`"read"`, "admin"))
	for name, c := range map[string]struct {
		before, next *site
		refused      bool
	}{
		"the verb is taken away":         {may, mayNot, true},
		"the level is too low":           {may, with(operator(`"config"`, "operate")), true},
		"no operator is left":            {may, with(""), true},
		"one is left":                    {may, with(operator(`"read", "config"`, "admin")), false},
		"anybody may, without signature": {may, with("", `unsigned_verbs = ["config"]`), false},
		"nobody may now":                 {mayNot, with(""), false},
	} {
		err := staysOpen(c.before)(c.next)
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "lock_out") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
