package profile

import (
	"fmt"
	"math"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile/strict"
)

// LongestString is the most bytes that a tag of type string may have.
const LongestString = 250

const limitsHint = "write limits = { min = 0, max = 50 }, in the tag's unit"

// ReadTag reads a [[tag]], in a profile or in a configuration: its keys are the same in both. where names what the
// tag belongs to (device "pump-1"); own are the keys that only its protocol knows. The notations of at, type, order
// and mask are the protocol's and are judged by its driver.
func ReadTag(t *strict.Table, where string, own []string) field.Tag {
	t.Where = where + ": tag"
	tag := field.Tag{Name: t.NeedName("name", `such as name = "voltage_l1"`)}
	if tag.Name != "" {
		t.Where = fmt.Sprintf("%s: tag %q", where, tag.Name)
	}
	tag.At = t.Need("at", `where the tag stands, in the protocol's notation: at = "input 100"`)
	tag.Type = t.Text("type")
	tag.Length = int(t.Integer("length", 1, LongestString))
	tag.Order = t.Text("order")
	tag.Scale = t.Number("scale", 0)
	if t.Has("scale") && tag.Scale == 0 && !t.Failed() {
		t.Complain("scale", "this makes every value 0", "value = raw × scale + offset; leave the key out for 1")
	}
	tag.Offset = t.Number("offset", 0)
	tag.Unit = t.Text("unit")
	tag.Group = t.OneOf("group", field.MainGroup, field.MainGroup, field.SlowGroup)
	tag.Event = t.OneOf("class", "reading", "reading", "event") == "event"
	tag.Null = t.ScalarList("null")
	tag.Enum = t.Scalars("enum", `write what each raw value means: enum = { 0 = "off", 1 = "on" }`)
	tag.Mask = t.Scalar("mask")
	tag.Limits = readLimits(t.Inner("limits", limitsHint))
	tag.Requires = t.Scalars("requires", `write what other tags of the device must be for a write: requires = { breaker = "open" }`)
	tag.Select, tag.ReadBack = t.Flag("select"), t.Flag("readback")
	for _, key := range own {
		if t.Has(key) {
			if tag.Extra == nil {
				tag.Extra = map[string]string{}
			}
			tag.Extra[key] = t.Scalar(key)
		}
	}
	t.Done(nil)
	return tag
}

func readLimits(t *strict.Table) *field.Limits {
	if t == nil {
		return nil
	}
	l := &field.Limits{Min: t.Number("min", math.Inf(-1)), Max: t.Number("max", math.Inf(1)), Step: t.Number("step", 0),
		Every: t.Duration("every", 0, LeastPeriod, MostPeriod)}
	switch {
	case l.Step < 0 || t.Has("step") && l.Step == 0:
		t.Complain("step", "nothing could be written", "write the most that one write may change the value by, in the tag's unit: step = 5")
	case !t.Has("min") && !t.Has("max") && !t.Has("step") && !t.Has("every"):
		t.Complain("", "there is no limit in it", limitsHint)
	case l.Min > l.Max:
		t.Complain("min", fmt.Sprintf("this is above max = %v", l.Max), "nothing could be written; exchange the two")
	}
	t.Done(nil)
	return l
}
