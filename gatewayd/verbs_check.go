package main

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"

	"edgegateway/gatewayd/config"
)

// runCheck is `gatewayd check [FILE]`: the same reading and binding as the daemon's, without any I/O on lines. The
// answer is no when anything is an error; what a later build brings is a warning. A serial line that cannot do what is
// asked of it is an error too, which --force makes a warning.
func runCheck(c *cli) error {
	if err := c.takes(0, 1, "check [FILE] [--force]"); err != nil {
		return err
	}
	file := c.config
	if len(c.args) == 1 {
		file = c.args[0]
	}
	s, err := load(file, inFolder(c.creds), false, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	budgets := s.budgets()
	s.problems = append(s.problems, s.overdrawn(budgets, *c.switches["force"])...)
	slices.SortStableFunc(s.problems, config.Problem.Compare)
	errors := 0
	for _, p := range s.problems {
		if p.Severity == config.Error {
			errors++
		}
	}
	if c.json {
		doc := struct {
			OK       bool             `json:"ok"`
			Files    []string         `json:"files"`
			Lines    int              `json:"lines"`
			Devices  int              `json:"devices"`
			Budgets  []budget         `json:"budgets"`
			Problems []config.Problem `json:"problems"`
		}{errors == 0, s.config.Files, len(s.lines), s.bound(), append([]budget{}, budgets...), append([]config.Problem{}, s.problems...)}
		if err := c.printJSON(doc); err != nil {
			return err
		}
	} else {
		for _, p := range s.problems {
			fmt.Fprintln(c.out, p.String())
		}
		for _, b := range budgets {
			if b.Share <= comfortable {
				fmt.Fprintln(c.out, b.String())
			}
		}
		fmt.Fprintf(c.out, "%s: %d lines, %d devices with %d tags would run; %d errors, %d warnings\n",
			file, len(s.lines), s.bound(), s.tags(), errors, len(s.problems)-errors)
	}
	if errors > 0 {
		return errNo
	}
	return nil
}

// runVersion is `gatewayd version`.
func runVersion(c *cli) error {
	if err := c.takes(0, 0, "version"); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			Arch    string `json:"arch"`
		}{version(), runtime.Version(), runtime.GOARCH})
	}
	_, err := fmt.Fprintf(c.out, "gatewayd %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// release is set by the linker when a release is built (-ldflags "-X main.release=1.2.3").
var release string

// version names this binary: the release, else the commit that it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
