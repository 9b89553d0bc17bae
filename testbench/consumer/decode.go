package consumer

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object being read against the contract: what is wrong with it, and what was not asked for, becomes
// a complaint. encoding/json alone would take "Seq" for "seq", and the last of two members of one name.
type object struct {
	where    string
	members  []member
	complain func(format string, args ...any)
}

type member struct {
	name  string
	value json.RawMessage
	asked bool
}

// parse takes an object apart that stands in valid JSON. A value that is none is a complaint.
func parse(where string, raw []byte, complain func(string, ...any)) (*object, bool) {
	o := &object{where: where, complain: complain}
	if raw[0] != '{' {
		complain("%s: no JSON object: %.80q", where, raw)
		return nil, false
	}
	each(raw, func(name string, value json.RawMessage) {
		if o.find(name) != nil {
			complain("%s: member %q stands there twice", where, name)
			return
		}
		o.members = append(o.members, member{name: name, value: value})
	})
	return o, true
}

func (o *object) find(name string) *member {
	for i := range o.members {
		if o.members[i].name == name {
			return &o.members[i]
		}
	}
	return nil
}

// get gives a member's JSON text, or nil.
func (o *object) get(name string) json.RawMessage {
	if m := o.find(name); m != nil {
		return m.value
	}
	return nil
}

// raw is get, with a complaint when a member that is required is missing; the member counts as known.
func (o *object) raw(name string, required bool) json.RawMessage {
	m := o.find(name)
	switch {
	case m != nil:
		m.asked = true
		return m.value
	case required:
		o.complain("%s: %q is missing", o.where, name)
	}
	return nil
}

// number gives a whole number of at least least, and whether it is there.
func (o *object) number(name string, least int64, required bool) (uint64, bool) {
	v := o.raw(name, required)
	if v == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least {
		o.complain("%s: %q is %s, which is no whole number from %d on", o.where, name, v, least)
		return 0, false
	}
	return uint64(n), true
}

func (o *object) text(name string, required bool, allowed ...string) string {
	v := o.raw(name, required)
	if v == nil {
		return ""
	}
	var s string
	if v[0] != '"' || json.Unmarshal(v, &s) != nil {
		o.complain("%s: %q is %s, which is no text", o.where, name, v)
	} else if len(allowed) > 0 && !slices.Contains(allowed, s) {
		o.complain("%s: %q is %q; allowed are %s", o.where, name, s, strings.Join(allowed, ", "))
	}
	return s
}

// name is a text that is required, and not empty.
func (o *object) name(name string) string {
	s := o.text(name, true)
	if s == "" && string(o.get(name)) == `""` {
		o.complain("%s: %q is empty", o.where, name)
	}
	return s
}

func (o *object) truth(name string) bool {
	v := o.raw(name, true)
	if v != nil && string(v) != "true" && string(v) != "false" {
		o.complain("%s: %q is %s, which is no truth value", o.where, name, v)
	}
	return string(v) == "true"
}

// list gives the elements of an array that may not be empty.
func (o *object) list(name string) (l []json.RawMessage) {
	v := o.raw(name, true)
	if v == nil {
		return nil
	}
	if v[0] != '[' {
		o.complain("%s: %q is no array", o.where, name)
		return nil
	}
	elements(v, func(e json.RawMessage) { l = append(l, e) })
	if len(l) == 0 {
		o.complain("%s: %q is empty", o.where, name)
	}
	return l
}

// done complains of what nobody asked for.
func (o *object) done() {
	for _, m := range o.members {
		if !m.asked {
			o.complain("%s: member %q is unknown", o.where, m.name)
		}
	}
}

// envelope reads what every payload upwards begins with.
func (o *object) envelope() (gateway string) {
	if v, ok := o.number("v", 0, true); ok && v != 1 {
		o.complain("%s: version %d", o.where, v)
	}
	return o.name("gateway")
}

const latestTime = 4102444800000 // 2100-01-01; an early one can be true, on a box that was never synchronised

func (o *object) time(name string) int64 {
	t, _ := o.number(name, 0, true)
	if t > latestTime {
		o.complain("%s: %q is %d, which are no milliseconds since 1970", o.where, name, t)
	}
	return int64(t)
}

// scalar says whether a JSON value can be a tag's.
func scalar(v json.RawMessage) bool { return v[0] != '{' && v[0] != '[' && v[0] != 'n' }

func at(where string, i int) string { return where + "[" + strconv.Itoa(i) + "]" }
