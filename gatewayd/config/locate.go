package config

import (
	"errors"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile/strict"
)

// Problem is one complaint about a configuration. Its String is "file:line:column: where: key = value: text", with
// the hint on a line of its own.
type Problem = strict.Problem

// Severity tells a fault from a remark.
type Severity = strict.Severity

// The severities. With an Error the answer of `check` is no; with a Warning it is still yes.
const (
	Error   = strict.Error
	Warning = strict.Warning
)

// Errors says whether any of the problems is an Error.
func Errors(problems []Problem) bool { return strict.Errors(problems) }

// The kinds of thing that a configuration names, as Locate and Problem take them.
const (
	KindGateway  = "gateway"
	KindPlatform = "platform"
	KindOperator = "operator"
	KindLine     = "line"
	KindDevice   = "device"
	KindTag      = "tag"
)

// tableKey is what Locate finds a table by.
type tableKey struct{ kind, name string }

// table finds the table of a thing; nil when it stands in no file.
func (c *Config) table(kind, name string) *strict.Table { return c.tables[tableKey{kind, name}] }

// Locate tells where the value of a key stands: of the gateway (name ""), a platform, a line, a device, or of a tag
// (name "pump-1/level"). Where the key is missing it is the heading; for what stands in no file it is the beginning of
// the main file.
func (c *Config) Locate(kind, name, key string) (file string, line, column int) {
	p := strict.Place{File: c.main, Line: 1, Column: 1}
	if t := c.table(kind, name); t != nil {
		p = t.Locate(key)
	}
	return p.File, p.Line, p.Column
}

// Problem makes a complaint about one key of a thing, which is named as for Locate: what somebody else found out
// about a value that is well formed.
func (c *Config) Problem(severity Severity, kind, name, key, text, hint string) Problem {
	t := c.table(kind, name)
	if t == nil {
		file, line, column := c.Locate(kind, name, key)
		where := kind
		if name != "" {
			where = fmt.Sprintf("%s %q", kind, name)
		}
		return Problem{Place: strict.Place{File: file, Line: line, Column: column},
			Severity: severity, Where: where, Key: key, Text: text, Hint: hint}
	}
	p := t.Problem(key, text, hint)
	p.Severity = severity
	p.Fatal = p.Fatal && severity == Error
	return p
}

// Problems turns what a driver's Bind said of a device into complaints, with the places in the files: a *TagError of
// a tag that stands in the configuration at that tag's key, one of a profile's tag at the device's profile key, a
// *DeviceError at the device's key.
func (c *Config) Problems(device string, err error) []Problem {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var problems []Problem
		for _, e := range joined.Unwrap() {
			problems = append(problems, c.Problems(device, e)...)
		}
		return problems
	}
	var ofTag *field.TagError
	var ofDevice *field.DeviceError
	switch {
	case errors.As(err, &ofTag):
		return []Problem{c.tagProblem(device, ofTag)}
	case errors.As(err, &ofDevice):
		return []Problem{c.deviceProblem(device, ofDevice)}
	default:
		return []Problem{c.Problem(Error, KindDevice, device, "", err.Error(), "")}
	}
}

func (c *Config) tagProblem(device string, e *field.TagError) Problem {
	if name := device + "/" + e.Tag; c.table(KindTag, name) != nil {
		return c.Problem(Error, KindTag, name, e.Key, e.Problem, e.Hint)
	}
	text := fmt.Sprintf("its tag %q: %s = %q: %s", e.Tag, e.Key, e.Value, e.Problem)
	return c.Problem(Error, KindDevice, device, "profile", text, e.Hint)
}

func (c *Config) deviceProblem(device string, e *field.DeviceError) Problem {
	key := strings.TrimPrefix(e.Key, "quirks.")
	text := fmt.Sprintf("%s = %q: %s", e.Key, e.Value, e.Problem)
	t := c.table(KindDevice, device)
	if t == nil {
		return c.Problem(Error, KindDevice, device, "", text, e.Hint)
	}
	if quirks := t.Inner("quirks", ""); quirks != nil && quirks.Has(key) {
		return quirks.Problem(key, e.Problem, e.Hint)
	}
	if t.Has(key) {
		return c.Problem(Error, KindDevice, device, key, e.Problem, e.Hint)
	}
	return c.Problem(Error, KindDevice, device, "profile", text, e.Hint)
}
