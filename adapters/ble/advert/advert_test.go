package advert_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgegateway/adapters/ble/advert"
	"edgegateway/adapters/field"
	sim "edgegateway/testbench/sim/ble"
)

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// say prints a frame's measures as one line.
func say(f advert.Frame) string {
	var parts []string
	for _, m := range f.Measures {
		name := m.Name
		if m.Nth > 1 {
			name = fmt.Sprintf("%s %d", name, m.Nth)
		}
		parts = append(parts, name+"="+m.Value.String())
	}
	return f.Format.String() + ": " + strings.Join(parts, " ")
}

const (
	bthomeKey = "231d39c1d7cc1ab1aee224cd096db932"
	bthomeMAC = "54:48:E6:8F:80:A5"
	miKey     = "5b51a7c91cde6707c9ef18dfda143a58"
	miMAC     = "54:EF:44:E3:9C:BC"
)

func decoder(t testing.TB, mac, key string, restarts bool) *advert.Decoder {
	t.Helper()
	address, ok := advert.ParseMAC(mac)
	if !ok {
		t.Fatalf("no address: %q", mac)
	}
	var secret []byte
	if key != "" {
		var err error
		if secret, err = advert.ParseKey(key); err != nil {
			t.Fatal(err)
		}
	}
	d, err := advert.NewDecoder(address, secret, restarts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// vectors are published frames; those of BTHome, RuuviTag and MiBeacon come from the formats' own documents and from
// tests of other decoders, the others are built by hand from the format's table.
var vectors = []struct {
	name     string
	source   advert.Source
	id       uint16
	data     string
	mac, key string
	want     string
}{
	{"bthome", advert.Service, 0xFCD2, "40 02 CA 09 03 BF 13", "", "", "bthome: temperature=25.06 humidity=50.55"},
	{"bthome below zero", advert.Service, 0xFCD2, "40 02 38 FF", "", "", "bthome: temperature=-2"},
	{"bthome trigger", advert.Service, 0xFCD2, "44 00 07 3A 04", "", "", "bthome: button=long_press"},
	{"bthome two of a kind", advert.Service, 0xFCD2, "40 01 64 02 10 27 02 20 4E 21 01", "", "", "bthome: battery=100 temperature=100 temperature 2=200 motion=true"},
	{"bthome pressure and text", advert.Service, 0xFCD2, "40 04 13 8A 01 53 02 6F 6B", "", "", "bthome: pressure=1008.83 text=ok"},
	{"bthome odd sizes", advert.Service, 0xFCD2, "40 3E 01 00 00 01 50 5D 39 61 64 58 EA F1 01 02 03 04 F2 00 01 06", "", "", "bthome: count=16777217 timestamp=1684093277 temperature=-7.7 firmware=4.3.2.1 firmware 2=6.1.0"},
	{"bthome encrypted", advert.Service, 0xFCD2, "41 A4 72 66 C9 5F 73 00 11 22 33 78 23 72 14", bthomeMAC, bthomeKey, "bthome: temperature=25.06 humidity=50.55"},
	{"ruuvi", advert.Manufacturer, 0x0499, "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F", "", "",
		"ruuvi: temperature=24.3 humidity=53.49 pressure=1000.44 acceleration_x=0.004 acceleration_y=-0.004 acceleration_z=1.036 battery_voltage=2.977 tx_power=4 movements=66 sequence=205"},
	{"ruuvi with nothing to say", advert.Manufacturer, 0x0499, "058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF", "", "",
		"ruuvi: temperature=null humidity=null pressure=null acceleration_x=null acceleration_y=null acceleration_z=null battery_voltage=null tx_power=null movements=null sequence=null"},
	{"mibeacon both", advert.Service, 0xFE95, "5020 AA01 FE 9BB8DDA8654C 0D10 04 B200 7502", "", "", "mibeacon: temperature=17.8 humidity=62.9"},
	{"mibeacon version 3", advert.Service, 0xFE95, "5030 5B05 27 1C250F38C1A4 0D10 04 6D00 E301", "", "", "mibeacon: temperature=10.9 humidity=48.3"},
	{"mibeacon below zero", advert.Service, 0xFE95, "5020 AA01 FE 9BB8DDA8654C 0410 02 F6FF", "", "", "mibeacon: temperature=-1"},
	{"mibeacon with capability", advert.Service, 0xFE95, "7020 9800 01 3412656A5CC4 0D 0910 02 5E00", "", "", "mibeacon: conductivity=94"},
	{"mibeacon encrypted", advert.Service, 0xFE95, "5859 9709 66 BC9CE344EF54 01081205 000000 715EBE90", miMAC, miKey, "mibeacon: smoke=true"},
	{"atc", advert.Service, 0x181A, "A4C138112233 00CB 31 5A 0BC7 07", "", "", "atc: temperature=20.3 humidity=49 battery=90 battery_voltage=3.015"},
	{"pvvx", advert.Service, 0x181A, "332211 38C1A4 0EF8 7C13 C70B 5A 07 0F", "", "", "pvvx: temperature=-20.34 humidity=49.88 battery_voltage=3.015 battery=90"},
	{"tlm", advert.Service, 0xFEAA, "20 00 0BB8 1980 00000102 00000E10", "", "", "eddystone-tlm: battery_voltage=3 temperature=25.5 advertisements=258 uptime=360"},
	{"tlm without sensors", advert.Service, 0xFEAA, "20 00 0000 8000 00000102 00000E10", "", "", "eddystone-tlm: battery_voltage=null temperature=null advertisements=258 uptime=360"},
	{"ibeacon", advert.Manufacturer, 0x004C, "02 15 FDA50693A4E24FB1AFCFC6EB07647825 2712 0A0B C5", "", "",
		"ibeacon: uuid=fda50693-a4e2-4fb1-afcf-c6eb07647825 major=10002 minor=2571 tx_power=-59"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			mac := v.mac
			if mac == "" {
				mac = "00:00:00:00:00:01"
			}
			f := advert.Field{Source: v.source, ID: v.id, Data: bytesOf(t, v.data)}
			got, err := decoder(t, mac, v.key, false).Decode(f)
			if err != nil {
				t.Fatal(err)
			}
			if say(got) != v.want {
				t.Errorf("got  %s\nwant %s", say(got), v.want)
			}
			if got.Repeat {
				t.Error("a first message is no repeat")
			}
			if got.Sealed != (v.key != "") {
				t.Errorf("Sealed is %v", got.Sealed)
			}
			if advert.Encrypted(f) != (v.key != "") {
				t.Errorf("Encrypted is %v", advert.Encrypted(f))
			}
			for _, m := range got.Measures {
				q, ok := advert.Lookup(m.Name)
				if !ok || !m.Value.IsNull() && m.Value.Kind() != q.Kind {
					t.Errorf("%s is a %s, and the table says %v %v", m.Name, m.Value.Kind(), q, ok)
				}
			}
			// Cut anywhere, it yields less or an error, but never another value under the same name.
			whole := map[string]field.Value{}
			for _, m := range got.Measures {
				whole[fmt.Sprint(m.Name, m.Nth)] = m.Value
			}
			for n := range f.Data {
				part := advert.Field{Source: f.Source, ID: f.ID, Data: f.Data[:n]}
				if advert.Recognise(part) != advert.Recognise(f) {
					continue // ATC and PVVX are told by their size
				}
				got, err := decoder(t, mac, v.key, false).Decode(part)
				if err != nil {
					continue
				}
				for _, m := range got.Measures {
					if m.Value != whole[fmt.Sprint(m.Name, m.Nth)] {
						t.Errorf("cut to %d bytes: %s", n, say(got))
					}
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	const sealed = "41 A4 72 66 C9 5F 73 00 11 22 33 78 23 72 14"
	for _, c := range []struct {
		name     string
		source   advert.Source
		id       uint16
		data     string
		mac, key string
		want     error
	}{
		{"no data", advert.Service, 0xFCD2, "", "", "", advert.ErrUnknown},
		{"bthome version 1", advert.Service, 0xFCD2, "20 02 CA 09", "", "", advert.ErrUnknown},
		{"another service", advert.Service, 0x1234, "40 02 CA 09", "", "", advert.ErrUnknown},
		{"another company", advert.Manufacturer, 0x0059, "05 00", "", "", advert.ErrUnknown},
		{"ruuvi format 3", advert.Manufacturer, 0x0499, "03 29 1A 1E CE 1E FC 18 F9 42 02 CA 0B 53", "", "", advert.ErrUnknown},
		{"an iphone", advert.Manufacturer, 0x004C, "10 05 4B 1C 22", "", "", advert.ErrUnknown},
		{"bthome value cut", advert.Service, 0xFCD2, "40 02 CA", "", "", advert.ErrTruncated},
		{"bthome text cut", advert.Service, 0xFCD2, "40 53 05 41", "", "", advert.ErrTruncated},
		{"bthome text without a length", advert.Service, 0xFCD2, "40 53", "", "", advert.ErrTruncated},
		{"bthome unknown object", advert.Service, 0xFCD2, "40 02 CA 09 BB 01", "", "", advert.ErrObject},
		{"bthome sealed, too short", advert.Service, 0xFCD2, "41 A4 72 66", bthomeMAC, bthomeKey, advert.ErrTruncated},
		{"bthome sealed, no key", advert.Service, 0xFCD2, sealed, bthomeMAC, "", advert.ErrKey},
		{"bthome sealed, wrong key", advert.Service, 0xFCD2, sealed, bthomeMAC, miKey, advert.ErrKey},
		{"bthome sealed, another address", advert.Service, 0xFCD2, sealed, miMAC, bthomeKey, advert.ErrKey},
		{"bthome sealed, one bit", advert.Service, 0xFCD2, "41 A5 72 66 C9 5F 73 00 11 22 33 78 23 72 14", bthomeMAC, bthomeKey, advert.ErrKey},
		{"bthome sealed, another counter", advert.Service, 0xFCD2, "41 A4 72 66 C9 5F 73 01 11 22 33 78 23 72 14", bthomeMAC, bthomeKey, advert.ErrKey},
		{"ruuvi cut", advert.Manufacturer, 0x0499, "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C88", "", "", advert.ErrTruncated},
		{"tlm cut", advert.Service, 0xFEAA, "20 00 0BB8 1980 00000102 00000E", "", "", advert.ErrTruncated},
		{"tlm encrypted", advert.Service, 0xFEAA, "20 01 0BB8 1980 00000102 00000E10 0000", "", "", advert.ErrKey},
		{"ibeacon cut", advert.Manufacturer, 0x004C, "02 15 FDA50693", "", "", advert.ErrTruncated},
		{"mibeacon address cut", advert.Service, 0xFE95, "5020 AA01 FE 9BB8", "", "", advert.ErrTruncated},
		{"mibeacon object cut", advert.Service, 0xFE95, "5020 AA01 FE 9BB8DDA8654C 0D10 04 B200", "", "", advert.ErrTruncated},
		{"mibeacon object too short", advert.Service, 0xFE95, "5020 AA01 FE 9BB8DDA8654C 0D10 02 B200", "", "", advert.ErrTruncated},
		{"mibeacon unknown object", advert.Service, 0xFE95, "5020 AA01 FE 9BB8DDA8654C 7777 01 01", "", "", advert.ErrObject},
		{"mibeacon sealed, wrong key", advert.Service, 0xFE95, "5859 9709 66 BC9CE344EF54 01081205 000000 715EBE90", miMAC, bthomeKey, advert.ErrKey},
		{"mibeacon sealed, old version", advert.Service, 0xFE95, "5829 9709 66 BC9CE344EF54 01081205 000000 715EBE90", miMAC, miKey, advert.ErrKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			mac := c.mac
			if mac == "" {
				mac = "00:00:00:00:00:01"
			}
			got, err := decoder(t, mac, c.key, false).Decode(advert.Field{Source: c.source, ID: c.id, Data: bytesOf(t, c.data)})
			if !errors.Is(err, c.want) {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
			if len(got.Measures) > 0 {
				t.Errorf("it has values all the same: %s", say(got))
			}
		})
	}
}

// TestRepeats: what a device sends again is no second measurement, whichever format counts its messages.
func TestRepeats(t *testing.T) {
	field := func(source advert.Source, id uint16, data string) advert.Field {
		return advert.Field{Source: source, ID: id, Data: bytesOf(t, data)}
	}
	for _, c := range []struct {
		name          string
		first, second advert.Field
		again         bool
	}{
		{"bthome", field(0, 0xFCD2, "40 00 01 02 CA 09"), field(0, 0xFCD2, "40 00 02 02 CA 09"), true},
		{"bthome without numbers", field(0, 0xFCD2, "40 02 CA 09"), field(0, 0xFCD2, "40 02 CB 09"), false},
		{"ruuvi", field(1, 0x0499, "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"), field(1, 0x0499, "0512FC5394C37C0004FFFC040CAC364200CECBB8334C884F"), true},
		{"mibeacon", field(0, 0xFE95, "5020AA01FE9BB8DDA8654C0410 02B200"), field(0, 0xFE95, "5020AA01FF9BB8DDA8654C0410 02B200"), true},
		{"atc", field(0, 0x181A, "A4C138112233 00CB 31 5A 0BC7 07"), field(0, 0x181A, "A4C138112233 00CB 31 5A 0BC7 08"), true},
		{"tlm", field(0, 0xFEAA, "20 00 0BB8 1980 00000102 00000E10"), field(0, 0xFEAA, "20 00 0BB8 1980 00000103 00000E10"), true},
	} {
		d := decoder(t, "00:00:00:00:00:01", "", false)
		for i, want := range []bool{false, c.again, false} {
			f := c.first
			if i == 2 {
				f = c.second
			}
			got, err := d.Decode(f)
			if err != nil || got.Repeat != want {
				t.Errorf("%s: message %d is a repeat: %v (%v), want %v", c.name, i, got.Repeat, err, want)
			}
		}
	}
}

// TestReplay: an authentic message with a lower number than the last one is refused, and what is not authentic moves
// no counter.
func TestReplay(t *testing.T) {
	number := func(n byte) advert.Field {
		sealed, err := sim.SealedBTHome(bthomeMAC, bthomeKey, uint32(n), 0x01, n)
		if err != nil {
			t.Fatal(err)
		}
		return advert.Field{Source: advert.Service, ID: 0xFCD2, Data: sealed.Service[0xFCD2]}
	}
	battery := func(d *advert.Decoder, n byte) (repeat bool, err error) {
		got, err := d.Decode(number(n))
		if err == nil && say(got) != fmt.Sprintf("bthome: battery=%d", n) {
			t.Errorf("got %s", say(got))
		}
		return got.Repeat, err
	}
	d := decoder(t, bthomeMAC, bthomeKey, false)
	forged := number(250)
	forged.Data[1] ^= 1
	plain := advert.Field{ID: 0xFCD2, Data: bytesOf(t, "40 00 01 01 64")} // anybody can send number 1, or repeat it
	for i, step := range []struct {
		n      byte
		repeat bool
		err    error
	}{{200, false, nil}, {200, true, nil}, {199, false, advert.ErrReplay}, {5, false, advert.ErrReplay}, {201, false, nil}, {200, false, advert.ErrReplay}} {
		if _, err := d.Decode(forged); !errors.Is(err, advert.ErrKey) {
			t.Fatalf("a forged message: %v", err)
		}
		if got, err := d.Decode(plain); err != nil || got.Repeat != (i > 0) {
			t.Fatalf("a plain message: %v, %v", got, err)
		}
		repeat, err := battery(d, step.n)
		if repeat != step.repeat || !errors.Is(err, step.err) {
			t.Errorf("step %d, message %d: repeat %v, error %v; want %v, %v", i, step.n, repeat, err, step.repeat, step.err)
		}
	}
	// Another decoder that goes on where this one was refuses the same.
	n, ok := d.Last(advert.BTHome)
	if !ok || n != 201 {
		t.Errorf("the last message was %d, %v", n, ok)
	}
	d = decoder(t, bthomeMAC, bthomeKey, false)
	if _, ok := d.Last(advert.BTHome); ok {
		t.Error("there is a last message before the first")
	}
	d.Resume(advert.BTHome, n)
	if _, err := battery(d, 200); !errors.Is(err, advert.ErrReplay) {
		t.Errorf("an older message after going on: %v", err)
	}
	if repeat, err := battery(d, 201); !repeat || err != nil {
		t.Errorf("the last message after going on: %v, %v", repeat, err)
	}
	// With restarts allowed, a low number is a device that began anew, and a high one behind the last is a replay still.
	d = decoder(t, bthomeMAC, bthomeKey, true)
	for i, step := range []struct {
		n   byte
		err error
	}{{200, nil}, {150, advert.ErrReplay}, {1, nil}, {2, nil}, {200, nil}} {
		if _, err := battery(d, step.n); !errors.Is(err, step.err) {
			t.Errorf("with restarts, step %d, message %d: %v, want %v", i, step.n, err, step.err)
		}
	}
}

// TestReplayMiBeacon: the same of MiBeacon, whose devices also tell without encryption that they are there.
func TestReplayMiBeacon(t *testing.T) {
	sealed := advert.Field{ID: 0xFE95, Data: bytesOf(t, "5859 9709 66 BC9CE344EF54 01081205 000000 715EBE90")} // number 0x66
	there := advert.Field{ID: 0xFE95, Data: bytesOf(t, "1858 9709 01 BC9CE344EF54")}                           // it says "encrypted", and holds nothing that is
	d := decoder(t, miMAC, miKey, false)
	d.Resume(advert.MiBeacon, 0x67)
	if f, err := d.Decode(there); err != nil || f.Sealed {
		t.Errorf("it is there: %+v, %v", f, err)
	}
	if _, err := d.Decode(sealed); !errors.Is(err, advert.ErrReplay) {
		t.Errorf("an older message: %v", err)
	}
	d = decoder(t, miMAC, miKey, false)
	d.Resume(advert.MiBeacon, 0x65)
	if f, err := d.Decode(sealed); err != nil || !f.Sealed {
		t.Errorf("the next message: %+v, %v", f, err)
	}
	if f, err := d.Decode(there); err != nil || f.Sealed {
		t.Errorf("it is there after an encrypted message: %+v, %v", f, err)
	}
	if n, ok := d.Last(advert.MiBeacon); !ok || n != 0x66 {
		t.Errorf("the last message was %d, %v", n, ok)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "00", bthomeKey[1:], bthomeKey + "00", "zz" + bthomeKey[2:]} {
		if _, err := advert.ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) is content", bad)
		}
	}
	if _, err := advert.ParseKey(" " + bthomeKey[:16] + " " + bthomeKey[16:] + "\n"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "C4:AB:12:34:56", "C4-AB-12-34-56-78", "C4:AB:12:34:56:7G", "C4:AB:12:34:56:78:"} {
		if _, ok := advert.ParseMAC(bad); ok {
			t.Errorf("ParseMAC(%q) is content", bad)
		}
	}
	if mac, ok := advert.ParseMAC("c4:AB:12:34:56:78"); !ok || mac != [6]byte{0xC4, 0xAB, 0x12, 0x34, 0x56, 0x78} {
		t.Errorf("got % x %v", mac, ok)
	}
	if _, err := advert.NewDecoder([6]byte{}, []byte("short"), false); err == nil {
		t.Error("a short key is taken")
	}
}

// FuzzFrames: no bytes may make the decoder panic, give a value of another kind than the table says, or give values
// together with an error.
func FuzzFrames(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.source == advert.Manufacturer, v.id, bytesOf(f, v.data))
	}
	f.Fuzz(func(t *testing.T, manufacturer bool, id uint16, data []byte) {
		source := advert.Service
		if manufacturer {
			source = advert.Manufacturer
		}
		for _, key := range []string{"", bthomeKey} {
			d := decoder(t, bthomeMAC, key, false)
			for range 2 {
				got, err := d.Decode(advert.Field{Source: source, ID: id, Data: data})
				if err != nil && len(got.Measures) > 0 {
					t.Fatalf("%s, and %v", say(got), err)
				}
				for _, m := range got.Measures {
					q, ok := advert.Lookup(m.Name)
					if !ok || !m.Value.IsNull() && m.Value.Kind() != q.Kind || !m.Value.Finite() {
						t.Fatalf("%s = %s (%s)", m.Name, m.Value, m.Value.Kind())
					}
				}
			}
		}
	})
}
