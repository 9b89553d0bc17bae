package appliance_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/update"
)

var updates = flag.Bool("updates", false, "update the booted machine: many minutes without KVM")

// TestUpdate is what a fleet's operator does, in the whole machine: a good version that stays, one that does not start
// and is put back, and one whose installation or probation the power cuts short. It shows that the updater's sandbox lets
// dpkg and the package's scripts do their work.
func TestUpdate(t *testing.T) {
	if !*boot || !*updates {
		t.Skip("it boots a machine in QEMU, and updates it three times: go test ./testbench/appliance -run TestUpdate -boot -updates [-arch arm64] -v")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newSite(t, ctx)
	defer cancel() // before the site's cleanup waits for its parts
	older, newer := packages(t, ctx)
	p := publish(t, newer)

	up, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := s.machine.Boot(up, time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.send(t, older, "/root/older.deb")
	s.sh(t, "dpkg -i /root/older.deb")
	s.configure(t, "")
	if err := s.machine.Put(ctx, "/etc/gatewayd/update.keys", "0644", p.keys); err != nil {
		t.Fatal(err)
	}
	// A probation of seconds in place of minutes; everything else is as delivered.
	s.sh(t, `mkdir -p /etc/systemd/system/gatewayd-update.service.d
unit=/usr/lib/systemd/system/gatewayd-update.service
(echo "[Service]"; echo ExecStart=; sed -n 's,^ExecStart=.*,& --settle 10s --window 4m,p' $unit) > /etc/systemd/system/gatewayd-update.service.d/quick.conf
systemctl daemon-reload; gatewayd updater hold /root/older.deb; systemctl restart gatewayd`)
	s.reach(t, 3, "pump", "meter")

	order := func(what, version string) {
		t.Helper()
		t.Logf("%s: %s", what, s.sh(t, fmt.Sprintf("gatewayd update http://%s/%s.jws", p.address, version)))
	}
	ends := func(what string, stage update.Stage, version string) {
		t.Helper()
		took := s.until(t, what, fmt.Sprintf(`grep -q '"stage": "%s"' /var/lib/gatewayd-update/state.json && ! [ -e /var/lib/gatewayd-update/pending ]`, stage))
		t.Logf("FIGURE %s %-34s %6.1f s", *arch, what, took.Seconds())
		s.reach(t, 3, "pump", "meter")
		if st := s.status(t); st.Version != version {
			t.Errorf("%s: version %s answers, want %s", what, st.Version, version)
		}
		if audit := s.sh(t, "dpkg --audit"); audit != "" {
			t.Errorf("%s: dpkg --audit: %s", what, audit)
		}
		if installed := s.sh(t, "dpkg-query -W -f '${Version}' gatewayd"); installed != version+"-1" {
			t.Errorf("%s: %s is installed", what, installed)
		}
	}
	order("a good version", "0.9.1")
	ends("an update that stays", update.Committed, "0.9.1")
	order("a bad version", "0.9.2")
	ends("an update that is rolled back", update.RolledBack, "0.9.1")
	why := s.sh(t, "cat /var/lib/gatewayd-update/state.json")
	if !strings.Contains(why, `"why": "it `) {
		t.Errorf("no reason is given: %s", why)
	}
	order("a bad version, again", "0.9.2")
	s.until(t, "the installation", `grep -q '"stage": "\(installing\|probation\)"' /var/lib/gatewayd-update/state.json`)
	if err := s.machine.Pull(7); err != nil {
		t.Fatal(err)
	}
	again, stop2 := context.WithTimeout(ctx, patience)
	defer stop2()
	if err := s.machine.Boot(again, time.Time{}); err != nil {
		t.Fatal(err)
	}
	ends("an update that the power cut short", update.RolledBack, "0.9.1")
	s.sh(t, "grep -q appliance-gw /etc/gatewayd/gatewayd.toml") // the owner's configuration is still there
}

// publisher serves packages and their manifests.
type publisher struct {
	address string // as the guest reaches it
	keys    []byte // PEM
}

// publish signs the good package as 0.9.1, and one as 0.9.2 whose program does not start.
func publish(t *testing.T, good string) publisher {
	t.Helper()
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for version, deb := range map[string]string{"0.9.1": good, "0.9.2": spoil(t, good)} {
		text, err := os.ReadFile(deb)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		m, err := json.Marshal(update.Manifest{V: 1, Package: "gatewayd", Version: version + "-1", Arch: *arch, Artifact: update.Artifact{
			URL: version + ".deb", Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(filepath.Join(dir, version+".deb"), text, 0o644),
			os.WriteFile(filepath.Join(dir, version+".jws"), command.Sign(private, "publisher", m), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }() // it ends with the test
	t.Cleanup(func() { server.Close(); <-done })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return publisher{net.JoinHostPort(hostAddress, port), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
}

// spoil makes 0.9.2 of a package: all is as before, but for a program that ends at once.
func spoil(t *testing.T, good string) string {
	t.Helper()
	dir := t.TempDir()
	tree, deb := filepath.Join(dir, "tree"), filepath.Join(dir, "0.9.2.deb")
	out, err := exec.Command("dpkg-deb", "-R", good, tree).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	control := filepath.Join(tree, "DEBIAN", "control")
	text, err := os.ReadFile(control)
	if err == nil {
		text = regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAll(text, []byte("Version: 0.9.2-1"))
		err = errors.Join(os.WriteFile(control, text, 0o644), os.WriteFile(filepath.Join(tree, "usr", "bin", "gatewayd"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "-b", "--root-owner-group", "-Zgzip", tree, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return deb
}
