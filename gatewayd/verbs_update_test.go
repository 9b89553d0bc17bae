package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/gatewayd/update"
	"edgegateway/testbench/privatebus"
	"edgegateway/testbench/sim/modbus"
	"edgegateway/testbench/sim/servicemanager"
)

// TestUpdaterSeesTheGateway holds the evidence that a probation is judged by against a running daemon and its unit.
func TestUpdaterSeesTheGateway(t *testing.T) {
	bus, err := privatebus.Start(t.TempDir())
	if errors.Is(err, privatebus.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	manager, err := servicemanager.New(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.Set("gatewayd.service", servicemanager.Unit{Active: "active", Sub: "running", Restarts: 3}); err != nil {
		t.Fatal(err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plc := modbus.New(1)
	plc.Unit(1).Set(modbus.Holdings, 0, 1, 2)
	plc.Unit(1).Hole(modbus.Holdings, 5000, 5001)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); _ = plc.ServeTCP(ctx, ln) }() // it ends with the test
	defer func() { stop(); <-served }()

	dir := t.TempDir()
	file := filepath.Join(dir, "gatewayd.toml")
	if err := os.WriteFile(file, []byte(`[gateway]
name = "gw"
[[line]]
name = "net"
host = "`+ln.Addr().String()+`"
[[device]]
name = "plc"
line = "net"
protocol = "modbus"
address = "1"
every = "200ms"
[[tag]]
device = "plc"
name = "a"
at = "holding 0"
type = "uint16"
[[tag]]
device = "plc"
name = "b"
at = "holding 1"
type = "uint16"
[[tag]]
device = "plc"
name = "missing"
at = "holding 5000"
type = "uint16"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("gatewayd", "run", "--config", file, "--state", filepath.Join(dir, "state"), "--runtime", filepath.Join(dir, "run"))
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- daemon.Wait() }()
	defer func() { _ = daemon.Process.Kill() }()

	w := watched{&cli{runtime: filepath.Join(dir, "run")}}
	var got update.Evidence
	for end := time.Now().Add(5 * time.Minute); ; {
		if got, err = w.Look(t.Context()); err == nil && got.Good == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, %v; the daemon says:\n%s", got, err, log.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !got.Ready || got.Version != version() || got.Restarts != 3 || len(got.Reached) != 0 {
		t.Errorf("evidence %+v", got)
	}
	// The verbs that other packages give to the table are there, and answer.
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"units"}, "gatewayd.service  active (running)"},
		{[]string{"update"}, "running   " + version()},
		{[]string{"update", "cancel"}, "nothing is being fetched"},
		{[]string{"identity"}, "no identity"},
		{[]string{"logs", "ssh"}, `"ssh.service" may not be asked for`},
		{[]string{"restart", "ssh"}, `"ssh.service" may not be asked for`},
		{[]string{"reboot", ""}, "say why"},
	} {
		var out bytes.Buffer
		execute(append(c.args, "--runtime", filepath.Join(dir, "run")), &out, &out)
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("gatewayd %s: %q; want %q", strings.Join(c.args, " "), out.String(), c.want)
		}
	}
	if err := errors.Join(w.Restart(t.Context()), daemon.Process.Signal(syscall.SIGTERM), <-gone); err != nil {
		t.Fatal(err)
	}
	if asked := manager.Asked(); !slices.Equal(asked, []string{"restart gatewayd.service replace"}) {
		t.Errorf("the manager was asked: %q", asked)
	}
	if got, err := w.Look(t.Context()); err != nil || got.Ready || got.Version != "" {
		t.Errorf("with nobody there: %+v, %v", got, err)
	}
}

// TestPublishersManifest signs a manifest as a publisher does, and reads it as a gateway does.
func TestPublishersManifest(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not installed: this needs a Debian")
	}
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pack := func(version string) string {
		from, deb := filepath.Join(dir, version), filepath.Join(dir, "gatewayd_"+version+".deb")
		control := "Package: gatewayd\nVersion: " + version + "\nArchitecture: arm64\nMaintainer: t <t@example.org>\nDescription: test\n"
		if err := errors.Join(os.MkdirAll(filepath.Join(from, "DEBIAN"), 0o755), os.WriteFile(filepath.Join(from, "DEBIAN", "control"), []byte(control), 0o644)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("dpkg-deb", "--build", "-Znone", from, deb).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return deb
	}
	next, base := pack("1.3.0-1"), pack("1.2.0-1")
	var out, complaint bytes.Buffer
	code := execute([]string{"manifest", next, base, "--key", key, "--url", "gatewayd_1.3.0-1.deb", "--min", "1.1.0-1", "--days", "90", "--one-way"}, &out, &complaint)
	if code != 0 {
		t.Fatalf("%d: %s", code, complaint.String())
	}
	m, err := update.ReadManifest(out.Bytes(), []ed25519.PublicKey{public})
	if err != nil {
		t.Fatal(err)
	}
	days := time.Until(time.UnixMilli(m.NotAfter)).Hours() / 24
	if m.Version != "1.3.0-1" || m.Arch != "arm64" || m.MinVersion != "1.1.0-1" || !m.OneWay || days < 88 || days > 91 || m.Size == 0 ||
		len(m.Bases) != 1 || m.Bases[0].Version != "1.2.0-1" || m.Bases[0].URL != "gatewayd_1.2.0-1.deb" {
		t.Errorf("manifest %+v", m)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{next, "--url", "x"}, "--key"},
		{[]string{next, "--key", key}, "--url"},
		{[]string{next, "--key", next, "--url", "x"}, "no PEM file"},
		{[]string{key, "--key", key, "--url", "x"}, "dpkg-deb"},
		{[]string{next, "--key", key, "--url", "x", "--days", "soon"}, "--days soon"},
	} {
		complaint.Reset()
		if code := execute(append([]string{"manifest"}, c.args...), &out, &complaint); code == 0 || !strings.Contains(complaint.String(), c.want) {
			t.Errorf("manifest %q: %d %s; want %q", c.args, code, complaint.String(), c.want)
		}
	}
}
