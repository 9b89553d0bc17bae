package ble_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"edgegateway/adapters/ble"
	"edgegateway/adapters/field"
	sim "edgegateway/testbench/sim/ble"
)

// TestForged: of a device with a key only encrypted messages are believed, whatever else is said in its name and format.
func TestForged(t *testing.T) {
	const (
		miAddress      = "54:EF:44:E3:9C:BC"
		keylessAddress = "54:48:E6:8F:80:A6"
		sealedMi       = "5859 9709 66 BC9CE344EF54 01081205 000000 715EBE90"
	)
	r := newRig(t)
	r.device("cellar", homeAddress, map[string]string{"key": "key"}, "t = temperature", "raw = service 1234 byte 0 bit 0", "battery = battery", "minor = minor")
	r.device("smoke", miAddress, map[string]string{"key": "other-key"}, "smoke = smoke", "control = service FE95 length 11 byte 0 bit 4")
	r.device("keyless", keylessAddress, map[string]string{"key": "nowhere"}, "t = temperature")
	r.run()
	r.listening()
	devices := map[string]*sim.Device{}
	for _, address := range []string{homeAddress, miAddress, keylessAddress} {
		devices[address] = r.put(address, "")
	}
	service := func(id uint16, data string) sim.Advert {
		b, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return sim.Advert{RSSI: -50, Service: map[uint16][]byte{id: b}}
	}
	sealed := func(number uint32, objects ...byte) sim.Advert {
		a, err := sim.SealedBTHome(homeAddress, "231d39c1d7cc1ab1aee224cd096db932", number, objects...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	beacon := sim.Advert{RSSI: -50, Manufacturer: map[uint16][]byte{0x004C: append([]byte{2, 21}, make([]byte, 21)...)}}
	beside := service(0xFCD2, "40 02 CD 09")
	beside.Manufacturer = map[uint16][]byte{0x0BA9: {1}}

	stats := func(address string) ble.DeviceStats {
		all := r.driver.Stats().Devices
		return all[slices.IndexFunc(all, func(d ble.DeviceStats) bool { return d.Address == address })]
	}

	var refused uint64
	for _, step := range []struct {
		what, address string
		advert        sim.Advert
		refused       bool
		heard         string // "" for no value
		signs         int    // records, with values or not
	}{
		{"bthome in plain, first of all", homeAddress, service(0xFCD2, "40 02 CA 09 01 05"), true, "", 0},
		{"bthome encrypted", homeAddress, sealed(7, 0x02, 0xD0, 0x07), false, "cellar: t=20", 1},
		{"bthome in plain, with a number", homeAddress, service(0xFCD2, "40 00 08 02 CB 09"), true, "", 0},
		{"the same again", homeAddress, service(0xFCD2, "40 00 08 02 CB 09"), true, "", 0},
		{"bthome without values", homeAddress, service(0xFCD2, "40 00 09"), false, "", 1},
		{"another format: atc", homeAddress, service(0x181A, "A4C138112233 00CB 31 5A 0BC7 07"), true, "", 0},
		{"another format: pvvx", homeAddress, service(0x181A, "332211 38C1A4 0EF8 7C13 C70B 5A 07 0F"), true, "", 0},
		{"another format: ibeacon", homeAddress, beacon, true, "", 0},
		{"bytes that a tag asks for", homeAddress, service(0x1234, "07"), true, "", 0},
		{"bytes that no tag asks for", homeAddress, service(0x1235, "07"), false, "", 1},
		{"values beside what is none", homeAddress, beside, true, "", 1},
		{"bthome encrypted, the next one", homeAddress, sealed(8, 0x02, 0xD1, 0x07), false, "cellar: t=20.01", 1},
		{"mibeacon in plain", miAddress, service(0xFE95, "5058 9709 67 BC9CE344EF54 1510 01 01"), true, "", 0},
		{"mibeacon without an object", miAddress, service(0xFE95, "2058 9709 68 08"), false, "", 1},
		{"mibeacon without an object, said to be encrypted, with bytes for a tag", miAddress, service(0xFE95, "1858 9709 68 BC9CE344EF54"), true, "", 0},
		{"mibeacon encrypted", miAddress, service(0xFE95, sealedMi), false, "smoke: smoke=true", 1},
		{"bthome in plain, while the key is not there", keylessAddress, service(0xFCD2, "40 02 CA 09"), true, "", 0},
	} {
		before, heard, signs := stats(step.address), r.heard(), r.signs()
		wanted := before.Refused
		if step.refused {
			wanted++
			refused++
		}
		r.say(devices[step.address], step.advert)
		r.await(step.what+": it is taken", func() bool {
			now := stats(step.address)
			return now.Adverts == before.Adverts+1 && now.Refused == wanted && r.signs() == signs+step.signs
		})
		if step.heard != "" {
			heard = append(heard, step.heard)
		}
		if now := r.heard(); !slices.Equal(now, heard) {
			t.Fatalf("%s: heard %q, want %q", step.what, now, heard)
		}
		now := stats(step.address)
		if step.refused && !strings.Contains(now.Refusal, "not encrypted, although the device has a key") {
			t.Errorf("%s: refused because %q", step.what, now.Refusal)
		}
		if !now.Battery.IsNull() || now.LastSeen.Equal(before.LastSeen) != (step.signs == 0) {
			t.Errorf("%s: it left %+v of %+v", step.what, now, before)
		}
	}
	if s := r.driver.Stats(); s.Plain != refused || s.Key+s.Unknown+s.Truncated+s.Replayed != 0 {
		t.Errorf("%d are to be refused: %+v", refused, s)
	}
}

// TestForgedHear: the same of a message that is given to the station itself.
func TestForgedHear(t *testing.T) {
	bind := func(quirks map[string]string) field.Hearer {
		s, err := ble.New(ble.Options{}).Bind(field.Device{Name: "a", Address: homeAddress, Quirks: quirks, Tags: []field.Tag{{Name: "t", At: "temperature"}}})
		if err != nil {
			t.Fatal(err)
		}
		return s.(field.Hearer)
	}
	plain := []byte{0x16, 0xD2, 0xFC, 0x40, 0x02, 0xCA, 0x09}
	if rec, err := bind(nil).Hear(plain); err != nil || words(rec) != "t=25.06" {
		t.Errorf("without a key: %q, %v", words(rec), err)
	}
	if rec, err := bind(map[string]string{"key": "key"}).Hear(plain); err == nil || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("with a key: %q, %v", words(rec), err)
	}
}
