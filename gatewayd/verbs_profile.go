package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

const profileUsage = "profile list | profile show NAME | profile test FILE | profile new NAME --scan FILE | profile import csv|edgex|telegraf FILE"

// runProfile is `gatewayd profile list|show NAME|test FILE|new NAME|import FORMAT FILE`.
func runProfile(c *cli) error {
	if err := c.takes(1, 3, profileUsage); err != nil {
		return err
	}
	switch {
	case c.args[0] == "list" && len(c.args) == 1:
		return c.listProfiles()
	case c.args[0] == "show" && len(c.args) == 2:
		return c.showProfile(c.args[1])
	case c.args[0] == "test" && len(c.args) == 2:
		return c.testProfile(c.args[1])
	case c.args[0] == "new" && len(c.args) == 2:
		return c.newProfile(c.args[1])
	case c.args[0] == "import" && len(c.args) == 3:
		return c.importProfile(c.args[1], c.args[2])
	default:
		return usagef("usage: gatewayd %s", profileUsage)
	}
}

// knownProfiles are the site's own, then the built-in ones that they do not replace.
func (c *cli) knownProfiles() ([]*profile.Profile, error) {
	keys := build().TagKeys()
	var report strict.Report
	own, err := profile.Load(os.DirFS(filepath.Dir(c.config)), "profiles", keys, &report)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, p := range own {
		known[p.Name] = true
	}
	for _, p := range profile.Library(keys, &report) {
		if !known[p.Name] {
			own = append(own, p)
		}
	}
	for _, p := range report.Problems() {
		fmt.Fprintln(c.err, p.String())
	}
	return profile.Sorted(own), nil
}

// profileDoc is a profile as --json shows it.
type profileDoc struct {
	Name     string            `json:"name"`
	Title    string            `json:"title"`
	Protocol string            `json:"protocol"`
	Source   string            `json:"source"`
	BuiltIn  bool              `json:"built_in"`
	Tests    int               `json:"tests"`
	Quirks   map[string]string `json:"quirks,omitempty"`
	Tags     []tagDoc          `json:"tags,omitempty"`
}

type tagDoc struct {
	Name  string `json:"name"`
	At    string `json:"at"`
	Type  string `json:"type"`
	Unit  string `json:"unit,omitempty"`
	Group string `json:"group"`
}

func describe(p *profile.Profile) profileDoc {
	return profileDoc{Name: p.Name, Title: p.Title, Protocol: p.Protocol, Source: p.Source, BuiltIn: p.BuiltIn,
		Tests: len(p.Tests), Quirks: p.Quirks}
}

// describeWhole is describe, with the tags.
func describeWhole(p *profile.Profile) profileDoc {
	doc := describe(p)
	for _, t := range p.Tags {
		group := t.Group
		if group == "" {
			group = field.MainGroup
		}
		doc.Tags = append(doc.Tags, tagDoc{t.Name, t.At, t.Type, t.Unit, group})
	}
	return doc
}

func (c *cli) listProfiles() error {
	profiles, err := c.knownProfiles()
	if err != nil {
		return err
	}
	if c.json {
		docs := make([]profileDoc, len(profiles))
		for i, p := range profiles {
			docs[i] = describe(p)
		}
		return c.printJSON(docs)
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, p := range profiles {
		origin := "this site's"
		if p.BuiltIn {
			origin = "built in"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.Protocol, origin, p.Title)
	}
	return t.Flush()
}

func (c *cli) showProfile(name string) error {
	profiles, err := c.knownProfiles()
	if err != nil {
		return err
	}
	for _, p := range profiles {
		if p.Name != name {
			continue
		}
		doc := describeWhole(p)
		if c.json {
			return c.printJSON(doc)
		}
		fmt.Fprintf(c.out, "%s: %s\nprotocol: %s\nsource: %s\ntests: %d\n", doc.Name, doc.Title, doc.Protocol, doc.Source, doc.Tests)
		for k, v := range doc.Quirks {
			fmt.Fprintf(c.out, "quirk: %s = %s\n", k, v)
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		for _, tag := range doc.Tags {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", tag.Name, tag.At, tag.Type, tag.Unit, tag.Group)
		}
		return t.Flush()
	}
	return fmt.Errorf("there is no profile %q; `gatewayd profile list` lists them", name)
}

// testProfile checks one file and runs its captured frames through the driver.
func (c *cli) testProfile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	p, problems := profile.Check(file, text, build().TagKeys())
	if !strict.Errors(problems) {
		problems = append(problems, p.Test(context.Background(), replayed)...)
	}
	if c.json {
		if err := c.printJSON(append([]strict.Problem{}, problems...)); err != nil {
			return err
		}
	} else {
		for _, problem := range problems {
			fmt.Fprintln(c.out, problem.String())
		}
	}
	if strict.Errors(problems) {
		return errNo
	}
	if !c.json {
		fmt.Fprintf(c.out, "%s: %d tags, %d tests passed\n", p.Name, len(p.Tags), len(p.Tests))
	}
	return nil
}

// replayed opens a protocol's driver on a line where a profile's captured frames answer.
func replayed(protocol string, exchange profile.Exchange) (field.Driver, error) {
	return adapters.Open(protocol, link.Replay(exchange), "rtu")
}
