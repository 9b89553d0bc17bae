package ble_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	sim "edgegateway/testbench/sim/ble"
)

const lockAddress = "C0:FF:EE:00:00:01"

// serve makes a device serve a characteristic by its assigned numbers.
func (r *rig) serve(d *sim.Device, service, uuid uint16, value ...byte) *sim.Char {
	r.t.Helper()
	c, err := d.Serve(sim.Full(service), sim.Full(uuid), value)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) read(s field.Station) (field.Record, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	return s.Read(ctx, field.MainGroup)
}

func TestReadAndWrite(t *testing.T) {
	r := newRig(t)
	s := r.device("lock", lockAddress, nil, "temperature = gatt 181A/2A6E", "humidity = gatt 181A/2A6F", "battery = gatt 180F/2A19 !",
		"low = gatt 180F/2A19 bit 6", "model = gatt 180A/2A24", "none = gatt 180A/2A29", "secret = gatt 180A/2A25")
	r.run()
	r.listening()
	d := r.put(lockAddress, "lock")
	r.serve(d, 0x181A, 0x2A6E, 0xCA, 0x09)
	r.serve(d, 0x181A, 0x2A6F, 0xFF, 0xFF)
	battery := r.serve(d, 0x180F, 0x2A19, 93)
	r.serve(d, 0x180A, 0x2A24, []byte("Lock 3000")...)
	r.serve(d, 0x180A, 0x2A25, 1).Refuse("NotPermitted")
	if st := r.driver.Stats(); st.Mode != "idle" {
		t.Errorf("nobody is listened to, and the mode is %s", st.Mode)
	}
	// BlueZ does not know the device yet: it is looked for.
	go func() {
		for sent := false; !sent && t.Context().Err() == nil; {
			sent, _ = d.Advertise(sim.Advert{RSSI: -50})
			time.Sleep(time.Millisecond)
		}
	}()
	rec, err := r.read(s)
	if want := "temperature=25.06 humidity:invalid battery=93 low=true model=Lock 3000 none:exception secret:exception"; err != nil || words(rec) != want {
		t.Fatalf("read %q (%v)\nwant %q", words(rec), err, want)
	}
	r.await("the device is let go", func() bool { connected, _, _ := d.State(); return !connected })
	if _, active := r.bluez.Listening(); active {
		t.Error("it is looked for still")
	}
	w := s.(field.Writer)
	if err := w.Write(t.Context(), "battery", field.Uint(42)); err != nil {
		t.Fatal(err)
	}
	if got := battery.Written(); len(got) != 1 || !bytes.Equal(got[0], []byte{42}) {
		t.Errorf("written % X", got)
	}
	for tag, want := range map[string]error{"low": field.ErrRange, "nothing": field.ErrUnknownTag} {
		if err := w.Write(t.Context(), tag, field.Bool(true)); !errors.Is(err, want) {
			t.Errorf("writing %s: %v, want %v", tag, err, want)
		}
	}
	var refused *field.ExceptionError
	if err := w.Write(t.Context(), "none", field.Text("x")); !errors.As(err, &refused) {
		t.Errorf("writing what is not there: %v", err)
	}
	if err := s.(field.Prober).Probe(t.Context()); err != nil {
		t.Errorf("a sign of life: %v", err)
	}
}

// TestNoConnection: a device that is away, refuses, or drops the connection is silent, and says how.
func TestNoConnection(t *testing.T) {
	r := newRig(t)
	r.o.Connect = 300 * time.Millisecond
	s := r.device("lock", lockAddress, nil, "battery = gatt 180F/2A19")
	r.run()
	r.listening()
	d := r.put(lockAddress, "lock")
	r.serve(d, 0x180F, 0x2A19, 93)
	fails := func(what, part string) {
		t.Helper()
		rec, err := r.read(s)
		if !errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), part) || words(rec) != "battery:timeout" {
			t.Errorf("%s: %q, %v", what, words(rec), err)
		}
	}
	fails("away", "not in range")
	if err := d.Remember(sim.Advert{}); err != nil {
		t.Fatal(err)
	}
	r.bluez.Set(sim.Faults{NoConnect: true})
	fails("refused", "no connection")
	r.bluez.Set(sim.Faults{LateConnect: true})
	fails("dropped", "")
	if st := r.driver.Stats(); st.Failures < 2 || st.Connects != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestNotify(t *testing.T) {
	r := newRig(t)
	r.device("belt", lockAddress, nil, "rate = notify 180D/2A37 heart_rate", "rr = notify 180D/2A37 rr", "battery = notify 180F/2A19")
	r.run()
	r.listening()
	d := r.put(lockAddress, "belt")
	rate, battery := r.serve(d, 0x180D, 0x2A37, 0, 60), r.serve(d, 0x180F, 0x2A19, 90)
	if err := d.Remember(sim.Advert{}); err != nil {
		t.Fatal(err)
	}
	put := func(c *sim.Char, b ...byte) {
		t.Helper()
		r.await("it is subscribed to", c.Notifying)
		if told, err := c.Put(b); err != nil || !told {
			t.Fatal(told, err)
		}
	}
	put(rate, 0x10, 61, 0x00, 0x04)
	put(battery, 89)
	put(rate, 0x01, 0x2C, 0x01)
	want := []string{"belt: rate=61 rr=1", "belt: battery=89", "belt: rate=300"}
	r.await("three notices", func() bool { return len(r.heard()) == 3 })
	if got := r.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	d.Drop() // out of range, and back
	put(battery, 88)
	r.await("it is heard after a new connection", func() bool { return slices.Contains(r.heard(), "belt: battery=88") })
	if err := r.bluez.Restart(); err != nil {
		t.Fatal(err)
	}
	r.await("bluetoothd is found again", func() bool { return r.bluez.Powered() && r.driver.Stats().Listening })
	if err := d.Remember(sim.Advert{}); err != nil {
		t.Fatal(err)
	}
	put(battery, 87)
	r.await("it is heard after a restart", func() bool { return slices.Contains(r.heard(), "belt: battery=87") })
}

// TestBatteryThatBlueZKeeps: bluetoothd keeps the battery service for itself since 5.48; the tags read it all the same.
func TestBatteryThatBlueZKeeps(t *testing.T) {
	r := newRig(t)
	s := r.device("lock", lockAddress, nil, "battery = gatt 180F/2A19", "model = gatt 180A/2A24")
	r.device("belt", homeAddress, nil, "battery = notify 180F/2A19", "rate = notify 180D/2A37 heart_rate")
	r.run()
	r.listening()
	lock, belt := r.put(lockAddress, "lock"), r.put(homeAddress, "belt")
	r.serve(lock, 0x180A, 0x2A24, []byte("Lock 3000")...)
	rate := r.serve(belt, 0x180D, 0x2A37, 0, 60)
	for _, d := range []*sim.Device{lock, belt} {
		if err := d.Remember(sim.Advert{}); err != nil {
			t.Fatal(err)
		}
		if err := d.Battery(77); err != nil {
			t.Fatal(err)
		}
	}
	if rec, err := r.read(s); err != nil || words(rec) != "battery=77 model=Lock 3000" {
		t.Errorf("%q %v", words(rec), err)
	}
	r.await("the belt is subscribed to", rate.Notifying)
	r.await("its battery is told", func() bool {
		if err := belt.Battery(76); err != nil {
			t.Fatal(err)
		}
		return slices.Contains(r.heard(), "belt: battery=76")
	})
	for _, dev := range r.driver.Stats().Devices {
		if want := map[string]string{"lock": "77", "belt": "76"}[dev.Name]; dev.Battery.String() != want {
			t.Errorf("the battery of the %s is known as %s, want %s", dev.Name, dev.Battery, want)
		}
	}
}

func TestPairing(t *testing.T) {
	for credential, want := range map[string]string{"passkey": "", "wrong": "the passkey in the credential", "nowhere": "pairing was refused"} {
		t.Run(credential, func(t *testing.T) {
			r := newRig(t)
			s := r.device("lock", lockAddress, map[string]string{"passkey": credential}, "battery = gatt 180F/2A19")
			r.run()
			r.listening()
			d := r.put(lockAddress, "lock")
			d.Passkey(42137)
			r.serve(d, 0x180F, 0x2A19, 93)
			if err := d.Remember(sim.Advert{}); err != nil {
				t.Fatal(err)
			}
			rec, err := r.read(s)
			_, paired, trusted := d.State()
			switch {
			case want != "" && (!errors.Is(err, field.ErrSilent) || !strings.Contains(err.Error(), want) || paired):
				t.Errorf("paired %v, %v", paired, err)
			case want == "" && (err != nil || words(rec) != "battery=93" || !paired || !trusted):
				t.Errorf("%q %v, paired %v, trusted %v", words(rec), err, paired, trusted)
			}
			if want != "" {
				return
			}
			if _, err := r.read(s); err != nil || r.bluez.Calls("Pair") != 1 {
				t.Errorf("paired %d times, %v", r.bluez.Calls("Pair"), err)
			}
		})
	}
}

// TestConnectionsAndDiscovery: discovery rests while a connection is made, and goes on afterwards.
func TestConnectionsAndDiscovery(t *testing.T) {
	r := newRig(t)
	r.bluez.Set(sim.Faults{NoMonitors: true})
	r.device("tag", ruuviAddress, nil, "temperature = temperature")
	s := r.device("lock", lockAddress, nil, "battery = gatt 180F/2A19")
	r.run()
	r.await("discovery", func() bool { _, active := r.bluez.Listening(); return active })
	r.listening()
	d := r.put(lockAddress, "lock")
	r.serve(d, 0x180F, 0x2A19, 93)
	r.say(d, sim.Advert{RSSI: -40})
	stops := r.bluez.Calls("StopDiscovery")
	if rec, err := r.read(s); err != nil || words(rec) != "battery=93" {
		t.Fatalf("%q %v", words(rec), err)
	}
	if n := r.bluez.Calls("StopDiscovery"); n != stops+1 {
		t.Errorf("discovery was stopped %d times for one connection", n-stops)
	}
	r.await("discovery goes on", func() bool { _, active := r.bluez.Listening(); return active })
	r.say(r.put(ruuviAddress, ""), sim.Ruuvi(4860, 21396, 100044, 7))
	r.await("the tag is heard", func() bool { return slices.Contains(r.heard(), "tag: temperature=24.3") })
}

// TestReadWaitsForWhatComesNext: of a device that is heard, a read gives what it says from then on, nothing older.
func TestReadWaitsForWhatComesNext(t *testing.T) {
	r := newRig(t)
	s := r.device("tag", ruuviAddress, nil, "temperature = temperature")
	r.run()
	r.listening()
	tag := r.put(ruuviAddress, "")
	r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7))
	r.await("it is heard", func() bool { return len(r.heard()) == 1 })
	got := make(chan string, 1)
	go func() {
		rec, err := r.read(s)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- words(rec)
	}()
	for n := uint16(8); ; n++ {
		select {
		case g := <-got:
			if g != "temperature=25" {
				t.Errorf("read %q", g)
			}
			return
		case <-time.After(2 * time.Millisecond):
			r.say(tag, sim.Ruuvi(5000, 21396, 100044, n))
		}
	}
}
