package config

import (
	"maps"
	"slices"

	"edgegateway/adapters/profile"
)

// Build tells what this binary has. Names that a later build brings are known too, so that a configuration which
// uses them is understood, and said to be so, and never skipped in silence.
type Build struct {
	Protocols map[string]Protocol // by the name that [[device]] protocol takes
	Dialects  map[string]Dialect  // by the name that [platform] dialect takes
	Verbs     []string            // every verb that an operator can be allowed, those of later builds too
}

// Protocol is what the configuration has to know of one protocol.
type Protocol struct {
	Later   bool     // this binary does not have it yet
	Lines   []string // the kinds of line that it runs on: KindPort, KindHost, KindRadio
	Listens bool     // its devices speak unasked, so that silent_after makes sense
	TagKeys []string // keys that only this protocol's tags have; they become field.Tag.Extra
}

// Dialect is what the configuration has to know of one platform's dialect.
type Dialect struct {
	Later   bool     // this binary does not have it yet
	Options []string // keys of [platform] that only this dialect has; they become Platform.Options
}

// The kinds of line, named as the key that makes one.
const (
	KindPort  = "port"
	KindHost  = "host"
	KindRadio = "radio"
)

// How a radio scans: it listens, or it asks the devices for more.
const (
	ScanPassive = "passive"
	ScanActive  = "active"
)

// The framings of a line: how Modbus frames stand on it, or raw where there are none. The first of its kind is the
// default.
var (
	portFramings = []string{"rtu", "ascii", "raw"}
	hostFramings = []string{"tcp", "rtu", "ascii", "raw"}
)

// runsOn says whether this binary has any protocol for a kind of line.
func (b Build) runsOn(kind string) bool {
	for _, p := range b.Protocols {
		if !p.Later && slices.Contains(p.Lines, kind) {
			return true
		}
	}
	return false
}

// protocolNames lists every known protocol, sorted.
func (b Build) protocolNames() []string { return slices.Sorted(maps.Keys(b.Protocols)) }

// dialectNames lists every known dialect, sorted.
func (b Build) dialectNames() []string { return slices.Sorted(maps.Keys(b.Dialects)) }

// dialectsWith lists the dialects that have the option, sorted.
func (b Build) dialectsWith(option string) []string {
	return slices.DeleteFunc(b.dialectNames(), func(name string) bool {
		return !slices.Contains(b.Dialects[name].Options, option)
	})
}

// TagKeys are the keys that only one protocol's tags have, by protocol.
func (b Build) TagKeys() profile.Keys {
	keys := profile.Keys{}
	for name, p := range b.Protocols {
		keys[name] = p.TagKeys
	}
	return keys
}
