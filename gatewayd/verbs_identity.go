package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/durable"
	"edgegateway/gatewayd/identity"
)

// identityFolder is where the gateway's key and certificate are, in the state folder.
func identityFolder(state string) string { return filepath.Join(state, "identity") }

// runRenewal keeps the certificate young.
func (d *daemon) runRenewal(ctx context.Context) error {
	return d.self.Run(ctx, identity.Renewal{
		Event: d.event, Log: d.log,
		Taken: func() (all []*x509.Certificate) {
			for _, p := range d.here().platforms {
				// In this order: what is shown to a platform while it is not connected, it has not taken.
				if shown := p.shown.Load(); shown != nil && p.uplink.Stats().Connected {
					all = append(all, shown)
				}
			}
			return all
		},
	})
}

// identityTrouble says why the identity, which some platform is to be shown, can't be; "" when it can, or need not.
func (d *daemon) identityTrouble() string {
	needed := false
	for _, p := range d.here().config.Platforms {
		needed = needed || p.Identity
	}
	if err := d.self.Trouble(); err != nil && (needed || !errors.Is(err, identity.ErrNone)) {
		return err.Error()
	}
	return ""
}

// runIdentity is `gatewayd identity`.
func runIdentity(c *cli) error {
	if err := c.takes(0, 0, "identity"); err != nil {
		return err
	}
	var s identity.Status
	if err := c.do("identity", struct{}{}, &s); err != nil || c.json {
		return err
	}
	if s.Gateway != "" {
		fmt.Fprintf(c.out, "gateway      %s\n", s.Gateway)
	}
	if s.NotAfter != "" {
		fmt.Fprintf(c.out, "certificate  %s of %s, until %s, renewed from %s\n", s.Serial, s.Issuer, s.NotAfter, s.Renew)
	}
	if s.Trouble != "" {
		fmt.Fprintf(c.out, "trouble      %s\n", s.Trouble)
		return errNo
	}
	if !s.Taken {
		fmt.Fprintln(c.out, "             renewed; no platform has taken the new one yet")
	}
	return nil
}

// unnamed is the gateway's name as installed.
const unnamed = "unnamed"

// runProvision is `gatewayd provision TICKET`. It needs no daemon, and is run by who may write the configuration.
func runProvision(c *cli) error {
	if err := c.takes(1, 1, "provision TICKET"); err != nil {
		return err
	}
	ticket, err := identity.ReadTicket(c.args[0])
	if err != nil {
		return err
	}
	cfg, _, err := config.Load(c.config, build())
	if err != nil {
		return err
	}
	if name := cfg.Gateway.Name; name != unnamed && name != ticket.Gateway {
		return fmt.Errorf("the ticket is for %q, and %s calls this gateway %q\n    hint: ask for a ticket for this one, or change the name there", ticket.Gateway, c.config, name)
	}
	store := identity.Open(identity.Options{Dir: identityFolder(c.state)})
	ctx, stop := interruptible()
	defer stop()
	cert, err := store.Provision(ctx, ticket)
	if err != nil {
		return fmt.Errorf("%w\n    hint: after an outage the same ticket may be tried again", err)
	}
	fmt.Fprintf(c.out, "this gateway is %s; its certificate is good until %s and renews itself\n", ticket.Gateway, cert.NotAfter.UTC().Format("2006-01-02"))
	changed, err := configure(c.config, cfg, ticket)
	if err != nil {
		return fmt.Errorf("the certificate is there, but the configuration could not be changed: %w", err)
	}
	for _, text := range changed {
		fmt.Fprintln(c.out, text)
	}
	fmt.Fprintln(c.out, "next: gatewayd check, then systemctl restart gatewayd")
	return nil
}

// configure writes into the configuration what the ticket knows and nobody has written yet: it says what it did, and
// what is left to do.
func configure(file string, cfg *config.Config, t identity.Ticket) (done []string, err error) {
	if cfg.Gateway.Name == unnamed {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := regexp.MustCompile(`(?m)^(\s*name\s*=\s*)"` + unnamed + `"`)
		at := name.FindSubmatchIndex(text)
		if at == nil {
			return nil, fmt.Errorf("%s: the name stands in an unusual way: write name = %q there", file, t.Gateway)
		}
		text = append(append(append([]byte{}, text[:at[3]]...), strconv.Quote(t.Gateway)...), text[at[1]:]...)
		if err := replace(file, text); err != nil {
			return nil, err
		}
		done = append(done, fmt.Sprintf("%s: the name is %q now", file, t.Gateway))
	}
	if len(t.Servers) == 0 {
		return done, nil
	}
	if len(cfg.Platforms) > 0 {
		return append(done, fmt.Sprintf("%s has a [platform] already: it needs identity = true, and servers = [%s]", file, quotedList(t.Servers))), nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by `gatewayd provision` from the platform's ticket. It may be changed.\n[platform]\nservers  = [%s]\nidentity = true\n", quotedList(t.Servers))
	for key, value := range map[string]string{"dialect": t.Dialect, "prefix": t.Prefix} {
		if value != "" {
			fmt.Fprintf(&b, "%s = %q\n", key, value)
		}
	}
	drop := filepath.Join(filepath.Dir(file), "conf.d", "provisioned.toml")
	if err := os.MkdirAll(filepath.Dir(drop), 0o750); err != nil {
		return done, err
	}
	return append(done, drop+": the platform is configured"), replace(drop, []byte(b.String()))
}

func quotedList(texts []string) string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = strconv.Quote(text)
	}
	return strings.Join(out, ", ")
}

// replace writes a file of the configuration, for those who could read the one before, or the folder.
func replace(path string, text []byte) error {
	like, err := os.Stat(path)
	mode := fs.FileMode(0o640)
	if err == nil {
		mode = like.Mode().Perm()
	} else if like, err = os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	if err := durable.WriteFile(path, text, mode); err != nil {
		return err
	}
	if owner, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		return os.Chown(path, int(owner.Uid), int(owner.Gid))
	}
	return nil
}
