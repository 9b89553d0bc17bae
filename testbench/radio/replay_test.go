package radio

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/sim/ble"
)

// cellar is the device with encrypted messages, as it is configured.
func cellar(quirks string) string {
	return fmt.Sprintf("\n[[device]]\nname = \"cellar\"\nline = \"radio\"\nprotocol = \"ble\"\naddress = %q\nquirks = { key = \"cellar-key\"%s }\n"+
		"\n[[tag]]\ndevice = \"cellar\"\nname = \"t\"\nat = \"temperature\"\n", cellarAddress, quirks)
}

// TestReplayAfterRestart: what was recorded before a restart is refused after it, until the device leaves the
// configuration or is said to have begun anew.
func TestReplayAfterRestart(t *testing.T) {
	s := newSite(t, line+cellar(""))
	d := s.add(cellarAddress, "")
	stranger := s.add("00:11:22:33:44:55", "")
	// one says a message, and what became of all of them, since the line began, it judges once a stranger is heard behind it.
	one := func(number uint32, heard, refused, repeats uint64) {
		t.Helper()
		a, err := ble.SealedBTHome(cellarAddress, cellarKey, number, 0x02, 0xD0, 0x07)
		if err != nil {
			t.Fatal(err)
		}
		s.say(d, a)
		s.say(stranger, ble.BTHome(byte(heard), 2000))
		h := s.await("both are heard", func(h *health.Status) bool { return h.Lines[0].Radio.Adverts == 2*heard })
		if air := h.Devices[0].Air; air.Adverts != heard || air.Refused != refused || air.Repeats != repeats {
			t.Fatalf("message %d: %+v; want %d heard, %d refused, %d repeated", number, air, heard, refused, repeats)
		}
	}
	file := filepath.Join(s.Dir, "state", "ble-counts.json")

	s.start()
	one(5000, 1, 0, 0)
	one(5001, 2, 0, 0)
	s.stop()
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), cellarKey) {
		t.Errorf("the file: %s, %v", text, err)
	}

	s.start()
	one(5000, 1, 1, 0)
	one(5001, 2, 1, 1)
	one(5002, 3, 1, 1)
	// Another line in its place goes on where it was, also where the device has another tag.
	more := "\n[[tag]]\ndevice = \"cellar\"\nname = \"signal\"\nat = \"rssi\"\n"
	s.reload(line + cellar("") + more)
	s.listens()
	one(5001, 1, 1, 0)
	// The battery was changed, and the installer says so.
	s.reload(line + cellar(", counter_restarts = true"))
	s.listens()
	one(200, 1, 0, 0)
	one(5002, 2, 0, 0)
	// The device leaves and comes back.
	s.reload(line)
	s.reload(line + cellar(", counter_restarts = true"))
	s.listens()
	one(300, 1, 0, 0)
	s.stop()

	// A damaged file is told of, and the numbers begin anew.
	if err := os.Truncate(file, 20); err != nil {
		t.Fatal(err)
	}
	s.start()
	if !strings.Contains(s.Log(), "begin anew") {
		t.Errorf("nothing is said of the damaged file:\n%s", s.Log())
	}
	one(100, 1, 0, 0)
	s.stop()
}
