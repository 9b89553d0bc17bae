package strict

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
	}{
		{"100ms", 100 * time.Millisecond}, {"10s", 10 * time.Second}, {"1.5s", 1500 * time.Millisecond},
		{"15m", 15 * time.Minute}, {"12h", 12 * time.Hour}, {"30d", 720 * time.Hour}, {"1h30m", 90 * time.Minute}, {"0s", 0},
	} {
		got, err := ParseDuration(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", c.text, got, err, c.want)
		}
		if again, err := ParseDuration(Duration(c.want)); err != nil || again != c.want {
			t.Errorf("Duration(%v) = %q does not come back: %v, %v", c.want, Duration(c.want), again, err)
		}
	}
	for _, text := range []string{"", "1", "s", "-1s", "1 y", "10s!", "1e3s", "NaNs", "1.2.3s", "99999999999999999999d", "10S"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, d)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"512MiB": 512 << 20, "1GiB": 1 << 30, "500MB": 500_000_000, "64 KiB": 64 << 10, "100B": 100, "1.5kB": 1500,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "512", "MiB", "1MiB2", "1mib", "-1MiB", "9999999999TiB"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, n)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"name", "line", "every", "port", "profile"}
	for word, want := range map[string]string{
		"evry": "every", "prot": "port", "Every": "every", "nmae": "name", "parity": "", "": "", "profil": "profile",
		strings.Repeat("x", 1000): "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestGoodName(t *testing.T) {
	for name, want := range map[string]bool{
		"pump-1": true, "A.b_c": true, "": false, "a/b": false, "a b": false, "ü": false, "a+": false,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
	} {
		if GoodName(name) != want {
			t.Errorf("GoodName(%q) = %v", name, !want)
		}
	}
}

// TestPlaces holds lines and columns in the cases that count otherwise than bytes.
func TestPlaces(t *testing.T) {
	const text = "\ufefftop = 1\r\n# ä comment\r\n[a]\r\nüber = 1\n" +
		"\"ö\" = 'x' # broken line above\nk.sub = [1, \"two\",\n  { x = 3 }]\n"
	var report Report
	doc := Parse("f.toml", []byte(text), &report)
	if len(doc.Tables) != 1 {
		t.Fatalf("%d tables, want 1", len(doc.Tables))
	}
	a := doc.Tables[0]
	for _, c := range []struct {
		what string
		got  Place
		want string
	}{
		{"top", doc.Root.Locate("top"), "f.toml:1:8"}, // the byte order mark counts as a character
		{"[a]", a.Place, "f.toml:3:2"},
		{"ö", a.Locate("ö"), "f.toml:5:7"},
		{"k.sub", a.Inner("k", "").Locate("sub"), "f.toml:6:9"},
		{"missing", a.Locate("missing"), "f.toml:3:2"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s stands at %s, want %s", c.what, c.got, c.want)
		}
	}
	problems := report.Problems()
	if len(problems) != 1 || problems[0].Line != 4 || problems[0].Column != 1 {
		t.Errorf("problems: %v; want one at 4:1", problems)
	}
	if !a.Failed() {
		t.Error("a table with a broken line has to be marked as failed")
	}
}

// TestBrokenTableDoesNotMissKeys: the key may have stood in the line that could not be read.
func TestBrokenTableDoesNotMissKeys(t *testing.T) {
	var report Report
	a := Parse("f.toml", []byte("[a]\nname = x\n"), &report).Tables[0]
	a.Need("name", "")
	if n := len(report.Problems()); n != 1 {
		t.Errorf("%d complaints, want the syntax error alone: %v", n, report.Problems())
	}
	if !a.Failed() {
		t.Error("the table is not marked as failed")
	}
}

func TestProblemJSON(t *testing.T) {
	p := Problem{Place: Place{"a.toml", 3, 4}, Severity: Warning, Text: "x"}
	got, err := json.Marshal(p)
	if want := `{"file":"a.toml","line":3,"column":4,"severity":"warning","text":"x"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// FuzzParse: no text may make the reader panic, and every complaint stands inside the text.
func FuzzParse(f *testing.F) {
	f.Add("[a]\nb = 1\n[[c]]\nd.e = [{x = 1}, [2]]\n")
	f.Add("a = \"")
	f.Add("[a\n[[b]\n=\n")
	f.Add("a = '''\nb\n'''\r\nc = 000\n")
	f.Fuzz(func(t *testing.T, text string) {
		var report Report
		doc := Parse("f", []byte(text), &report)
		for _, table := range append(doc.Tables, doc.Root) {
			for _, key := range table.Keys() {
				table.Text(key)
				table.Inner(key, "")
				table.ScalarList(key)
				table.Duration(key, 0, 0, time.Hour)
				table.Size(key, 0, 0, 1)
				table.Number(key, 0)
			}
			table.Done(nil)
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range report.Problems() {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Column > len(text)+1 {
				t.Errorf("%s is outside of the text", p)
			}
		}
	})
}
