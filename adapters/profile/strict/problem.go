// Package strict reads TOML for people who have to put it right: configuration files and device profiles.
//
// It promises that every fault is reported and not just the first; that each carries file, line and column, what
// stands there, what is allowed and what to do next; and that a key which nobody asked for is a fault, with the
// nearest key that would have been allowed. A syntax error costs its own line and not the rest of the file. A caller
// may not assume that a value which was complained about is usable: Table.Failed tells.
//
// It is a leaf: it knows TOML's shape and the notations of values (durations, sizes, names), and nothing of what
// they configure.
package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity tells a fault from a remark.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // the answer of `check` is no
	Warning                 // it runs, but not all of it, or not as somebody might think
)

// String is "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText is String, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Place is where something stands. Line and Column count from 1, columns in characters.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// String is "file:line:column", as editors and compilers write it.
func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is one complaint.
type Problem struct {
	Place
	Severity Severity `json:"severity"`
	Fatal    bool     `json:"fatal,omitempty"` // nothing can run until this is put right
	Where    string   `json:"where,omitempty"` // device "pump-1": tag "level"
	Key      string   `json:"key,omitempty"`
	Value    string   `json:"value,omitempty"` // as it stands in the file, quotes and all; "" when the key is missing
	Text     string   `json:"text"`
	Hint     string   `json:"hint,omitempty"` // what to do next
}

// String is the complaint as `check` prints it, with the hint on a line of its own:
//
//	gatewayd.toml:12:9: device "pump-1": every = "1": this is no duration: …
//	    hint: …
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Place.String())
	b.WriteString(": ")
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key)
		if p.Value != "" {
			b.WriteString(" = " + p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString("\n    hint: " + p.Hint)
	}
	return b.String()
}

// Compare orders complaints by file, line and column.
func (p Problem) Compare(q Problem) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Report collects complaints. The zero Report is empty and ready.
type Report struct{ problems []Problem }

// Add takes one complaint.
func (r *Report) Add(p Problem) { r.problems = append(r.problems, p) }

// Problems gives all complaints, in the order of Compare.
func (r *Report) Problems() []Problem {
	sorted := slices.Clone(r.problems)
	slices.SortStableFunc(sorted, Problem.Compare)
	return sorted
}

// Errors says whether any complaint is an Error.
func Errors(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error })
}
