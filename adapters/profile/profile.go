// Package profile is what is known of kinds of devices, as data: which tags they have and where, how often to read
// them, what they do otherwise than others, and captured frames as the proof.
//
// It promises that a profile is read strictly (see package strict), that a tag is written with the same keys in a
// profile as in a configuration, and that Test runs the captured frames through the real driver. A caller may not
// assume that the addresses and types of a profile's tags are right in the protocol's eyes: the driver's Bind says so.
package profile

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile/strict"
)

// Least and most that a period may be.
const (
	LeastPeriod = 100 * time.Millisecond
	MostPeriod  = 366 * 24 * time.Hour
)

// LeastTimeout and MostTimeout bound the wait for one answer.
const (
	LeastTimeout = 10 * time.Millisecond
	MostTimeout  = time.Minute
)

// Profile is one kind of device.
type Profile struct {
	Name     string // by which a device asks for it: "eastron-sdm630"
	Title    string // for people
	Protocol string // "modbus", …
	Source   string // the document that the tags were written from
	BuiltIn  bool
	Every    time.Duration // period of the main group; 0 when the profile does not say
	Slow     time.Duration // period of the slow group; 0 when the profile does not say
	Timeout  time.Duration // for one answer; 0 when the profile does not say
	Quirks   map[string]string
	Tags     []field.Tag
	Tests    []Frame

	root *strict.Table
}

// Keys are the keys of its own that a protocol's tags may have: protocol → keys.
type Keys map[string][]string

//go:embed library/*.toml
var library embed.FS

// Library reads the built-in profiles, in the order of their names.
func Library(keys Keys, report *strict.Report) []*Profile {
	profiles, err := Load(library, "library", keys, report)
	if err != nil {
		panic("profile: the embedded library cannot be read: " + err.Error())
	}
	for _, p := range profiles {
		p.BuiltIn = true
	}
	return profiles
}

// Later lists the profiles that a later build brings: name → protocol.
func Later() map[string]string {
	return map[string]string{}
}

// Load reads every *.toml of a folder, in the order of their names. No folder is no profiles. A profile with faults
// is there too, with Failed true. The error is nil unless the folder or a file in it cannot be read.
func Load(fsys fs.FS, dir string, keys Keys, report *strict.Report) ([]*Profile, error) {
	files, err := fs.Glob(fsys, path.Join(dir, "*.toml"))
	if err != nil {
		return nil, err
	}
	var profiles []*Profile
	var faults []error
	for _, file := range files {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		profiles = append(profiles, Parse(file, text, keys, report))
	}
	return profiles, errors.Join(faults...)
}

// Parse reads one profile.
func Parse(file string, text []byte, keys Keys, report *strict.Report) *Profile {
	doc := strict.Parse(file, text, report)
	root := doc.Root
	p := &Profile{root: root}
	root.Where = "profile"
	p.Name = root.NeedName("name", `the name by which a device asks for it: name = "acme-m1"`)
	if p.Name != "" {
		root.Where = fmt.Sprintf("profile %q", p.Name)
	}
	p.Title = root.Need("title", "what it is, for people")
	p.Protocol = root.Need("protocol", `such as protocol = "modbus"`)
	p.Source = root.Need("source", "the document that the tags were written from")
	root.Done(nil)

	single := map[string]*strict.Table{}
	for _, t := range doc.Tables {
		heading := t.Where
		t.Where = root.Where + ": " + heading
		switch t.Name {
		case "defaults", "quirks":
			if first := single[t.Name]; first != nil {
				t.Complain("", fmt.Sprintf("%s stands already in line %d", heading, first.Line), "keep one of the two")
			} else {
				single[t.Name] = t
				p.readSingle(t)
			}
		case "tag":
			p.addTag(t, keys[p.Protocol])
		case "test":
			p.Tests = append(p.Tests, readFrame(t))
		default:
			t.Complain("", "there is no such table", strict.Choices(t.Name, []string{"defaults", "quirks", "tag", "test"}))
		}
		if t.Failed() {
			root.Fail()
		}
	}
	if len(p.Tags) == 0 && !root.Failed() {
		root.Complain("", "the profile has no tags", "each is a [[tag]] with name, at and type")
	}
	for _, f := range p.Tests {
		p.checkFrame(f)
	}
	return p
}

// Failed says that the profile has faults, which were reported: it cannot be used.
func (p *Profile) Failed() bool { return p.root.Failed() }

// Fail marks the profile as one that cannot be used, for a fault that the caller reported.
func (p *Profile) Fail() { p.root.Fail() }

// Problem makes a complaint about one of the profile's own keys, or about the profile when key is "".
func (p *Profile) Problem(key, text, hint string) strict.Problem {
	return p.root.Problem(key, text, hint)
}

func (p *Profile) readSingle(t *strict.Table) {
	if t.Name == "quirks" {
		p.Quirks = map[string]string{}
		for _, k := range t.Keys() {
			p.Quirks[k] = t.Scalar(k)
		}
	} else {
		p.Every = t.Duration("every", 0, LeastPeriod, MostPeriod)
		p.Slow = t.Duration("slow", 0, LeastPeriod, MostPeriod)
		p.Timeout = t.Duration("timeout", 0, LeastTimeout, MostTimeout)
	}
	t.Done(nil)
}

func (p *Profile) addTag(t *strict.Table, own []string) {
	tag := ReadTag(t, p.root.Where, own)
	if p.Tag(tag.Name) != nil {
		t.Complain("name", "another tag of this profile has this name", "give each tag a name of its own")
		return
	}
	p.Tags = append(p.Tags, tag)
}

// Tag finds a tag by its name; nil when there is none.
func (p *Profile) Tag(name string) *field.Tag {
	i := slices.IndexFunc(p.Tags, func(t field.Tag) bool { return t.Name == name })
	if i < 0 || name == "" {
		return nil
	}
	return &p.Tags[i]
}

// TagNames lists the names of the tags, in order.
func (p *Profile) TagNames() []string {
	names := make([]string, len(p.Tags))
	for i, t := range p.Tags {
		names[i] = t.Name
	}
	return names
}

// Check reads one profile and judges it as one of the library: it must carry a test. It does not run the tests.
func Check(file string, text []byte, keys Keys) (*Profile, []strict.Problem) {
	var report strict.Report
	p := Parse(file, text, keys, &report)
	if len(p.Tests) == 0 {
		p.root.Complain("", "the profile carries no test", NoTestHint)
	}
	return p, report.Problems()
}

// NoTestHint says how a profile that carries no test gets one.
const NoTestHint = "add a [[test]] with a captured request and answer, and what they mean: expect = { … }"

// Sorted gives profiles by name; of two with the same name the later one counts.
func Sorted(profiles []*Profile) []*Profile {
	byName := map[string]*Profile{}
	for _, p := range profiles {
		byName[p.Name] = p
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *Profile) int { return cmp.Compare(a.Name, b.Name) })
}
