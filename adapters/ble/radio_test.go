package ble_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/ble"
	"edgegateway/adapters/field"
	"edgegateway/testbench/privatebus"
	sim "edgegateway/testbench/sim/ble"
)

// rig is a driver on a fake BlueZ, and what came of it.
type rig struct {
	t      *testing.T
	bus    *privatebus.Bus
	bluez  *sim.BlueZ
	driver *ble.Driver
	o      ble.Options

	patience time.Duration // 0 for the usual
	mu       sync.Mutex
	records  []field.Record
	works    int // records that say that the line works
	errs     []string
}

// patience bounds every wait of these tests; none of them takes a fraction of it on an idle machine.
const patience = 20 * time.Second

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus-") // a short path without odd characters: it becomes the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bus, err := privatebus.Start(dir)
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Stop)
	bluez, err := sim.New(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bluez.Close)
	r := &rig{t: t, bus: bus, bluez: bluez}
	r.o = ble.Options{Bus: bus.Address, Quiet: time.Hour, Connect: patience, Activation: patience, Secret: func(name string) ([]byte, error) {
		secrets := map[string]string{"key": "231d39c1d7cc1ab1aee224cd096db932\n", "other-key": "5b51a7c91cde6707c9ef18dfda143a58", "passkey": "042137\n", "wrong": "1"}
		if s, ok := secrets[name]; ok {
			return []byte(s), nil
		}
		return nil, os.ErrNotExist
	}}
	if testing.Verbose() {
		r.o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return r
}

// device binds a device; a tag is "name = address".
func (r *rig) device(name, address string, quirks map[string]string, tags ...string) field.Station {
	r.t.Helper()
	if r.driver == nil {
		r.driver = ble.New(r.o)
	}
	d := field.Device{Name: name, Address: address, Quirks: quirks, Timeout: r.o.Connect}
	for _, tag := range tags {
		name, at, _ := strings.Cut(tag, " = ")
		at, write := strings.CutSuffix(at, " !")
		d.Tags = append(d.Tags, field.Tag{Name: name, At: at, Write: write})
	}
	s, err := r.driver.Bind(d)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// run listens as a line's loop does: again after each error, though sooner.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := r.driver.Listen(ctx, func(rec field.Record) {
				r.mu.Lock()
				defer r.mu.Unlock()
				if rec.Group == nil {
					r.works++
					return
				}
				r.records = append(r.records, rec)
			})
			if ctx.Err() != nil {
				return
			}
			if !errors.Is(err, field.ErrLine) {
				r.t.Errorf("Listen ended with %v, which is not the line's fault", err)
			}
			r.mu.Lock()
			if n := len(r.errs); n == 0 || r.errs[n-1] != err.Error() {
				r.errs = append(r.errs, err.Error())
			}
			r.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	r.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// await waits until something is so.
func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	limit := cmp.Or(r.patience, patience)
	end := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(end) {
			r.t.Fatalf("not so after %s: %s\nerrors %q\nrecords %q\nstats %+v", limit, what, r.failures(), r.heard(), r.driver.Stats())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rig) listening() {
	r.t.Helper()
	r.await("the radio listens", func() bool { return r.driver.Stats().Listening })
}

func (r *rig) failures() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// heard prints the records that say anything: "tag: temperature=24.3".
func (r *rig) heard() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if s := words(rec); s != "" {
			out = append(out, rec.Group.Device+": "+s)
		}
	}
	return out
}

func words(rec field.Record) string {
	var parts []string
	for i, p := range rec.Group.Points {
		switch q := rec.QualityOf(i); q {
		case field.Absent:
		case field.Good:
			parts = append(parts, p.Name+"="+rec.Values[i].String())
		default:
			parts = append(parts, p.Name+":"+q.String())
		}
	}
	return strings.Join(parts, " ")
}

func (r *rig) signs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.records)
}

const (
	ruuviAddress = "CB:B8:33:4C:88:4F"
	homeAddress  = "54:48:E6:8F:80:A5"
)

// put puts a device on the air.
func (r *rig) put(address, name string) *sim.Device {
	r.t.Helper()
	d, err := r.bluez.Add(address, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// say makes a device advertise, and fails when nobody listens.
func (r *rig) say(d *sim.Device, a sim.Advert) {
	r.t.Helper()
	sent, err := d.Advertise(a)
	if err != nil || !sent {
		r.t.Fatalf("%s advertises: %v, sent %v", d.Address, err, sent)
	}
}

func TestPassive(t *testing.T) {
	r := newRig(t)
	r.device("tag", ruuviAddress, nil, "temperature = temperature", "pressure = pressure", "signal = rssi", "raw = manufacturer 0499 length 24 byte 15 bit 1")
	r.run()
	r.listening()
	if passive, active := r.bluez.Listening(); !passive || active || r.driver.Stats().Mode != "passive" {
		t.Errorf("passive %v, active %v, stats %+v", passive, active, r.driver.Stats())
	}
	tag, stranger := r.put(ruuviAddress, "Ruuvi 884F"), r.put("00:11:22:33:44:55", "somebody")
	if err := tag.Remember(sim.Ruuvi(1, 1, 100000, 1)); err != nil { // what BlueZ remembers is no advertisement
		t.Fatal(err)
	}
	r.say(stranger, sim.BTHome(1, 2000))
	r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7))
	r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7)) // the same measurement once more
	r.say(tag, sim.Ruuvi(4862, 21396, 100050, 8))
	want := []string{
		"tag: temperature=24.3 pressure=1000.44 signal=-60 raw=true", "tag: signal=-60", "tag: temperature=24.31 pressure=1000.5 signal=-60 raw=true",
	}
	r.await("three records", func() bool { return len(r.heard()) == len(want) })
	if got := r.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q\nwant %q", got, want)
	}
	s := r.driver.Stats()
	if s.Adverts != 4 || s.Repeats != 1 || s.Strangers != 1 || len(s.Devices) != 1 || s.Devices[0].RSSI != -60 || s.Devices[0].Format != "ruuvi" || s.Devices[0].LastSeen.IsZero() {
		t.Errorf("stats %+v", s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.works != 1 || len(r.errs) != 0 {
		t.Errorf("the line was said to work %d times, errors %q", r.works, r.errs)
	}
}

// TestFallBack: whatever is wrong with monitors, discovery hears.
func TestFallBack(t *testing.T) {
	for name, f := range map[string]sim.Faults{
		"an old BlueZ":          {NoMonitors: true},
		"never activated":       {Silent: true},
		"let go of":             {Released: true},
		"discovery in progress": {NoMonitors: true, InProgress: 1},
		"all of it, one by one": {Released: true, InProgress: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bluez.Set(f)
			if f.Silent {
				r.o.Activation = 100 * time.Millisecond
			}
			r.device("tag", ruuviAddress, nil, "temperature = temperature")
			r.run()
			r.await("discovery", func() bool { _, active := r.bluez.Listening(); return active && r.driver.Stats().Mode == "active" })
			tag := r.put(ruuviAddress, "")
			r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7))
			r.await("it is heard", func() bool { return slices.Equal(r.heard(), []string{"tag: temperature=24.3"}) })
			if e := r.failures(); len(e) > 0 {
				t.Errorf("errors %q", e)
			}
			r.bluez.EndDiscovery() // for a reason of BlueZ's own
			r.await("discovery began again", func() bool { _, active := r.bluez.Listening(); return active })
		})
	}
}

// TestOnlyWhatChanged: of several kinds of data in one signal, what was said before is BlueZ's memory.
func TestOnlyWhatChanged(t *testing.T) {
	r := newRig(t)
	r.device("both", homeAddress, nil, "t = temperature", "minor = minor")
	r.run()
	r.listening()
	d := r.put(homeAddress, "")
	beacon := func(minor byte) []byte {
		return append(append([]byte{2, 21}, make([]byte, 16)...), 0, 1, 0, minor, 0xC5)
	}
	both := sim.BTHome(0, 2000)
	both.Service[0xFCD2] = []byte{0x40, 0x02, 0xD0, 0x07} // without a number, so that only the bytes tell
	both.Manufacturer = map[uint16][]byte{0x004C: beacon(1)}
	r.say(d, both)
	both.Manufacturer = map[uint16][]byte{0x004C: beacon(2)}
	r.say(d, both) // the temperature is memory
	both.Service = map[uint16][]byte{0xFCD2: {0x40, 0x02, 0xD1, 0x07}}
	r.say(d, both) // the beacon is
	r.say(d, both) // everything is the same: it was said again
	want := []string{"both: t=20 minor=1", "both: minor=2", "both: t=20.01", "both: t=20.01 minor=2"}
	r.await("four records", func() bool { return len(r.heard()) == len(want) })
	if got := r.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q\nwant %q", got, want)
	}
}

// TestRefused: what cannot be believed is counted by its cause, is no sign of life, and does not end anything.
func TestRefused(t *testing.T) {
	r := newRig(t)
	r.device("sealed", homeAddress, map[string]string{"key": "key"}, "t = temperature")
	r.device("keyless", "54:48:E6:8F:80:A6", map[string]string{"key": "nowhere"}, "t = temperature")
	r.device("open", "54:48:E6:8F:80:A7", nil, "t = temperature")
	r.run()
	r.listening()
	d, k, o := r.put(homeAddress, ""), r.put("54:48:E6:8F:80:A6", ""), r.put("54:48:E6:8F:80:A7", "")
	data := func(b ...byte) sim.Advert { return sim.Advert{RSSI: -50, Service: map[uint16][]byte{0xFCD2: b}} }
	sealed := []byte{0x41, 0xA4, 0x72, 0x66, 0xC9, 0x5F, 0x73, 0x00, 0x11, 0x22, 0x33, 0x78, 0x23, 0x72, 0x14}
	forged := slices.Clone(sealed)
	forged[1] ^= 1
	r.say(d, data(forged...))
	r.say(d, data(0x40, 0x02))
	r.say(d, data(0x40, 0xBB, 0x01))
	r.say(k, data(sealed...))
	r.await("all are counted", func() bool { s := r.driver.Stats(); return s.Key == 2 && s.Truncated == 1 && s.Unknown == 1 })
	if n := r.signs(); n != 0 {
		t.Errorf("%d signs of life, and nothing was to be believed", n)
	}
	r.say(d, data(sealed...))
	r.await("the real one", func() bool { return slices.Equal(r.heard(), []string{"sealed: t=25.06"}) })
	r.say(o, data(0x40, 0x01, 97))
	r.await("the battery is known, which no tag asks for", func() bool {
		s := r.driver.Stats()
		return s.Devices[2].Battery == field.Int(97) && s.Devices[0].Battery.IsNull() && !s.Heard.IsZero()
	})
	for _, dev := range r.driver.Stats().Devices {
		if dev.Name == "keyless" && (dev.Refused != 1 || !strings.Contains(dev.Refusal, "no key")) || dev.Name == "sealed" && dev.Refused != 3 {
			t.Errorf("stats %+v", dev)
		}
	}
}

// TestRefusedInTurns: who is heard may say anything; the log, which lies on flash, has each reason once.
func TestRefusedInTurns(t *testing.T) {
	r := newRig(t)
	var log lockedText
	r.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	r.device("tag", homeAddress, nil, "t = temperature")
	r.run()
	r.listening()
	d := r.put(homeAddress, "")
	data := func(b ...byte) sim.Advert { return sim.Advert{RSSI: -50, Service: map[uint16][]byte{0xFCD2: b}} }
	for range 20 {
		r.say(d, data(0x40, 0x02))
		r.say(d, data(0x40, 0xBB, 0x01))
	}
	r.await("all are counted", func() bool { s := r.driver.Stats(); return s.Truncated == 20 && s.Unknown == 20 })
	if n := strings.Count(log.String(), "an advertisement is refused"); n != 2 {
		t.Errorf("%d lines for two reasons:\n%s", n, log.String())
	}
}

// TestOddObjects: shapes that BlueZ never documents are counted, and the next good one is heard.
func TestOddObjects(t *testing.T) {
	r := newRig(t)
	r.device("tag", ruuviAddress, nil, "temperature = temperature")
	r.run()
	r.listening()
	tag := r.put(ruuviAddress, "")
	const changed = "org.freedesktop.DBus.Properties.PropertiesChanged"
	const added, removed = "org.freedesktop.DBus.ObjectManager.InterfacesAdded", "org.freedesktop.DBus.ObjectManager.InterfacesRemoved"
	odd := func(path string, name string, values ...any) {
		t.Helper()
		if err := r.bluez.Odd(tag.Path()[:len("/org/bluez/hci0")]+pathOf(path), name, values...); err != nil {
			t.Fatal(err)
		}
	}
	at := "/dev_CB_B8_33_4C_88_4F"
	odd(at, changed)
	odd(at, changed, "org.bluez.Device1")
	odd(at, changed, 7, 8, 9)
	odd(at, changed, "org.bluez.Device1", "no properties", []string{})
	odd(at, changed, "org.bluez.Device1", map[string]string{"RSSI": "-60"}, []string{})
	odd(at, changed, "org.bluez.Device1", variants("RSSI", "-60", "ManufacturerData", 5, "ServiceData", []byte{1}), []string{})
	odd(at, changed, "org.bluez.Device1", variants("RSSI", int16(-60), "ManufacturerData", map[string]string{"a": "b"}, "Connected", "yes", "Paired", 3), []string{})
	odd("/dev_nonsense", changed, "org.bluez.Device1", variants("RSSI", int16(-60)), []string{})
	odd("/dev_CB_B8_33_4C_88_4F/x", changed, "org.bluez.Device1", variants("RSSI", int16(-60)), []string{})
	odd("", changed, "org.bluez.Adapter1", variants("Powered", "no", "Discovering", 0), []string{})
	odd("", added)
	odd("", added, "no path", 5)
	odd("", added, tag.Path(), variants("org.bluez.Device1", 5))
	odd("", removed)
	odd("", removed, 5, 6)
	r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7))
	r.await("it is heard all the same", func() bool { return slices.Contains(r.heard(), "tag: temperature=24.3") })
	if s := r.driver.Stats(); s.Odd < 10 || len(r.failures()) > 0 {
		t.Errorf("stats %+v, errors %q", s, r.failures())
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.device("tag", ruuviAddress, nil, "temperature = temperature")
	r.run()
	r.listening()
	found := make(chan field.Found, 16)
	ended := make(chan error, 1)
	last := 0
	go func() {
		ended <- r.driver.Scan(t.Context(), field.ScanOptions{Timeout: 3 * time.Second}, func(f field.Found) { found <- f }, func(done, total int) { last = total - done })
	}()
	r.await("it looks for everybody", func() bool { _, active := r.bluez.Listening(); return active })
	tag, home, phone := r.put(ruuviAddress, "Ruuvi 884F"), r.put(homeAddress, "DIY-sensor"), r.put("00:11:22:33:44:55", "")
	r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7))
	r.say(home, sim.Advert{RSSI: -71, Service: map[uint16][]byte{0xFCD2: {0x40, 0x00, 0x01, 0x02, 0xD0, 0x07, 0x02, 0xD0, 0x07}}})
	r.say(phone, sim.Advert{RSSI: -90, Manufacturer: map[uint16][]byte{0x004C: {0x10, 0x05}}})
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	close(found)
	var got []string
	byAddress := map[string]field.Found{}
	for f := range found {
		got = append(got, f.Address)
		byAddress[f.Address] = f
	}
	slices.Sort(got)
	if want := []string{"00:11:22:33:44:55", homeAddress, ruuviAddress}; !slices.Equal(got, want) || last != 0 {
		t.Fatalf("found %q, want %q; %d steps were left", got, want, last)
	}
	f := byAddress[ruuviAddress]
	if f.Profile != "ruuvi-tag" || f.Identity != "ruuvi, -60 dBm, Ruuvi 884F" || f.Detail["signal"] != "-60 dBm" || f.Detail["format"] != "ruuvi" {
		t.Errorf("the tag: %+v", f)
	}
	if f := byAddress[homeAddress]; f.Detail["measures"] != "temperature, temperature 2" || f.Profile != "" {
		t.Errorf("the sensor: %+v", f)
	}
	text := ble.Paste("radio", byAddress[homeAddress])
	if !strings.Contains(text, `at     = "temperature 2"`) || !strings.Contains(text, `address = "54:48:E6:8F:80:A5"`) {
		t.Errorf("to paste:\n%s", text)
	}
	if passive, active := r.bluez.Listening(); !passive || active {
		t.Errorf("after the scan: passive %v, active %v", passive, active)
	}
	if err := r.driver.Scan(t.Context(), field.ScanOptions{From: "1"}, nil, nil); err == nil {
		t.Error("a range of addresses is taken")
	}
	// Where nobody listens, the scan does it itself.
	alone := ble.New(r.o)
	met := make(chan string, 16)
	go func() {
		ended <- alone.Scan(t.Context(), field.ScanOptions{Timeout: 3 * time.Second}, func(f field.Found) { met <- f.Address }, func(int, int) {})
	}()
	r.await("it looks for everybody", func() bool { _, active := r.bluez.Listening(); return active })
	r.say(tag, sim.Ruuvi(4860, 21396, 100044, 8))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(met) != 1 || <-met != ruuviAddress {
		t.Error("the scan without a listener did not find the tag")
	}
}

func TestNoBus(t *testing.T) {
	for _, address := range []string{"unix:path=" + t.TempDir() + "/nothing", "nonsense"} {
		d := ble.New(ble.Options{Bus: address})
		err := d.Listen(t.Context(), func(field.Record) {})
		if !errors.Is(err, field.ErrLine) || !strings.Contains(err.Error(), "dbus") {
			t.Errorf("%s: %v", address, err)
		}
		s, err := d.Bind(field.Device{Name: "a", Address: homeAddress, Tags: []field.Tag{{Name: "b", At: "gatt 180F/2A19"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context(), ""); !errors.Is(err, field.ErrLine) {
			t.Errorf("%s: Read: %v", address, err)
		}
		if err := d.Scan(t.Context(), field.ScanOptions{}, nil, nil); !errors.Is(err, field.ErrLine) {
			t.Errorf("%s: Scan: %v", address, err)
		}
	}
}

func Example() {
	fmt.Print(ble.Paste("radio", field.Found{Address: "C4:AB:12:34:56:78", Profile: "ruuvi-tag"}))
	// Output:
	// [[device]]
	// name    = "ble-c4ab12345678"
	// line    = "radio"
	// address = "C4:AB:12:34:56:78"
	// profile = "ruuvi-tag"
}

// lockedText is what was logged from any goroutine.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
