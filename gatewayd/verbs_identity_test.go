package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/gatewayd/identity"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/sim/est"
)

// TestProvisionByHand is an installer's way: a box as installed, a ticket, and a gateway that can be run.
func TestProvisionByHand(t *testing.T) {
	server, err := est.New()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dir := t.TempDir()
	installed, err := os.ReadFile(filepath.Join("..", "packaging", "gatewayd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gatewayd.toml")
	if err := os.WriteFile(file, installed, 0o640); err != nil {
		t.Fatal(err)
	}
	ticket := func(gateway, secret string) string {
		server.Secrets[gateway] = secret
		text, err := json.Marshal(map[string]any{"v": 1, "gateway": gateway, "est": server.URL(), "ca": server.CA(), "secret": secret,
			"issued": time.Now().UnixMilli(), "servers": []string{"mqtts://broker.example:8883"}, "prefix": "site/" + gateway})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, gateway+".ticket")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	provision := func(ticket string) (code int, said string) {
		var out bytes.Buffer
		code = execute([]string{"provision", ticket, "--config", file, "--state", filepath.Join(dir, "state")}, &out, &out)
		return code, out.String()
	}
	code, said := provision(ticket("plant7-gw2", "a-secret-of-80-bits"))
	if code != 0 || !strings.Contains(said, "this gateway is plant7-gw2") {
		t.Fatalf("code %d:\n%s", code, said)
	}
	s, err := load(file, inFolder(dir), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := s.config.Platforms; s.config.Gateway.Name != "plant7-gw2" || len(p) != 1 || !p[0].Identity || p[0].Prefix != "site/plant7-gw2" ||
		len(p[0].Servers) != 1 || p[0].Servers[0] != "mqtts://broker.example:8883" {
		t.Errorf("gateway %q, platforms %+v", s.config.Gateway.Name, p)
	}
	var out bytes.Buffer
	if code := execute([]string{"check", "--config", file}, &out, &out); code != 0 {
		t.Errorf("check: %d\n%s", code, out.String())
	}
	// Nothing but the name was touched.
	changed, err := os.ReadFile(file)
	if err != nil || string(changed) != strings.Replace(string(installed), `name = "unnamed"`, `name = "plant7-gw2"`, 1) {
		t.Errorf("the configuration: %v\n%s", err, changed)
	}
	// Another gateway's ticket is refused before it is spent; the same one's second ticket leaves the configuration.
	if code, said := provision(ticket("plant7-gw3", "b-secret-of-80-bits")); code != exitNo || !strings.Contains(said, `calls this gateway "plant7-gw2"`) {
		t.Errorf("another's ticket: %d %s", code, said)
	}
	if len(server.Issued) != 1 {
		t.Errorf("%d certificates were given", len(server.Issued))
	}
	if code, said := provision(ticket("plant7-gw2", "c-secret-of-80-bits")); code != 0 || !strings.Contains(said, "has a [platform] already") {
		t.Errorf("its second ticket: %d %s", code, said)
	}
	if code, said := provision(filepath.Join(dir, "none")); code != exitNo || !strings.Contains(said, "none") {
		t.Errorf("no ticket: %d %s", code, said)
	}
}

// TestProvisionedGatewayConnects is the rest of that way: a platform that lets in only who shows a certificate of its
// authority meets the gateway, and a copy of its flash in another box stays out.
func TestProvisionedGatewayConnects(t *testing.T) {
	server, err := est.New()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	side, err := server.TLS()
	if err != nil {
		t.Fatal(err)
	}
	platform, err := broker.New(broker.Options{TLS: side})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- platform.Run(ctx) }()
	defer func() { stop(); <-ended }()

	dir := t.TempDir()
	file, state := filepath.Join(dir, "gatewayd.toml"), filepath.Join(dir, "state")
	if err := os.WriteFile(file, []byte("[gateway]\nname = \"unnamed\"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	server.Secrets["gw-1"] = "a-secret-of-80-bits"
	text, err := json.Marshal(map[string]any{"v": 1, "gateway": "gw-1", "est": server.URL(), "ca": server.CA(), "secret": "a-secret-of-80-bits",
		"issued": time.Now().UnixMilli(), "servers": []string{strings.Replace(platform.URL(), "localhost", "127.0.0.1", 1)}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ticket"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := execute([]string{"provision", filepath.Join(dir, "ticket"), "--config", file, "--state", state}, &out, &out); code != 0 {
		t.Fatalf("provision: %d\n%s", code, out.String())
	}
	run := func(until func() bool) {
		t.Helper()
		var log bytes.Buffer
		daemon := exec.Command("gatewayd", "run", "--config", file, "--state", state, "--runtime", filepath.Join(dir, "run"))
		daemon.Stdout, daemon.Stderr = &log, &log
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(5 * time.Minute)
		for !until() && time.Now().Before(end) {
			time.Sleep(50 * time.Millisecond)
		}
		good := until()
		if err := errors.Join(daemon.Process.Signal(syscall.SIGTERM), daemon.Wait()); err != nil {
			t.Error(err)
		}
		if !good {
			t.Fatalf("it did not come about:\n%s", log.String())
		}
	}
	run(func() bool {
		now, ok := platform.Retained("gw/gw-1/state")
		return ok && strings.Contains(string(now), `"online":true`)
	})
	// The same flash in another box: nothing of what was recorded is this machine's.
	record := filepath.Join(state, "identity", "identity.json")
	noted, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(noted, &m); err != nil {
		t.Fatal(err)
	}
	other := identity.Box{Image: "another", Hardware: map[string][]string{}}
	here := identity.ReadBox("/")
	for part := range here.Hardware {
		other.Hardware[part] = []string{"another"}
	}
	if here.Image == "" && len(here.Hardware) == 0 {
		t.Skip("nothing tells this machine from another: there is neither /etc/machine-id nor hardware that can be read")
	}
	m["box"] = other
	if noted, err = json.Marshal(m); err == nil {
		err = os.WriteFile(record, noted, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	run(func() bool {
		var out bytes.Buffer
		execute([]string{"status", "--config", file, "--runtime", filepath.Join(dir, "run")}, &out, &out)
		return strings.Contains(out.String(), "platform platform is not reached") && strings.Contains(out.String(), "copy of another gateway's flash")
	})
	if now, _ := platform.Retained("gw/gw-1/state"); strings.Contains(string(now), `"online":true`) {
		t.Errorf("the copy appeared at the platform: %s", now)
	}
}
