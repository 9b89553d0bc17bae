package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/command"
	"edgegateway/systemd"
)

// reloadResult tells what a reload did.
type reloadResult struct {
	Begun []string `json:"begun"` // lines and platforms that were begun anew; empty when all stayed as it was
}

// reloadVerb takes up the installer's files as they are now. They are taken whole or not at all: a fault anywhere
// refuses them, and what runs goes on. Lines and platforms that are the same are not touched.
func (d *daemon) reloadVerb(context.Context, json.RawMessage) (any, error) {
	if !d.change.begin() {
		return nil, &command.Error{Code: command.Busy, Text: candidate.ErrBusy.Error()}
	}
	defer d.change.end()
	file, secret := d.kept.File(), secrets(d.credential)
	installer, newer := d.kept.Installer()
	switch {
	case newer:
		file, secret = installer, inFolder(d.creds)
	case d.kept.FromAfar():
		return nil, &command.Error{Code: command.Refused, Text: "the configuration that runs came from afar, and the installer's files have not changed since; " +
			"`gatewayd config show` prints it, and any change of the files replaces it"}
	}
	next, err := load(file, secret, true, d.log) // once: what is judged is what runs, whoever writes the files meanwhile
	if err != nil {
		return nil, command.Invalidf("%s", err)
	}
	if err := d.judgeReload(next, filepath.Dir(file)); err != nil {
		next.close()
		return nil, err
	}
	notify := systemd.Notifier{}
	told(d.log, notify.Reloading())
	defer func() { told(d.log, notify.Ready()) }()
	if newer {
		if err := d.kept.Abandon("the installer's files were changed: they hold, and the configuration from afar is given up"); err != nil {
			next.close()
			return nil, err
		}
	}
	begun, err := d.reload(next)
	if err != nil {
		return nil, err
	}
	text := "the installer's files were read anew; nothing of what runs has changed"
	if len(begun) > 0 {
		text = "the installer's files were read anew; begun anew: " + strings.Join(begun, ", ")
	}
	d.log.Info(text)
	d.event(field.Event{Kind: "config", Subject: "reload", Text: text})
	return reloadResult{begun}, nil
}

// judgeReload says why a configuration cannot be taken up by a daemon that goes on.
func (d *daemon) judgeReload(next *site, dir string) error {
	if err := judgeSite(next, dir); err != nil {
		return err
	}
	if structural(d.here().config, next.config) {
		return &command.Error{Code: command.Refused, Text: "the configuration is right, but more has changed than lines, devices, operators and what is said of a platform: " +
			"that takes a restart, `systemctl restart gatewayd`"}
	}
	return nil
}

// runReload is `gatewayd reload`, which is also what `systemctl reload gatewayd` runs.
func runReload(c *cli) error {
	if err := c.takes(0, 0, "reload"); err != nil {
		return err
	}
	var done reloadResult
	if err := c.do("reload", struct{}{}, &done); err != nil || c.json {
		return err
	}
	if len(done.Begun) == 0 {
		fmt.Fprintln(c.out, "nothing of what runs has changed")
		return nil
	}
	fmt.Fprintln(c.out, "begun anew: "+strings.Join(done.Begun, ", "))
	return nil
}
