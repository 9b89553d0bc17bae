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

// TestPrintRadios: the tables of a radio stand there where there is one, and say what is known and nothing else.
func TestPrintRadios(t *testing.T) {
	print := func(s health.Status) string {
		var b strings.Builder
		s.Print(&b)
		var lines []string
		for line := range strings.Lines(b.String()) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	level := 0.0
	s := health.Status{Now: 100_000, Lines: []health.Line{{Name: "rs485-1"}}, Devices: []health.Device{{Name: "meter", Line: "rs485-1", Address: "1"}}}
	if got := print(s); strings.Contains(got, "RADIO") || strings.Contains(got, "ON AIR") {
		t.Errorf("there is no radio:\n%s", got)
	}
	s.Lines = append(s.Lines,
		health.Line{Name: "upstairs", Where: "hci0", Radio: &health.Radio{Adapter: "hci0", Address: "00:1A:7D:DA:71:13", Mode: "passive", Heard: 99_800,
			Adverts: 170, Repeats: 3, Strangers: 4, Dropped: 5, Truncated: 1, Unknown: 2, Key: 6, Replayed: 7, Plain: 8}},
		health.Line{Name: "yard", Where: "hci1", Radio: &health.Radio{Adapter: "hci1", Mode: "off"}})
	s.Devices = append(s.Devices,
		health.Device{Name: "hall", Line: "upstairs", Address: "C0:00:00:00:00:01", Air: &health.Air{RSSI: -60, Heard: 55_000, Battery: &level, Format: "bthome", Adverts: 9, Repeats: 8, Connected: true}},
		health.Device{Name: "cellar", Line: "upstairs", Address: "C0:00:00:00:00:02", Air: &health.Air{Refused: 7, Refusal: "replayed: message 8 after 9"}})
	got := print(s)
	for _, want := range []string{
		"upstairs hci0 00:1A:7D:DA:71:13 passive 0.2 s ago 170 3 4 5 1 cut short, 2 unknown, 6 not decrypted, 7 replayed, 8 not encrypted\n",
		"yard hci1 off never 0 0 0 0 0\n",
		"hall -60 dBm, connected 45 s ago 0 % bthome 9 8 0 upstairs\n",
		"cellar - never - - 0 0 7 upstairs\n",
		"cellar was refused last: replayed: message 8 after 9\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\nmeter -") {
		t.Errorf("a meter is on the air:\n%s", got)
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
