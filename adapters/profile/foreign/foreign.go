// Package foreign makes profiles of other projects' device descriptions: those of EdgeX device-modbus (YAML), of
// Telegraf's Modbus input (TOML) and tables in CSV.
//
// It promises that nothing of a description is dropped in silence: what cannot be said in a profile is a note, with the
// line it stands in where that is known. A caller may not assume that the addresses are right: some descriptions count
// from 1 without saying so, and whoever imports has to compare one value with the device's display.
package foreign

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/profile/strict"
)

// Description is what was understood of a foreign description: a profile in the making.
type Description struct {
	Name, Title, Source string
	Tags                []Tag
	Notes               []string // what has no place in a profile, or needs a look, in words for whoever imports it
}

// Tag is one tag, in the notation of a profile.
type Tag struct {
	Name, At, Type, Order, Unit string
	Length                      int
	Scale, Offset               float64 // a scale of 0 means 1
	Slow                        bool
	Enum                        map[string]string
	Null                        string
}

// Options say how to read a description.
type Options struct {
	Name     string // of the profile; "" for what the description calls it
	OneBased bool   // the description counts addresses from 1
}

// Formats are the formats that Read understands.
func Formats() []string { return []string{"csv", "edgex", "telegraf"} }

// Read reads a description. The error says what cannot be understood at all, and where.
func Read(format, file string, text []byte, o Options) (*Description, error) {
	var d *Description
	var err error
	switch format {
	case "edgex":
		d, err = readEdgeX(text)
	case "telegraf":
		d, err = readTelegraf(text)
	case "csv":
		d, err = readCSV(text)
	default:
		return nil, fmt.Errorf("there is no format %q: allowed are %s", format, strings.Join(Formats(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d.Source = fmt.Sprintf("imported from %s (%s)", file, format)
	d.Name = nameOf(cmp.Or(o.Name, d.Name, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))))
	d.Title = cmp.Or(d.Title, d.Name)
	if len(d.Tags) == 0 {
		return nil, fmt.Errorf("%s: no tag was found in it; is it of format %q?", file, format)
	}
	d.finish(o)
	return d, nil
}

// finish gives each tag a name of its own and an address that counts from 0.
func (d *Description) finish(o Options) {
	seen := map[string]int{}
	for i := range d.Tags {
		t := &d.Tags[i]
		name := nameOf(t.Name)
		if name != t.Name {
			d.note("%q is called %q: names have lower-case letters, digits, _ and -", t.Name, name)
		}
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s_%d", name, seen[name])
			d.note("there are two tags %q; the second is called %q", t.Name, name)
		}
		t.Name = name
		if o.OneBased {
			t.At = oneLess(t.At)
		}
	}
}

func (d *Description) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// oneLess counts an address from 0 that was counted from 1.
func oneLess(at string) string {
	words := strings.Fields(at)
	if len(words) < 2 {
		return at
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 1 {
		return at
	}
	words[1] = strconv.Itoa(n - 1)
	return strings.Join(words, " ")
}

// nameOf makes a name of a word: lower case, and _ for what may not stand in it.
func nameOf(word string) string {
	var b strings.Builder
	for i, r := range word {
		switch {
		case r >= 'A' && r <= 'Z':
			// VoltageL1 is voltage_l1; an abbreviation stays together.
			if i > 0 && word[i-1] >= 'a' && word[i-1] <= 'z' {
				b.WriteByte('_')
			}
			b.WriteRune(r - 'A' + 'a')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	name := strings.Trim(b.String(), "_-")
	if len(name) > strict.NameLength {
		name = strings.Trim(name[:strict.NameLength], "_-")
	}
	return cmp.Or(name, "imported")
}

// Write writes the profile, in the notation of profiles. It carries no test: what was imported is not proved.
func (d *Description) Write(w io.Writer) error {
	var b strings.Builder
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "# Look at this: %s\n", strings.ReplaceAll(n, "\n", " "))
	}
	fmt.Fprintf(&b, "name = %s\ntitle = %s\nprotocol = \"modbus\"\nsource = %s\n", quote(d.Name), quote(d.Title), quote(d.Source))
	for _, t := range d.Tags {
		fmt.Fprintf(&b, "\n[[tag]]\nname = %s\nat = %s\n", quote(t.Name), quote(t.At))
		text := func(key, v string) {
			if v != "" {
				fmt.Fprintf(&b, "%s = %s\n", key, quote(v))
			}
		}
		number := func(key string, v float64) {
			if v != 0 {
				fmt.Fprintf(&b, "%s = %s\n", key, strconv.FormatFloat(v, 'f', -1, 64))
			}
		}
		text("type", t.Type)
		if t.Length > 0 {
			fmt.Fprintf(&b, "length = %d\n", t.Length)
		}
		text("order", t.Order)
		if t.Scale != 1 {
			number("scale", t.Scale)
		}
		number("offset", t.Offset)
		text("unit", t.Unit)
		text("null", t.Null)
		if t.Slow {
			text("group", "slow")
		}
		if len(t.Enum) > 0 {
			var words []string
			for _, raw := range slices.Sorted(maps.Keys(t.Enum)) {
				words = append(words, quote(raw)+" = "+quote(t.Enum[raw]))
			}
			fmt.Fprintf(&b, "enum = { %s }\n", strings.Join(words, ", "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7F:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// spaces are the words for the four spaces of addresses, as others write them, without blanks and in lower case.
var spaces = map[string]string{
	"coils": "coil", "coil": "coil", "discretesinput": "discrete", "discreteinputs": "discrete", "discreteinput": "discrete", "discrete": "discrete",
	"inputregisters": "input", "inputregister": "input", "input": "input", "holdingregisters": "holding", "holdingregister": "holding", "holding": "holding",
}

func spaceOf(word string) (string, bool) {
	space, ok := spaces[strings.NewReplacer("_", "", " ", "", "-", "").Replace(strings.ToLower(word))]
	return space, ok
}
