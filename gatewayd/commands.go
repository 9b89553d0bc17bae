package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/command"
)

// The arguments and results of the verbs, as the command line, the page and the platforms write them.
type (
	readArgs struct {
		Device string `json:"device"`
		Tag    string `json:"tag,omitempty"`
	}
	writeArgs struct {
		Device string          `json:"device"`
		Tag    string          `json:"tag"`
		Value  json.RawMessage `json:"value"`
	}
	dropArgs struct {
		Platform string `json:"platform,omitempty"`
	}
	dropResult struct {
		Dropped uint64 `json:"dropped"`
	}
)

func (d *daemon) table() *command.Table {
	return command.NewTable(d.config.Gateway.Name, func() int64 { return d.clock.Stamp().Wall }, d.verbs()...)
}

// verbs are the rows of the table of what this gateway can be asked to do.
func (d *daemon) verbs() []command.Verb {
	return []command.Verb{
		{Name: "status", Level: command.Observe, Does: "what is wrong, and where things stand", Run: d.statusVerb},
		{Name: "read", Level: command.Observe, Args: "device [tag]", Does: "read a device once, now", Run: d.read},
		{Name: "write", Level: command.Operate, Args: "device tag value", Does: "write a tag once, now", Run: d.write},
		{Name: "backlog", Level: command.Observe, Does: "what waits for the platforms", Run: d.backlog},
		{Name: "backlog-drop", Level: command.Configure, Args: "[platform]", Does: "give up what waits; it is declared lost", Run: d.dropBacklog},
		{Name: "ledger", Level: command.Observe, Does: "what was lost, and why", Run: d.ledger},
	}
}

// find names the line and the device that are meant.
func (d *daemon) find(device string) (*line, *field.Device, error) {
	var names []string
	for _, l := range d.lines {
		for i := range l.devices {
			if l.devices[i].Name == device {
				return l, &l.devices[i].Device, nil
			}
			names = append(names, l.devices[i].Name)
		}
	}
	return nil, nil, command.Invalidf("there is no device %q; there are: %s", device, strings.Join(names, ", "))
}

func (d *daemon) read(ctx context.Context, raw json.RawMessage) (any, error) {
	var args readArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	l, dev, err := d.find(args.Device)
	if err != nil {
		return nil, err
	}
	records, err := l.loop.Read(ctx, dev.Name, args.Tag)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", args.Device, err)
	}
	docs := make([]recordDoc, len(records))
	for i, r := range records {
		docs[i] = docOf(r, true)
	}
	return docs, nil
}

func (d *daemon) write(ctx context.Context, raw json.RawMessage) (any, error) {
	var args writeArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	l, dev, err := d.find(args.Device)
	if err != nil {
		return nil, err
	}
	tag, value, err := judgeWrite(dev, args)
	if err != nil {
		return nil, err
	}
	if err := l.loop.Write(ctx, dev.Name, tag.Name, value); err != nil {
		return nil, fmt.Errorf("write %s/%s: %w", dev.Name, tag.Name, err)
	}
	return nil, nil
}

// judgeWrite says whether a value may go to a tag at all: the tag is there, is named as writable, and the value is of
// its kind and within its limits.
func judgeWrite(dev *field.Device, args writeArgs) (*field.Tag, field.Value, error) {
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
	value, err := valueOf(tag, args.Value)
	if err != nil {
		return nil, field.Value{}, err
	}
	if f, ok := value.Float(); ok && tag.Limits != nil && (f < tag.Limits.Min || f > tag.Limits.Max) {
		return nil, field.Value{}, &command.Error{Code: command.Refused, Text: fmt.Sprintf(
			"%s/%s = %s is outside its limits, %v … %v %s", dev.Name, tag.Name, value, tag.Limits.Min, tag.Limits.Max, tag.Unit)}
	}
	return tag, value, nil
}

// valueOf reads the value of a write: a JSON number, truth value or word, or its text in quotes, as the command line
// sends it.
func valueOf(tag *field.Tag, raw json.RawMessage) (field.Value, error) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return field.Value{}, command.Invalidf("value: %v", err)
		}
	}
	kind := field.KindFloat64
	switch {
	case tag.Type == "bool" || tag.Type == "bit":
		kind = field.KindBool
	case tag.Type == "string":
		kind = field.KindString
	case len(tag.Enum) > 0:
		for _, word := range tag.Enum {
			if word == text {
				return field.Text(text), nil
			}
		}
	}
	// Integers keep all of their digits; a float64 has 53 bits.
	if kind == field.KindFloat64 {
		if v, err := field.ParseValue(field.KindInt, text); err == nil {
			return v, nil
		}
		if v, err := field.ParseValue(field.KindUint, text); err == nil {
			return v, nil
		}
	}
	v, err := field.ParseValue(kind, text)
	if err != nil {
		return v, command.Invalidf("value: %v", err)
	}
	return v, nil
}

func (d *daemon) statusVerb(context.Context, json.RawMessage) (any, error) { return d.status(), nil }

// backlogEntries bounds the answer of the verb backlog.
const backlogEntries = 200

func (d *daemon) backlog(context.Context, json.RawMessage) (any, error) {
	return append([]buffer.Waiting{}, d.store.Backlog(backlogEntries)...), nil
}

func (d *daemon) dropBacklog(_ context.Context, raw json.RawMessage) (any, error) {
	var args dropArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	n, err := d.store.Drop(args.Platform, "given up by an operator")
	if errors.Is(err, buffer.ErrDestination) {
		return nil, command.Invalidf("there is no platform %q", args.Platform)
	}
	return dropResult{n}, err
}

// ledgerEntries bounds the answer of the verb ledger.
const ledgerEntries = 200

func (d *daemon) ledger(context.Context, json.RawMessage) (any, error) {
	return append([]buffer.Loss{}, d.store.Ledger(ledgerEntries)...), nil
}
