package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/config"
)

// configArgs are the arguments of config. Without an action it is "show".
type configArgs struct {
	Action  string             `json:"action,omitempty"`  // show, set, confirm, return
	Text    string             `json:"text,omitempty"`    // of set: the main file
	Files   map[string]*string `json:"files,omitempty"`   // of set: others by name, such as conf.d/20-pump.toml; null takes one away
	Secrets map[string]*string `json:"secrets,omitempty"` // of set: contents of the credentials folder, by name

	LockOut bool `json:"lock_out,omitempty"` // of set: nobody need be able to do this from afar again
	proving
}

// configDoc is what is shown of a configuration.
type configDoc struct {
	Hash    string            `json:"hash"`
	From    string            `json:"from"` // "afar" or "installer"
	Trial   *candidate.Trial  `json:"trial,omitempty"`
	Secrets []string          `json:"secrets,omitempty"` // names of those that came from afar
	Files   map[string]string `json:"files"`
}

func (d *daemon) configVerb(ctx context.Context, raw json.RawMessage) (any, error) {
	var args configArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	by := command.CallerOf(ctx).Operator
	switch args.Action {
	case "", "show":
		return d.showConfig()
	case "confirm", "return":
		if !d.change.tell(args.Action == "confirm", by) {
			return nil, command.Invalidf("no configuration is on trial")
		}
		return nil, nil
	case "set":
		files, err := d.kept.Files()
		if err != nil {
			return nil, err
		}
		if files, err = args.over(files); err != nil {
			return nil, err
		}
		if command.CallerOf(ctx).ID != "" && !args.LockOut {
			args.judge = staysOpen(d.here().site)
		}
		return d.try(ctx, files, args.proving)
	default:
		return nil, command.Invalidf("action = %q: allowed are show, set, confirm, return", args.Action)
	}
}

// over lays what is given over a configuration.
func (a *configArgs) over(files candidate.Files) (candidate.Files, error) {
	files = files.Clone()
	if a.Text == "" && len(a.Files) == 0 && len(a.Secrets) == 0 {
		return nil, command.Invalidf("nothing is given to be set: text is the main file, files are others by name, secrets those of the credentials folder")
	}
	if a.Text != "" {
		files[candidate.Main] = []byte(a.Text)
	}
	put := func(name string, text *string) error {
		if err := candidate.CheckName(name); err != nil {
			return command.Invalidf("%s", err)
		}
		if text == nil {
			delete(files, name)
		} else {
			files[name] = []byte(*text)
		}
		return nil
	}
	for name, text := range a.Files {
		if strings.HasPrefix(name, candidate.Credentials+"/") {
			return nil, command.Invalidf("a secret is given under secrets, not under files: %q", name)
		}
		if err := put(name, text); err != nil {
			return nil, err
		}
	}
	for name, text := range a.Secrets {
		if err := put(candidate.Credentials+"/"+name, text); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// staysOpen refuses a configuration that nobody could change from afar any more, unless nobody can now.
func staysOpen(before *site) func(*site) error {
	return func(next *site) error {
		if !changeable(before.config) || changeable(next.config) {
			return nil
		}
		return &command.Error{Code: command.Refused, Text: "with this configuration nobody could change it from afar again: no [[operator]] has \"config\" among its verbs " +
			"and the level for it, configure or admin; leave one that has, or send \"lock_out\": true if that is meant"}
	}
}

// changeable says whether anybody may change a configuration from afar.
func changeable(c *config.Config) bool {
	const verb, level = "config", command.Configure
	return slices.ContainsFunc(operators(c), func(o command.Operator) bool { return slices.Contains(o.Verbs, verb) && o.Level >= level }) ||
		slices.ContainsFunc(c.Platforms, func(p config.Platform) bool { return slices.Contains(p.UnsignedVerbs, verb) })
}

func (d *daemon) showConfig() (any, error) {
	files, err := d.kept.Files()
	if err != nil {
		return nil, err
	}
	doc := configDoc{Hash: files.Hash(), From: "installer", Files: map[string]string{}}
	if d.kept.FromAfar() {
		doc.From = "afar"
	}
	if t := d.kept.Trial(); t != nil {
		short := *t
		short.Good = nil
		doc.Trial = &short
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if secret, ok := strings.CutPrefix(name, candidate.Credentials+"/"); ok {
			doc.Secrets = append(doc.Secrets, secret)
			continue
		}
		doc.Files[name] = string(files[name])
	}
	return doc, nil
}

// runConfig is `gatewayd config show|set FILE|confirm|return`.
func runConfig(c *cli) error {
	const usage = "config show | config set FILE [--within 10m] [--percent 90] [--confirm] | config confirm | config return"
	if err := c.takes(1, 2, usage); err != nil {
		return err
	}
	args := configArgs{Action: c.args[0]}
	switch {
	case args.Action == "show" && len(c.args) == 1:
		var doc configDoc
		if err := c.do("config", args, &doc); err != nil || c.json {
			return err
		}
		fmt.Fprintf(c.out, "# configuration %s, from %s\n", doc.Hash, map[string]string{"afar": "afar", "installer": "the installer's files"}[doc.From])
		for _, name := range slices.Sorted(maps.Keys(doc.Files)) {
			fmt.Fprintf(c.out, "# %s\n%s", name, doc.Files[name])
		}
		return nil
	case (args.Action == "confirm" || args.Action == "return") && len(c.args) == 1:
		return c.do("config", args, nil)
	case args.Action == "set" && len(c.args) == 2:
	default:
		return usagef("usage: gatewayd %s", usage)
	}
	text, err := os.ReadFile(c.args[1])
	if err != nil {
		return err
	}
	args.Text, args.Within, args.Confirm = string(text), *c.flags["within"], *c.switches["confirm"]
	if p := *c.flags["percent"]; p != "" {
		n, err := strconv.Atoi(p)
		if err != nil {
			return usagef("--percent %s: a number from 0 to 100", p)
		}
		args.Percent = &n
	}
	var r changeReport
	if err := c.do("config", args, &r); err != nil || c.json {
		return err
	}
	return c.printChange(r)
}

func (c *cli) printChange(r changeReport) error {
	var err error
	switch {
	case !r.Changed:
		_, err = fmt.Fprintf(c.out, "it is the configuration that runs, %.12s: nothing was done\n", r.Now)
	case r.Trial:
		_, err = fmt.Fprintf(c.out, "the daemon starts anew to try %.12s; `gatewayd config show` and its log tell how that ends\n", r.After)
	default:
		_, err = fmt.Fprintf(c.out, "%.12s is kept, in place of %.12s, after %.1f s: %d of %d points are good; begun anew: %s\n",
			r.After, r.Before, r.Seconds, r.Again, r.Good, strings.Join(r.Begun, ", "))
	}
	return err
}
