package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
