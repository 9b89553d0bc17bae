package mbus

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
	sim "edgegateway/testbench/sim/mbus"
)

func wired(bus *sim.Bus) (*Driver, *fieldtest.Line) {
	line := &fieldtest.Line{Peer: func(request []byte) (chunks []fieldtest.Chunk) {
		_, out := bus.Take(request, true)
		for _, o := range out {
			chunks = append(chunks, fieldtest.Chunk{After: o.After, Bytes: o.Bytes})
		}
		return chunks
	}}
	return New(line), line
}

func volume() []field.Tag {
	return []field.Tag{{Name: "volume", At: "volume"}, {Name: "last", At: "volume storage 1"}}
}

// TestReset: the link is reset before the first read and after a failure, and the frame count bit alternates, so that the
// meter never repeats an old telegram.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		m := bus.Add(5, "12345678", "ABC", 1, 7)
		d, line := wired(bus)
		s, err := d.Bind(field.Device{Address: "5", Tags: volume()[:1]})
		if err != nil {
			t.Fatal(err)
		}
		read := func(want string) {
			t.Helper()
			if r, err := s.Read(t.Context(), field.MainGroup); err != nil || r.Values[0].String() != want {
				t.Errorf("%v %v, want %s", r.Values, err, want)
			}
		}
		m.Records("0C 13 45 23 01 00")
		read("12.345")
		m.Records("0C 13 46 23 01 00")
		read("12.346")
		m.Silent(true)
		if _, err := s.Read(t.Context(), field.MainGroup); !errors.Is(err, field.ErrSilent) {
			t.Errorf("a silent meter: %v", err)
		}
		m.Silent(false)
		m.Records("0C 13 47 23 01 00")
		read("12.347")
		var kinds []byte
		for _, r := range line.Requests {
			kinds = append(kinds, r[1])
		}
		if want := []byte{0x40, 0x7B, 0x5B, 0x7B, 0x40, 0x7B}; !slices.Equal(kinds, want) {
			t.Errorf("sent % X, want % X", kinds, want)
		}
	})
}

// TestSecondary: a meter is selected by its number, and what another one sends is not taken.
func TestSecondary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := sim.New(0)
		bus.Add(0, "12345678", "ABC", 1, 7).Records("0C 13 45 23 01 00 1F", "4C 13 11 00 00 00")
		bus.Add(0, "12345679", "ABC", 1, 7).Records("0C 13 99 00 00 00")
		d, line := wired(bus)
		for address, want := range map[string]string{"12345678": "12.345", "12345678FFFF01FF": "12.345", "1234567F4204FFFF": "", "12345679": "0.099"} {
			s, err := d.Bind(field.Device{Address: address, Tags: volume()})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				r, err := s.Read(t.Context(), field.MainGroup)
				switch {
				case want == "" && !errors.Is(err, field.ErrSilent):
					t.Errorf("%s: %v %v, want silence", address, r.Values, err)
				case want != "" && (err != nil || r.Values[0].String() != want):
					t.Errorf("%s: %v %v, want %s", address, r.Values, err, want)
				case want == "12.345" && r.Values[1].String() != "0.011":
					t.Errorf("%s: the second telegram: %v", address, r.Values)
				}
			}
		}
		// 12345678 is read twice with 3 requests each.
		c := mustBind(t, d, "12345678")
		line.Requests = nil
		if _, err := c.Read(t.Context(), field.MainGroup); err != nil {
			t.Fatal(err)
		}
		sent := 0
		for _, r := range line.Requests {
			sent += len(r)
		}
		if cost := c.Cost(field.MainGroup); cost.Exchanges != len(line.Requests) || cost.Sent != sent || cost.Received != 1+(21+7)+(21+6) {
			t.Errorf("%+v, and %d requests with %d bytes were sent", cost, len(line.Requests), sent)
		}
	})
}

func mustBind(t *testing.T, d *Driver, address string) *Station {
	t.Helper()
	s, err := d.Bind(field.Device{Address: address, Tags: volume()})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Station)
}

// TestScan finds all meters by their numbers, also those that differ in the last digit, and primary addresses one by one.
func TestScan(t *testing.T) {
	for _, meters := range [][]string{nil, {"12345678"}, {"12345678", "12345679", "12445678", "00000001"}} {
		synctest.Test(t, func(t *testing.T) {
			bus := sim.New(0)
			var want, wantPrimary []string
			for i, number := range meters {
				bus.Add(byte(10+i), number, "ABC", 1, 7).Records("0C 13 45 23 01 00")
				want = append(want, number+"04430107")
				wantPrimary = append(wantPrimary, []string{"10", "11", "12", "13"}[i])
			}
			d, line := wired(bus)
			for _, c := range []struct {
				o    field.ScanOptions
				want []string
				most int
			}{{field.ScanOptions{}, want, 200}, {field.ScanOptions{From: "9", To: "14"}, wantPrimary, 10}} {
				line.Requests = nil
				var found []string
				done, total := 0, 0
				err := d.Scan(t.Context(), c.o, func(f field.Found) {
					found = append(found, f.Address)
					if f.Profile != "mbus-water" || !strings.HasPrefix(f.Identity, "ABC ") {
						t.Errorf("%+v", f)
					}
				}, func(d, n int) { done, total = d, n })
				slices.Sort(found)
				slices.Sort(c.want)
				if err != nil || !slices.Equal(found, c.want) || done != total || len(line.Requests) > c.most {
					t.Errorf("found %q (%v), %d of %d with %d requests, want %q", found, err, done, total, len(line.Requests), c.want)
				}
			}
		})
	}
	var wrong *field.DeviceError
	d, _ := wired(sim.New(0))
	if err := d.Scan(t.Context(), field.ScanOptions{From: "251"}, func(field.Found) {}, func(int, int) {}); !errors.As(err, &wrong) {
		t.Errorf("an address that is none: %v", err)
	}
}

// TestBindComplains: every fault is told at once, with what is allowed.
func TestBindComplains(t *testing.T) {
	_, err := New(nil).Bind(field.Device{Address: "251", Quirks: map[string]string{"rest": "x", "reset": "x"}, Tags: []field.Tag{
		{Name: "a", At: "enrgy"}, {Name: "b", At: "volume storage"}, {Name: "c", At: "volume", Unit: "kWh"}, {Name: "d", At: "energy", Type: "float32"},
		{Name: "e", At: "volume", Write: true}, {Name: "f", At: "record x"}}})
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{`"1" to "250"`, `did you mean "reset"`, "neither true nor false", `did you mean "energy"`, `at = "volume storage"`,
		"no unit of volume", "allowed are number, string", "not written here", `at = "record x"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	for frame, want := range map[string]string{
		"10 40 FE 3E 16": "address 254: reset", "10 7B 01 7C 16": "address 1: send your data", "E5": "acknowledged",
		heatMeter: "address 200: AMT 03543109, heat (return), 7 records", "68 03 03 68 53 01 BD 11 16": "address 1: CI BD, 0 bytes",
		"68 0B 0B 68 53 FD 52 78 56 34 12 FF FF FF FF B2 16": "address 253: select 12345678FFFFFFFF", "10 40 FE 3F 16": "no whole frame",
	} {
		if got := Describe(octets(t, frame)); got != want {
			t.Errorf("%s: %q, want %q", frame, got, want)
		}
	}
}

// FuzzFrames feeds every decoder: whatever comes, nothing breaks, and nothing is given without a telegram of this meter.
func FuzzFrames(f *testing.F) {
	f.Add(octets(f, heatMeter), "flow temperature")
	f.Add(hand(5, octets(f, "0B FD 47 56 34 12")), "voltage")
	f.Add(hand(5, octets(f, "0D 78 08 38 37 36 35 34 33 32 31 8C 10 06 12 00 00 00 1F")), "energy tariff 1")
	f.Add(hand(5, octets(f, "04 6D 05 0E 5E 3B 02 6C 7E 3B 0C 7C 02 48 48 45 23 01 00")), "record 1")
	f.Fuzz(func(t *testing.T, got []byte, at string) {
		if len(got) > 4<<10 {
			return // longer ones say nothing new, slowly
		}
		Describe(got)
		if records, _, problem := parseRecords(got); problem == "" {
			for i := range records {
				records[i].in("")
			}
		}
		asked := 0
		s, err := New(link.Replay(func([]byte) ([]byte, error) {
			if asked++; asked > 4 {
				return nil, nil
			}
			return got, nil
		})).Bind(field.Device{Address: "5", Quirks: map[string]string{"reset": "false"}, Tags: []field.Tag{{Name: "a", At: at}, {Name: "b", At: "energy"}, {Name: "c", At: "id"}}})
		if err != nil {
			return
		}
		if r, err := s.Read(t.Context(), field.MainGroup); err == nil && !slices.Contains(got, 5) {
			t.Fatalf("%v from % X", r.Values, got)
		}
	})
}
