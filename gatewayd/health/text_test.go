package health_test

import (
	"strings"
	"testing"

	"edgegateway/gatewayd/health"
)

func TestDurationAndSize(t *testing.T) {
	for in, want := range map[float64]string{0: "0 s", 0.25: "0.2 s", 45: "45 s", 720: "12 min", 12600: "3.5 h", 967680: "11.2 d"} {
		if got := health.Duration(in); got != want {
			t.Errorf("Duration(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{512: "512 B", 13 << 20: "13.0 MiB", 1536: "1.5 KiB", 3 << 40: "3.0 TiB"} {
		if got := health.Size(in); got != want {
			t.Errorf("Size(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestPrintSaysWhatIsWrongFirst(t *testing.T) {
	s := health.Status{Gateway: "gw1", Problems: []string{"rs485-1 is down"}, Now: 2000, Since: 1000,
		Lines: []health.Line{{Name: "rs485-1", Where: "/dev/ttyS1"}}}
	var b strings.Builder
	s.Print(&b)
	lines := strings.Split(b.String(), "\n")
	if len(lines) < 2 || lines[1] != "! rs485-1 is down" || strings.Contains(b.String(), "all is well") {
		t.Errorf("got\n%s", b.String())
	}
}

func TestBalanced(t *testing.T) {
	s := health.Status{Platforms: []health.Platform{{Books: []health.Books{{Taken: 3, Delivered: 1, Buffered: 1, Lost: 1}}}}}
	if !s.Balanced() {
		t.Error("these books balance")
	}
	s.Platforms[0].Books[0].Lost = 0
	if s.Balanced() {
		t.Error("these do not")
	}
}
