package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"edgegateway/buffer"
	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/health"
)

// reportDoc is the acceptance report.
type reportDoc struct {
	T        int64         `json:"t"`
	Accepted bool          `json:"accepted"` // nothing is wrong now, and the books balance
	Config   reportConfig  `json:"config"`
	Audit    reportAudit   `json:"audit"`
	Status   health.Status `json:"status"`
	Losses   []buffer.Loss `json:"losses"` // the newest
}

type reportConfig struct {
	Hash string `json:"hash"`
	From string `json:"from"`
}

type reportAudit struct {
	N    uint64 `json:"n"`
	Hash string `json:"hash"`
}

// reportLosses is how many losses a report names.
const reportLosses = 20

func (d *daemon) reportVerb(context.Context, json.RawMessage) (any, error) {
	files, err := d.kept.Files()
	if err != nil {
		return nil, err
	}
	r := reportDoc{T: d.clock.Stamp().Wall, Status: d.status(), Losses: append([]buffer.Loss{}, d.store.Ledger(reportLosses)...)}
	r.Config = reportConfig{files.Hash(), "installer"}
	if d.kept.FromAfar() {
		r.Config.From = "afar"
	}
	r.Audit.N, r.Audit.Hash = d.audit.Head()
	r.Accepted = len(r.Status.Problems) == 0 && r.Status.Balanced()
	return r, nil
}

type profileArgs struct {
	Action string `json:"action,omitempty"` // list or show; without it list, or show where there is a name
	Name   string `json:"name,omitempty"`
}

// profileVerb tells of the profiles that the running configuration knows. A new one is brought by config.
func (d *daemon) profileVerb(_ context.Context, raw json.RawMessage) (any, error) {
	var args profileArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	profiles := d.here().config.Profiles
	switch {
	case args.Action == "show" || args.Action == "" && args.Name != "":
		for _, p := range profiles {
			if p.Name == args.Name {
				return describeWhole(p), nil
			}
		}
		return nil, command.Invalidf("there is no profile %q; the action list names them", args.Name)
	case args.Action == "" || args.Action == "list":
		docs := make([]profileDoc, len(profiles))
		for i, p := range profiles {
			docs[i] = describe(p)
		}
		return docs, nil
	default:
		return nil, command.Invalidf("action = %q: allowed are list, show; a new profile is sent with config, under files", args.Action)
	}
}

type traceArgs struct {
	Line    string `json:"line"`
	Seconds int    `json:"seconds,omitempty"`
	Frames  int    `json:"frames,omitempty"`
}

// Bounds of what one answer of trace holds.
const (
	traceMost   = 2 * time.Minute
	traceFrames = 300
)

var errEnough = errors.New("enough")

// traceVerb collects a line's frames for a while.
func (d *daemon) traceVerb(ctx context.Context, raw json.RawMessage) (any, error) {
	args := traceArgs{Seconds: 10, Frames: 100}
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	if args.Seconds < 1 || args.Seconds > int(traceMost.Seconds()) || args.Frames < 1 || args.Frames > traceFrames {
		return nil, command.Invalidf("seconds = %d, frames = %d: allowed are 1 to %d, and 1 to %d", args.Seconds, args.Frames, int(traceMost.Seconds()), traceFrames)
	}
	while, stop := context.WithTimeout(ctx, time.Duration(args.Seconds)*time.Second)
	defer stop()
	frames := []any{}
	err := d.trace(while, url.Values{"line": {args.Line}}, func(doc any) error {
		if frames = append(frames, doc); len(frames) >= args.Frames {
			return errEnough
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil || errors.Is(err, errEnough):
		return frames, nil
	case d.here().line(args.Line) == nil:
		return nil, command.Invalidf("%s", err)
	default:
		return nil, err
	}
}

// runReport is `gatewayd report [--support [FILE]]`.
func runReport(c *cli) error {
	if err := c.takes(0, 1, "report [--support [FILE]]"); err != nil {
		return err
	}
	var r reportDoc
	if *c.switches["support"] {
		c.json = false
		name := first(c.args)
		if name == "" {
			name = "gatewayd-support-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
		}
		return c.support(name)
	}
	if len(c.args) > 0 {
		return usagef("report: a file is written with --support only")
	}
	if err := c.do("report", struct{}{}, &r); err != nil || c.json {
		return err
	}
	c.printReport(&r)
	if !r.Accepted {
		return errNo
	}
	return nil
}

func (c *cli) printReport(r *reportDoc) {
	verdict := "accepted: nothing is wrong, and the books balance"
	if !r.Accepted {
		verdict = "not accepted"
	}
	fmt.Fprintf(c.out, "acceptance report, %s\n%s\n\nconfiguration %s, from %s\naudit log: entry %d, %s\n", time.UnixMilli(r.T).Format(time.RFC3339),
		verdict, r.Config.Hash, map[string]string{"afar": "afar", "installer": "the installer's files"}[r.Config.From], r.Audit.N, r.Audit.Hash)
	for _, l := range r.Losses {
		fmt.Fprintf(c.out, "lost: %s %s, %d records (%s)\n", time.UnixMilli(l.At).Format(time.RFC3339), l.Class, l.Count, l.Cause)
	}
	fmt.Fprintln(c.out)
	r.Status.Print(c.out)
}

// support writes a bundle for those who help: the report, the configuration, the ledger and the audit log. Secrets are
// not in it, and what the configuration says of users is struck out.
func (c *cli) support(name string) (failed error) {
	if _, err := os.Stat(name); err == nil {
		return fmt.Errorf("%s is there already; name a new file", name)
	}
	parts := map[string][]byte{}
	add := func(name string, doc any) error {
		text, err := json.MarshalIndent(doc, "", " ")
		parts[name] = append(text, '\n')
		return err
	}
	var report, ledger, backlog, profiles json.RawMessage
	var config configDoc
	for verb, into := range map[string]any{"report": &report, "ledger": &ledger, "backlog": &backlog, "profile": &profiles, "config": &config} {
		if err := c.do(verb, struct{}{}, into); err != nil {
			return err
		}
	}
	for part, doc := range map[string]any{"report.json": report, "ledger.json": ledger, "backlog.json": backlog, "profiles.json": profiles} {
		if err := add(part, doc); err != nil {
			return err
		}
	}
	for file, text := range config.Files {
		parts["config/"+file] = []byte(redact(text))
	}
	var account strings.Builder
	err := audit.Each(filepath.Join(c.state, auditFolder), func(line []byte) error {
		account.Write(line)
		account.WriteByte('\n')
		return nil
	})
	if err != nil {
		fmt.Fprintf(&account, "the audit log cannot be read: %s\n", err)
	}
	parts["audit.log"] = []byte(account.String())
	parts["version.txt"] = []byte(version() + "\n")

	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, f.Close()) }()
	packed := gzip.NewWriter(f)
	archive := tar.NewWriter(packed)
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		text := parts[part]
		if err := archive.WriteHeader(&tar.Header{Name: "gatewayd-support/" + part, Mode: 0o600, Size: int64(len(text)), ModTime: time.Now()}); err != nil {
			return err
		}
		if _, err := archive.Write(text); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), packed.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s holds %d files; secrets are not among them, and names of users are struck out\n", name, len(parts))
	return err
}

// redact strikes out who logs in, and whatever has a name that speaks of a secret.
func redact(text string) string {
	key := regexp.MustCompile(`(?im)^(\s*"?(?:username|client|[a-z_]*(?:secret|passw|token|pin)[a-z_]*)"?\s*=\s*).*$`)
	return key.ReplaceAllString(text, `${1}"(struck out)"`)
}
