package strict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Table is one table while it is read. Every method that reads a key makes the key known; Done complains about the
// others. A method that finds a fault complains, marks the table as failed and returns the zero value (or the
// fallback), so that a caller reads all keys in a row and asks Failed once.
type Table struct {
	Place         // of its heading's name
	Name   string // "device"; of an inline table the key that it stands under
	Where  string // how complaints name it; "[[device]]" until the caller knows better
	List   bool   // the heading is [[Name]]
	Fatal  bool   // its faults are fatal
	report *Report
	parent *Table // of an inline table

	entries  []*entry
	repeated []*entry // keys that stood there already
	asked    []string
	broken   bool // a line of it could not be read
	failed   bool
}

type entry struct {
	key   string
	place Place
	value Value
}

// Value is one value as it stands in a file.
type Value struct {
	Place
	kind  unstable.Kind
	text  string // of a string its content, of others what is written
	raw   string // what is written
	items []Value
	table *Table
}

// Raw is the value as it is written, on one line and not too long.
func (v Value) Raw() string { return v.raw }

// Hidden is the value for a complaint that must not show it: it may be a secret, written where it does not belong.
func (v Value) Hidden() Value {
	v.raw = "…"
	return v
}

// Kind names the value's type in TOML's words.
func (v Value) Kind() string {
	switch v.kind {
	case unstable.String:
		return "a text"
	case unstable.Bool:
		return "true or false"
	case unstable.Integer, unstable.Float:
		return "a number"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

func (t *Table) find(key string) *entry {
	i := slices.IndexFunc(t.entries, func(e *entry) bool { return e.key == key })
	if i < 0 {
		return nil
	}
	return t.entries[i]
}

// ask finds a key and makes it known.
func (t *Table) ask(key string) *entry {
	if !slices.Contains(t.asked, key) {
		t.asked = append(t.asked, key)
	}
	return t.find(key)
}

// Has says whether the key stands there, and makes it known.
func (t *Table) Has(key string) bool { return t.ask(key) != nil }

// Keys lists the keys that stand there, in their order, known or not.
func (t *Table) Keys() []string {
	keys := make([]string, len(t.entries))
	for i, e := range t.entries {
		keys[i] = e.key
	}
	return keys
}

// Failed says that something in the table was complained about.
func (t *Table) Failed() bool { return t.failed }

// Fail marks the table as failed, for a fault that was complained about elsewhere.
func (t *Table) Fail() {
	for ; t != nil; t = t.parent {
		t.failed = true
	}
}

// Locate tells where a key's value stands, or the heading when the key is not there.
func (t *Table) Locate(key string) Place {
	if e := t.find(key); e != nil {
		return e.value.Place
	}
	return t.Place
}

// Find gives a key's value without making the key known; ok is false when it is not there.
func (t *Table) Find(key string) (v Value, ok bool) {
	if e := t.find(key); e != nil {
		return e.value, true
	}
	return Value{}, false
}

// Problem makes a complaint about a key, without reporting it. An empty key means the table as a whole.
func (t *Table) Problem(key, text, hint string) Problem {
	p := Problem{Place: t.Locate(key), Text: text, Hint: hint}
	if e := t.find(key); e != nil {
		p.Value = e.value.raw
	}
	return t.name(p, key)
}

// name fills in how the complaint speaks of the table and the key.
func (t *Table) name(p Problem, key string) Problem {
	p.Key = key
	for ; t.parent != nil; t = t.parent {
		p.Key = strings.TrimSuffix(t.Name+"."+p.Key, ".")
	}
	p.Where, p.Fatal = t.Where, p.Fatal || t.Fatal && p.Severity == Error
	return p
}

// Complain reports a fault of a key, or of the table as a whole when key is "".
func (t *Table) Complain(key, text, hint string) {
	t.Fail()
	t.report.Add(t.Problem(key, text, hint))
}

// ComplainOf reports a fault of one value under a key: an item of a list.
func (t *Table) ComplainOf(key string, v Value, text, hint string) {
	t.Fail()
	t.report.Add(t.name(Problem{Place: v.Place, Value: v.raw, Text: text, Hint: hint}, key))
}

// Warn reports a remark on a key, or on the table as a whole when key is "".
func (t *Table) Warn(key, text, hint string) {
	p := t.Problem(key, text, hint)
	p.Severity, p.Fatal = Warning, false
	t.report.Add(p)
}

// Missing complains that a key is not there. After a line that could not be read it says nothing: the key may have
// stood in it.
func (t *Table) Missing(key, hint string) {
	t.Fail()
	if !t.broken {
		t.Complain(key, "the key is missing", hint)
	}
}

// Ignore makes a key known without reading it.
func (t *Table) Ignore(keys ...string) {
	for _, k := range keys {
		t.ask(k)
	}
}

// Done complains about every key that nobody asked for. elsewhere may say of a key where it would be right; "" when
// it does not know the key either. It may be nil.
func (t *Table) Done(elsewhere func(key string) string) {
	for _, e := range t.repeated {
		t.Fail()
		t.report.Add(t.name(Problem{Place: e.place, Value: e.value.raw,
			Text: fmt.Sprintf("the key stands already in line %d", t.find(e.key).place.Line), Hint: "keep one of the two"}, e.key))
	}
	for _, e := range t.entries {
		if slices.Contains(t.asked, e.key) {
			continue
		}
		text, hint := "there is no such key", Choices(e.key, t.asked)
		if elsewhere != nil {
			if other := elsewhere(e.key); other != "" {
				text, hint = other, "allowed: "+strings.Join(t.asked, ", ")
			}
		}
		t.Fail()
		t.report.Add(t.name(Problem{Place: e.place, Text: text, Hint: hint}, e.key))
	}
}
