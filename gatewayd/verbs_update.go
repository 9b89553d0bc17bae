package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/health"
	"edgegateway/gatewayd/machine"
	"edgegateway/gatewayd/update"
	"edgegateway/systemd"
)

// Where an update's two sides meet, and whom they trust.
const (
	updaterFolder = "/var/lib/gatewayd-update" // the StateDirectory= of gatewayd-update.service
	updateKeys    = "/etc/gatewayd/update.keys"
)

// updateInbox is the folder in the daemon's state that requests are handed over in.
func updateInbox(state string) string { return filepath.Join(state, "update") }

func (d *daemon) newAgent(c *cli) (*update.Agent, error) {
	return update.NewAgent(update.AgentOptions{
		Dir: updateInbox(c.state), Updater: updaterFolder, Keys: updateKeys, Version: version(), Budget: d.here().config.Update.Budget,
		Client: &http.Client{Transport: http.DefaultTransport}, Event: d.event, Log: d.log,
	})
}

// runUpdate is `gatewayd update`.
func runUpdate(c *cli) error {
	const usage = "update [MANIFEST | cancel] [--one-way]; MANIFEST is a URL or a file"
	if err := c.takes(0, 1, usage); err != nil {
		return err
	}
	var s update.Status
	var err error
	switch what := first(c.args); {
	case what == "":
		err = c.do("update-status", struct{}{}, &s)
	case what == "cancel":
		err = c.do("update", update.Args{Cancel: true}, &s)
	default:
		if !strings.Contains(what, "://") {
			text, err := os.ReadFile(what)
			if err != nil {
				return err
			}
			what = strings.TrimSpace(string(text))
		}
		err = c.do("update", update.Args{Manifest: what, OneWay: *c.switches["one-way"]}, &s)
	}
	if err != nil || c.json {
		return err
	}
	fmt.Fprintf(c.out, "running   %s\n", s.Running)
	if s.Stage != "" {
		fmt.Fprintf(c.out, "update    %s: %s\n", s.Version, s.Stage)
	}
	if s.Size > 0 {
		fmt.Fprintf(c.out, "fetched   %s of %s, %s from the network\n", health.Size(s.Have), health.Size(s.Size), health.Size(s.Spent))
	}
	for _, text := range []string{s.Why, s.Trouble} {
		if text != "" {
			fmt.Fprintf(c.out, "because   %s\n", text)
		}
	}
	return nil
}

// runUpdater is `gatewayd updater [hold FILE]`: what gatewayd-update.service runs, as root.
func runUpdater(c *cli) error {
	if len(c.args) != 0 && (len(c.args) != 2 || c.args[0] != "hold") {
		return usagef("usage: gatewayd updater [hold FILE.deb]")
	}
	o := update.UpdaterOptions{
		Dir: updaterFolder, Inbox: updateInbox(c.state), Keys: updateKeys, Packages: update.Dpkg{},
		Gateway: watched{c}, Log: slog.New(systemd.LogHandler(slog.LevelInfo)),
	}
	if dir := *c.flags["folder"]; dir != "" {
		o.Dir = dir
	}
	for name, d := range map[string]*time.Duration{"window": &o.Terms.Window, "settle": &o.Terms.Settle} {
		if text := *c.flags[name]; text != "" {
			var err error
			if *d, err = time.ParseDuration(text); err != nil || *d < time.Second {
				return usagef(`--%s %s: write a duration of a second or more: "10m"`, name, text)
			}
		}
	}
	if text := *c.flags["share"]; text != "" {
		var err error
		if o.Terms.Share, err = strconv.ParseFloat(text, 64); err != nil || o.Terms.Share <= 0 || o.Terms.Share > 1 {
			return usagef("--share %s: write the share of the points that must be good again: 0.9", text)
		}
	}
	var err error
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	if len(c.args) == 2 {
		return update.NewUpdater(o).Hold(ctx, c.args[1])
	}
	return update.NewUpdater(o).Run(ctx)
}

// watched is the gateway as the updater sees it: its unit, and what it answers on its socket.
type watched struct{ cli *cli }

const lookTimeout = 10 * time.Second

func (w watched) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return systemd.Manager{}.Restart(ctx, machine.Self)
}

func (w watched) Look(ctx context.Context) (update.Evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	unit, err := systemd.Manager{}.Status(ctx, machine.Self)
	if err != nil {
		return update.Evidence{}, err
	}
	e := update.Evidence{Ready: unit.Active == "active", Restarts: unit.Restarts}
	var s health.Status
	if err := w.cli.call(ctx, "GET", "/api/status", nil, &s); err != nil {
		e.Ready = false // the unit says more than the silence does
		return e, nil
	}
	return evidence(e, s), nil
}

// evidence adds what the gateway says of itself.
func evidence(e update.Evidence, s health.Status) update.Evidence {
	e.Version = s.Version
	for _, p := range s.Platforms {
		if p.Connected {
			e.Reached = append(e.Reached, p.Name)
		}
	}
	for _, d := range s.Devices {
		e.Good += d.Good
	}
	return e
}

// runManifest is `gatewayd manifest FILE.deb --key FILE --url URL`: for publishers, it prints a signed manifest.
func runManifest(c *cli) error {
	if err := c.takes(1, 8, "manifest FILE.deb [BASE.deb…] --key FILE --url URL [--min VERSION] [--days N] [--notes TEXT]"); err != nil {
		return err
	}
	key, err := privateKey(*c.flags["key"])
	if err != nil {
		return err
	}
	if *c.flags["url"] == "" {
		return usagef("--url: where gateways find the package; a name alone is taken to stand beside the manifest")
	}
	ctx, stop := interruptible()
	defer stop()
	m := update.Manifest{V: 1, MinVersion: *c.flags["min"], Notes: *c.flags["notes"], OneWay: *c.switches["one-way"]}
	for i, file := range c.args {
		info, a, err := packageFile(ctx, file)
		if err != nil {
			return err
		}
		if i == 0 {
			m.Package, m.Version, m.Arch, m.Artifact = info.Name, info.Version, info.Arch, a
			m.URL = *c.flags["url"]
			continue
		}
		if info.Name != m.Package || info.Arch != m.Arch {
			return fmt.Errorf("%s is %s for %s, and cannot be the base of %s for %s", file, info.Name, info.Arch, m.Package, m.Arch)
		}
		a.URL = filepath.Base(file) // beside the manifest
		m.Bases = append(m.Bases, update.Base{Version: info.Version, Artifact: a})
	}
	if text := *c.flags["days"]; text != "" {
		days, err := strconv.ParseUint(text, 10, 12)
		if err != nil {
			return usagef("--days %s: how long the offer stands, 1 to 4095", text)
		}
		m.NotAfter = time.Now().AddDate(0, 0, int(days)).UnixMilli()
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", command.Sign(key, "publisher", payload))
	return err
}

// packageFile describes a package.
func packageFile(ctx context.Context, file string) (update.Info, update.Artifact, error) {
	info, err := update.Dpkg{}.Inspect(ctx, file)
	if err != nil {
		return info, update.Artifact{}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return info, update.Artifact{}, err
	}
	defer f.Close()
	digest := sha256.New()
	n, err := io.Copy(digest, f)
	return info, update.Artifact{Size: n, SHA256: hex.EncodeToString(digest.Sum(nil))}, err
}

// privateKey reads an Ed25519 key in PEM.
func privateKey(path string) (ed25519.PrivateKey, error) {
	const hint = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"
	if path == "" {
		return nil, usagef("--key: the file with the publisher's private key; %s", hint)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New(path + " is no PEM file; " + hint)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New(path + " holds no Ed25519 private key; " + hint)
	}
	return key, nil
}
