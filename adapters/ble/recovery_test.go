package ble_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sim "edgegateway/testbench/sim/ble"
)

// TestLadder: a radio that hears nobody is woken by steps, and no step more than was needed.
func TestLadder(t *testing.T) {
	for _, c := range []struct {
		repair                  string
		restart                 bool
		scans, cycles, restarts uint64
	}{
		{sim.ByScan, true, 1, 0, 0},
		{sim.ByAdapter, true, 1, 1, 0},
		{sim.ByService, true, 1, 1, 1},
	} {
		t.Run("repaired by "+c.repair, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.o.Quiet, r.o.Restart = 500*time.Millisecond, c.restart
			r.device("tag", ruuviAddress, nil, "temperature = temperature")
			r.run()
			r.listening()
			tag := r.put(ruuviAddress, "")
			r.bluez.Set(sim.Faults{Quiet: true, RepairedBy: c.repair})
			n, stalled, last := uint16(0), false, time.Now()
			r.await("it is heard", func() bool {
				n++
				now := time.Now()
				stalled = stalled || now.Sub(last) > r.o.Quiet/4 // a machine that is so busy may take a step too many
				last = now
				if _, err := tag.Advertise(sim.Ruuvi(4860, 21396, 100044, n)); err != nil {
					t.Fatal(err)
				}
				return len(r.heard()) > 0
			})
			s := r.driver.Stats()
			if s.Scans < c.scans || s.Cycles < c.cycles || s.Restarts < c.restarts || !stalled && (s.Scans != c.scans || s.Cycles != c.cycles || s.Restarts != c.restarts) {
				t.Errorf("scans %d, cycles %d, restarts %d; want %d, %d, %d", s.Scans, s.Cycles, s.Restarts, c.scans, c.cycles, c.restarts)
			}
		})
	}
}

// TestLadderEnds: when nothing helps that is said, the line is down until somebody is heard, and further rounds wait longer.
func TestLadderEnds(t *testing.T) {
	r := newRig(t)
	r.o.Quiet = 50 * time.Millisecond
	r.device("tag", ruuviAddress, nil, "temperature = temperature")
	r.bluez.Set(sim.Faults{Quiet: true})
	r.run()
	gaveUp := func() bool {
		return slices.ContainsFunc(r.failures(), func(e string) bool { return strings.Contains(e, "check the antenna") })
	}
	r.await("it gives up", gaveUp)
	if n := r.bluez.Calls("RestartUnit"); n != 0 {
		t.Errorf("bluetoothd was restarted %d times, which was not allowed", n)
	}
	r.mu.Lock()
	works := r.works
	r.mu.Unlock()
	r.await("it listens again", func() bool { return r.driver.Stats().Listening })
	r.bluez.Set(sim.Faults{})
	stranger := r.put("00:11:22:33:44:55", "")
	r.await("the line works once somebody is heard, and not before", func() bool {
		r.mu.Lock()
		before := r.works
		r.mu.Unlock()
		sent, err := stranger.Advertise(sim.BTHome(1, 2000))
		if err != nil {
			t.Fatal(err)
		}
		if !sent && before != works {
			t.Fatal("the line was said to work, and nobody had been heard")
		}
		return before > works
	})
}

// TestTroubles: whatever happens to bluetoothd, the adapter or the bus, the radio is on and listens again by itself.
func TestTroubles(t *testing.T) {
	for _, c := range []struct {
		name string
		hurt func(r *rig) error
		heal func(r *rig) error
		says string
	}{
		{"bluetoothd restarts", func(r *rig) error { return r.bluez.Restart() }, nil, "bluetoothd ended or was restarted"},
		{"bluetoothd stops", func(r *rig) error { r.bluez.Stop(); return nil }, func(r *rig) error { return r.bluez.Start() }, "bluetoothd is not running"},
		{"the adapter is unplugged", func(r *rig) error { return r.bluez.Unplug() }, func(r *rig) error { return r.bluez.Plug() }, "there is no bluetooth adapter hci0"},
		{"rfkill", func(r *rig) error { return r.bluez.Block() }, func(r *rig) error { r.bluez.Unblock(); return nil }, "rfkill unblock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.device("tag", ruuviAddress, nil, "temperature = temperature")
			r.run()
			r.listening()
			tag := r.put(ruuviAddress, "")
			r.say(tag, sim.Ruuvi(4860, 21396, 100044, 7))
			r.await("it is heard", func() bool { return len(r.heard()) == 1 })
			if err := c.hurt(r); err != nil {
				t.Fatal(err)
			}
			r.await("it is said", func() bool {
				return slices.ContainsFunc(r.failures(), func(e string) bool { return strings.Contains(e, c.says) })
			})
			if c.heal != nil {
				if err := c.heal(r); err != nil {
					t.Fatal(err)
				}
			}
			n := uint16(8)
			r.await("it is heard again", func() bool {
				n++
				if _, err := tag.Advertise(sim.Ruuvi(5000, 21396, 100044, n)); err != nil {
					t.Fatal(err)
				}
				return slices.Contains(r.heard(), "tag: temperature=25")
			})
			if !r.bluez.Powered() {
				t.Error("the radio is off")
			}
		})
	}
}

// TestBusEnds: the message bus itself goes away.
func TestBusEnds(t *testing.T) {
	r := newRig(t)
	r.device("tag", ruuviAddress, nil, "temperature = temperature")
	r.run()
	r.listening()
	r.bus.Stop()
	r.await("it is said", func() bool {
		return slices.ContainsFunc(r.failures(), func(e string) bool { return strings.Contains(e, "message bus") })
	})
}

// TestStrangersAreBounded: devices with ever new addresses do not fill anything.
func TestStrangersAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("5,000 devices")
	}
	r := newRig(t)
	r.device("tag", ruuviAddress, nil, "temperature = temperature")
	r.run()
	r.listening()
	const many = 5000
	for i := range many {
		d := r.put(fmt.Sprintf("00:00:00:00:%02X:%02X", i>>8, i&0xFF), "")
		r.say(d, sim.BTHome(1, 2000))
		if i%500 == 499 { // as fast as it can be taken, and no faster: nothing is to be dropped here
			r.await("they are heard", func() bool { return r.driver.Stats().Adverts == uint64(i+1) })
		}
	}
	s := r.driver.Stats()
	if s.Strangers != 4096 || s.Forgotten != many-4096 || s.Dropped != 0 {
		t.Errorf("strangers %d, forgotten %d, dropped %d", s.Strangers, s.Forgotten, s.Dropped)
	}
	r.await("BlueZ is told to forget them", func() bool { return len(r.bluez.Removed()) == many-4096 })
}
