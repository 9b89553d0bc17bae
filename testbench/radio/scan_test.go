package radio

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/sim/ble"
)

// hall is the one device that is configured.
const (
	hallAddress = "C0:00:00:00:00:01"
	hall        = "\n[[device]]\nname = \"hall\"\nline = \"radio\"\nprotocol = \"ble\"\naddress = \"" + hallAddress + "\"\nevery = \"200ms\"\n" +
		"\n[[tag]]\ndevice = \"hall\"\nname = \"sequence\"\nat = \"sequence\"\n"
)

// found is what the test looks at of a device that a scan tells of.
type found struct {
	Address, Known, Profile, Device string
	Detail                          map[string]string
}

// TestScan: a scan through the running daemon lists who is in range, with what the installer needs to go on, while the
// readings of the device that is configured go on.
func TestScan(t *testing.T) {
	s := newSite(t, line+hall)
	sealed := func(turn uint16) ble.Advert {
		a, err := ble.SealedBTHome(cellarAddress, cellarKey, uint32(turn), 0x02, 0xD0, 0x07)
		if err != nil {
			t.Error(err)
		}
		return a
	}
	s.speak(map[*ble.Device]func(uint16) ble.Advert{
		s.add(hallAddress, "hall"):               func(turn uint16) ble.Advert { return ble.Ruuvi(4860, 21396, 100044, turn) },
		s.add("CB:B8:33:4C:88:4F", "Ruuvi 884F"): func(turn uint16) ble.Advert { return ble.Ruuvi(4000, 20000, 100000, turn) },
		// What a stranger calls itself goes into a file and to a terminal.
		s.add("A4:C1:38:00:00:02", "a\n[[line]]\x1b[2J\u202e"): func(turn uint16) ble.Advert { return ble.BTHome(byte(turn), 2150) },
		s.add(cellarAddress, ""):                               sealed,
		s.add("00:11:22:33:44:55", ""): func(turn uint16) ble.Advert {
			return ble.Advert{RSSI: -90, Manufacturer: map[uint16][]byte{0x004C: {0x10, 0x05, byte(turn)}}}
		},
	})
	s.start()
	s.await("the device is read", func(h *health.Status) bool { return h.Devices[0].Good == 1 })

	answers := s.whileScanned(func() { s.scanned(t) })
	if answers < 5 {
		t.Errorf("the device was heard %d times in three seconds of the scan, and it speaks ten times a second", answers)
	}
	s.pasted(t)
}

// scanned holds a scan's documents against the air.
func (s *site) scanned(t *testing.T) {
	out, err := s.cli("scan", "radio", "--timeout", "3s", "--json")
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, out, s.Log())
		return
	}
	all := map[string]found{}
	for doc := range strings.Lines(out) {
		var step struct{ Found *found }
		if err := json.Unmarshal([]byte(doc), &step); err != nil {
			t.Errorf("%s: %v", doc, err)
		} else if step.Found != nil {
			all[step.Found.Address] = *step.Found
		}
	}
	for address, want := range map[string]struct{ known, profile, signal, format, measures, name string }{
		hallAddress:         {"hall", "ruuvi-tag", "-60 dBm", "ruuvi", "", "hall"},
		"CB:B8:33:4C:88:4F": {"", "ruuvi-tag", "-60 dBm", "ruuvi", "", "Ruuvi 884F"},
		"A4:C1:38:00:00:02": {"", "", "-70 dBm", "bthome", "temperature", "a [[line]] [2J "},
		cellarAddress:       {"", "", "-65 dBm", "bthome", "", ""},
		"00:11:22:33:44:55": {"", "", "-90 dBm", "unknown", "", ""},
	} {
		f, ok := all[address]
		if !ok || f.Known != want.known || f.Profile != want.profile || f.Detail["signal"] != want.signal || f.Detail["format"] != want.format ||
			want.measures != "" && f.Detail["measures"] != want.measures || f.Detail["name"] != want.name || (f.Device == "") != (want.known != "") {
			t.Errorf("%s: found %+v, want %+v", address, f, want)
		}
	}
	if len(all) != 5 {
		t.Errorf("%d devices were found, and there are 5", len(all))
	}
}

// pasted puts what a scan prints into the configuration, which is then right as it stands.
func (s *site) pasted(t *testing.T) {
	out, err := s.cli("scan", "radio", "--timeout", "3s")
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, s.Log())
	}
	at := strings.Index(out, "\n[[device]]")
	if at < 0 || strings.Count(out[at:], "\n[[device]]") != 4 || strings.ContainsAny(out, "\x1b\u202e") {
		t.Fatalf("four devices are to paste:\n%q", out)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "credentials", "ble-5448e68f80a5-key"), []byte(cellarKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Configure(line + hall + out[at:]); err != nil {
		t.Fatal(err)
	}
	if out, err := s.cli("check"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := s.cli("reload"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.await("all of them are read", func(h *health.Status) bool {
		good := 0
		for _, d := range h.Devices {
			if d.State == "good" {
				good++
			}
		}
		return good == 5
	})
}

// whileScanned counts the answers of the first device while something is done.
func (s *site) whileScanned(do func()) (answers int) {
	ctx, done := context.WithCancel(s.t.Context())
	go func() {
		defer done()
		do()
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-ctx.Done():
			return answers
		case <-tick.C:
		}
		h, err := s.Status(ctx)
		if err == nil && h.Devices[0].LastGood != last {
			last = h.Devices[0].LastGood
			answers++
		}
	}
}
