package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/command"
)

// judgeWrite says whether a value may go to a tag at all: the tag is there, is named as writable, and the value is of
// its kind and within its limits.
func judgeWrite(dev *collect.Device, args writeArgs) (*field.Tag, field.Value, error) {
	var tag *field.Tag
	var writable []string
	for i := range dev.Tags {
		if dev.Tags[i].Name == args.Tag {
			tag = &dev.Tags[i]
		}
		if dev.Tags[i].Write {
			writable = append(writable, dev.Tags[i].Name)
		}
	}
	if tag == nil {
		return nil, field.Value{}, command.Invalidf("device %q has no tag %q", dev.Name, args.Tag)
	}
	if !tag.Write {
		return nil, field.Value{}, &command.Error{Code: command.Refused, Text: fmt.Sprintf(
			"%s/%s may not be written; writable here: [%s] (name it in the device's `writable` list if that is meant)",
			dev.Name, tag.Name, strings.Join(writable, ", "))}
	}
	value, err := valueOf(kindOf(dev.Station, tag.Name), args.Value)
	if err != nil {
		return nil, field.Value{}, err
	}
	if f, ok := value.Float(); ok && tag.Limits != nil && (f < tag.Limits.Min || f > tag.Limits.Max) {
		return nil, field.Value{}, &command.Error{Code: command.Refused, Text: fmt.Sprintf(
			"%s/%s = %s is outside its limits, %v … %v %s", dev.Name, tag.Name, value, tag.Limits.Min, tag.Limits.Max, tag.Unit)}
	}
	return tag, value, nil
}

// kindOf is the kind of a tag's values, as its station gives them.
func kindOf(station field.Station, tag string) field.Kind {
	for _, g := range station.Groups() {
		for _, p := range g.Points {
			if p.Name == tag {
				return p.Kind
			}
		}
	}
	return field.KindNull
}

// valueOf reads the value of a write: a JSON number, truth value or text, or any of them as a text in quotes, as the
// command line sends it.
func valueOf(kind field.Kind, raw json.RawMessage) (field.Value, error) {
	text := string(raw)
	switch {
	case len(raw) == 0 || text == "null":
		return field.Value{}, command.Invalidf("the value is missing")
	case raw[0] == '{' || raw[0] == '[':
		return field.Value{}, command.Invalidf("the value is a number, a truth value or a text, not %s", raw)
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return field.Value{}, command.Invalidf("value: %v", err)
		}
	}
	v, err := field.ParseValue(kind, text)
	if err != nil {
		return v, command.Invalidf("value: %v", err)
	}
	return v, nil
}
