package link

import (
	"strings"
	"testing"
	"time"
)

func TestParseMode(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Mode
	}{
		{"9600 8N1", Mode{9600, 8, 'N', 1}},
		{"2400 8E1", Mode{2400, 8, 'E', 1}},
		{" 14400  7o2 ", Mode{14400, 7, 'O', 2}},
		{"50 8N2", Mode{50, 8, 'N', 2}},
		{"4000000 8N1", Mode{4000000, 8, 'N', 1}},
	} {
		got, err := ParseMode(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseMode(%q) = %v, %v, want %v", c.in, got, err, c.want)
		}
		if again, err := ParseMode(got.String()); err != nil || again != got {
			t.Errorf("%q does not survive String: %q", c.in, got)
		}
	}
	for in, says := range map[string]string{
		"":              "9600 8N1",
		"9600":          "baud rate, a blank",
		"9600 8 N 1":    "baud rate, a blank",
		"fast 8N1":      "50 to 4000000",
		"49 8N1":        "50 to 4000000",
		"4000001 8N1":   "50 to 4000000",
		"-9600 8N1":     "50 to 4000000",
		"9600 8N":       "8N1, 8E1 or 7E1",
		"9600 8N1.5":    "8N1, 8E1 or 7E1",
		"9600 6N1":      "7 and 8",
		"9600 8M1":      "N (none), E (even) and O (odd)",
		"9600 8N3":      "1 and 2",
		"9600 \u00e9N1": "8N1, 8E1 or 7E1",
	} {
		if m, err := ParseMode(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("ParseMode(%q) = %v, %v, want an error that says %q", in, m, err, says)
		}
	}
}

func TestModeTimes(t *testing.T) {
	for _, c := range []struct {
		mode          string
		char, silence time.Duration
	}{
		{"9600 8N1", 1041666 * time.Nanosecond, 3645833 * time.Nanosecond},
		{"9600 8E1", 1145833 * time.Nanosecond, 4010416 * time.Nanosecond},
		{"19200 8N1", 520833 * time.Nanosecond, 1822916 * time.Nanosecond},
		{"38400 8N2", 286458 * time.Nanosecond, 1750 * time.Microsecond},
		{"115200 7E1", 86805 * time.Nanosecond, 1750 * time.Microsecond},
		{"300 7E1", 33333333 * time.Nanosecond, 116666666 * time.Nanosecond},
	} {
		m, err := ParseMode(c.mode)
		if err != nil {
			t.Fatal(err)
		}
		if m.Char() != c.char || m.Silence() != c.silence {
			t.Errorf("%s: char %v, silence %v, want %v, %v", c.mode, m.Char(), m.Silence(), c.char, c.silence)
		}
	}
}
