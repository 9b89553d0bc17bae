package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// The tables of a configuration. Of those under one there may be one, of those under many any number. Faults of the
// tables under fatal leave nothing to run.
var (
	one   = []string{"gateway", "platform", "buffer", "web", "systemd", "update"}
	many  = []string{"also", "operator", "line", "device", "tag"}
	fatal = []string{"gateway", "platform", "also", "buffer"}
)

// Load reads a configuration: the file, the drop-ins conf.d/*.toml beside it in the order of their names, and the
// profiles in profiles/*.toml beside it, which go before the built-in ones of the same name. The problems are all that
// is wrong with them, ordered by file, line and column; what they hit is left out of the Config. With a fatal one
// there is nothing to run. The error is nil unless the file itself cannot be read.
func Load(file string, build Build) (*Config, []Problem, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	l := &loader{
		build: build, file: file,
		config:  &Config{tables: map[tableKey]*strict.Table{}, main: file},
		lines:   map[string]*lineEntry{},
		devices: map[string]*deviceEntry{},
	}
	l.parse(file, text)
	for _, name := range l.folder("conf.d") {
		if text, err = os.ReadFile(name); err != nil {
			l.unreadable(name, err)
			continue
		}
		l.parse(name, text)
	}
	l.loadProfiles()
	l.readHeadings()

	l.readGateway(l.single("gateway"))
	l.readPlatforms()
	l.readBuffer(l.single("buffer"))
	l.readWeb(l.single("web"))
	l.readSystemd(l.single("systemd"))
	l.readUpdate(l.single("update"))
	l.readOperators()
	l.readLines()
	l.readDevices()
	l.config.Profiles = profile.Sorted(slices.Collect(maps.Values(l.profiles)))
	return l.config, l.report.Problems(), nil
}

// loader holds what one Load has found so far.
type loader struct {
	build    Build
	file     string // the main file
	report   strict.Report
	docs     []*strict.Document
	config   *Config
	profiles map[string]*profile.Profile
	lines    map[string]*lineEntry   // also those that cannot run
	devices  map[string]*deviceEntry // also those that cannot run
}

func (l *loader) parse(file string, text []byte) {
	l.config.Files = append(l.config.Files, file)
	l.docs = append(l.docs, strict.Parse(file, text, &l.report, fatal...))
}

// folder lists the *.toml in a folder beside the main file, in the order of their names.
func (l *loader) folder(name string) []string {
	dir := filepath.Join(filepath.Dir(l.file), name)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.unreadable(dir, err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files
}

// unreadable complains about a file or folder beside the main file. It may hold anything, so nothing can run.
func (l *loader) unreadable(name string, err error) {
	l.report.Add(Problem{Place: strict.Place{File: name, Line: 1, Column: 1}, Fatal: true,
		Text: "this cannot be read: " + err.Error(), Hint: "gatewayd needs to read it: chmod o+r, or move it away"})
}

func (l *loader) loadProfiles() {
	keys := l.build.TagKeys()
	l.profiles = map[string]*profile.Profile{}
	for _, p := range profile.Library(keys, &l.report) {
		l.profiles[p.Name] = p
	}
	for _, name := range l.folder("profiles") {
		text, err := os.ReadFile(name)
		if err != nil {
			l.unreadable(name, err)
			continue
		}
		l.config.Files = append(l.config.Files, name)
		p := profile.Parse(name, text, keys, &l.report)
		switch old := l.profiles[p.Name]; {
		case p.Name == "":
			continue
		case old != nil && !old.BuiltIn:
			l.report.Add(p.Problem("name", "another profile has this name: "+old.Problem("name", "", "").Place.String(), "give each profile a name of its own"))
			continue
		}
		if _, known := l.build.Protocols[p.Protocol]; !known && p.Protocol != "" {
			l.report.Add(p.Problem("protocol", "there is no such protocol", strict.Choices(p.Protocol, l.build.protocolNames())))
			p.Fail()
		}
		if len(p.Tests) == 0 && !p.Failed() {
			remark := p.Problem("", "the profile carries no test", profile.NoTestHint)
			remark.Severity = strict.Warning
			l.report.Add(remark)
		}
		l.profiles[p.Name] = p
	}
}

// readHeadings complains about headings that do not exist, or in the wrong brackets, and about keys above the first.
func (l *loader) readHeadings() {
	all := slices.Concat(one, many)
	for _, d := range l.docs {
		for _, key := range d.Root.Keys() {
			d.Root.Complain(key, "the key stands under no heading", "put it under one of: "+headings())
		}
		for _, t := range d.Tables {
			switch {
			case !slices.Contains(all, t.Name):
				t.Fatal = slices.Contains(fatal, strict.Nearest(t.Name, all))
				t.Complain("", "there is no such table", hintTable(t.Name, all))
			case t.List && slices.Contains(one, t.Name):
				t.Complain("", "there can be only one", fmt.Sprintf("write [%s]", t.Name))
			case !t.List && slices.Contains(many, t.Name):
				t.Complain("", "there can be several", fmt.Sprintf("write [[%s]]", t.Name))
			}
		}
	}
}

func hintTable(name string, all []string) string {
	if strings.Contains(name, ".") {
		return "tables stand one level deep: " + headings()
	}
	if near := strict.Nearest(name, all); near != "" {
		return fmt.Sprintf("did you mean %q? allowed: %s", near, headings())
	}
	return "allowed: " + headings()
}

// headings lists the headings as they are written.
func headings() string {
	var all []string
	for _, name := range one {
		all = append(all, "["+name+"]")
	}
	for _, name := range many {
		all = append(all, "[["+name+"]]")
	}
	return strings.Join(all, ", ")
}

// tables lists the tables of a name, of all files.
func (l *loader) tables(name string) []*strict.Table {
	var tables []*strict.Table
	for _, d := range l.docs {
		for _, t := range d.Tables {
			if t.Name == name {
				tables = append(tables, t)
			}
		}
	}
	return tables
}

// single gives the one table of a name, nil when there is none, and complains about others.
func (l *loader) single(name string) *strict.Table {
	tables := l.tables(name)
	if len(tables) == 0 {
		return nil
	}
	for _, t := range tables[1:] {
		t.Complain("", "the table stands already at "+tables[0].Place.String(), "there can be only one: keep one of the two")
	}
	return tables[0]
}

// claim registers a table under its name, for Locate. It complains when another has the name.
func (l *loader) claim(kind, name string, t *strict.Table) {
	key := tableKey{kind, name}
	if name == "" {
		return
	}
	if old := l.config.tables[key]; old != nil {
		t.Complain("name", fmt.Sprintf("another %s has this name: %s", kind, old.Locate("name")), "give each a name of its own")
		return
	}
	l.config.tables[key] = t
}
