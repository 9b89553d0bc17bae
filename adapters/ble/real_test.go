package ble_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/ble"
	"edgegateway/adapters/field"
	"edgegateway/testbench/peripheral"
)

var realOnes = flag.String("real", "", "two controllers of a real bluetoothd, \"hci0,hci1\": see testbench/peripheral")

// TestRealBluetoothd: the second controller advertises and serves; through the first one ours finds it, connects,
// subscribes, reads and writes. See the package testbench/peripheral for what the machine must have.
func TestRealBluetoothd(t *testing.T) {
	first, second, ok := strings.Cut(*realOnes, ",")
	if !ok {
		t.Skip("it needs a real bluetoothd with two controllers: -real hci0,hci1; testbench/peripheral says how")
	}
	peer, err := peripheral.New("", second)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	const long = 3 * time.Minute // an emulated machine, whose controllers tell of a device only when a scan begins
	r := &rig{t: t, patience: long, o: ble.Options{Adapter: first, Quiet: time.Hour, Connect: 40 * time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}}
	r.driver = ble.New(r.o)
	s, err := r.driver.Bind(field.Device{Name: "peer", Address: peer.Address(), Timeout: r.o.Connect, Tags: []field.Tag{
		{Name: "told", At: "notify 181A/2A6E"},
		{Name: "temperature", At: "gatt 181A/2A6E", Group: field.SlowGroup},
		{Name: "setpoint", At: "gatt " + peripheral.Settings + "/" + peripheral.Setpoint, Type: "uint16", Group: field.SlowGroup, Write: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.run()
	r.listening()
	r.await("the device was found, connected and subscribed to", func() bool { return peer.Notifying(peripheral.Temperature) })
	t.Logf("found, connected and subscribed to within %s", time.Since(began).Round(time.Millisecond))
	if err := peer.Put(peripheral.Temperature, []byte{0xD0, 0x07}); err != nil {
		t.Fatal(err)
	}
	r.await("what it says is heard", func() bool { return slices.Contains(r.heard(), "peer: told=20") })

	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if rec, err := s.Read(ctx, field.SlowGroup); err != nil || words(rec) != "temperature=20 setpoint=0" {
		t.Errorf("read %q, %v", words(rec), err)
	}
	if err := s.(field.Writer).Write(ctx, "setpoint", field.Uint(4711)); err != nil {
		t.Fatal(err)
	}
	if got := peer.Written(peripheral.Setpoint); len(got) != 1 || !bytes.Equal(got[0], []byte{0x67, 0x12}) {
		t.Errorf("written % X", got)
	}
	if rec, err := s.Read(ctx, field.SlowGroup); err != nil || words(rec) != "temperature=20 setpoint=4711" {
		t.Errorf("read %q, %v", words(rec), err)
	}
	st := r.driver.Stats()
	t.Logf("stats %+v", st)
	if st.Connects == 0 || len(r.failures()) > 0 {
		t.Errorf("errors %q", r.failures())
	}
}
