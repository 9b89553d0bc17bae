package appliance_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/testbench/appliance"
)

var bluetooth = flag.Bool("bluetooth", false, "boot a machine and try adapters/ble on the real bluetoothd there, with two virtual controllers")

// TestBluetooth: in a booted Debian the real bluetoothd has two virtual controllers; a device that it plays on the one is
// found, connected, subscribed to, read and written by adapters/ble through the other. The test that runs inside is
// TestRealBluetoothd of adapters/ble; testbench/peripheral is the device.
func TestBluetooth(t *testing.T) {
	if !*bluetooth {
		t.Skip("it boots a machine in QEMU, which takes minutes: go test ./testbench/appliance -run TestBluetooth -bluetooth -v")
	}
	ctx := t.Context()
	program := filepath.Join(t.TempDir(), "ble.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", program, "edgegateway/adapters/ble")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	m, err := appliance.New(ctx, "amd64")
	if errors.Is(err, appliance.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := m.Boot(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(ctx, "/root/ble.test", "0755", text); err != nil {
		t.Fatal(err)
	}
	const limit = 5 * time.Minute
	sh := func(what, script string) string {
		t.Helper()
		out, err := m.Run(ctx, limit, "sh", "-c", script)
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		return out
	}
	sh("bluetoothd and its controllers", "systemctl start bluetooth && systemd-run --quiet --unit=btvirt btvirt -L -l4")
	// Four, for on an emulated machine that is busy the kernel gives some of them up while they are set up.
	sh("bluetoothd sees two", "n=0; until [ $(busctl tree --list org.bluez | grep -c 'hci[0-9]*$') -ge 2 ]; do sleep 1; n=$((n+1)); "+
		"[ $((n%40)) -ne 0 ] || systemctl restart btvirt; done")
	pair := sh("their names", "busctl tree --list org.bluez | grep -o 'hci[0-9]*$' | sort | head -n 2 | paste -sd ,")
	t.Logf("controllers %s", pair)
	t.Log(sh("TestRealBluetoothd", "/root/ble.test -test.v -test.run TestRealBluetoothd -real "+strings.TrimSpace(pair)+" 2>&1"))
}
