package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/identity"
	"edgegateway/gatewayd/machine"
	"edgegateway/gatewayd/update"
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

// verbs are the rows of the table of what this gateway can be asked to do.
func (d *daemon) verbs() []command.Verb {
	table := []command.Verb{
		{Name: "status", Level: command.Observe, Does: "what is wrong, and where things stand", Run: d.statusVerb},
		{Name: "read", Level: command.Observe, Args: "device [tag]", Does: "read a device once, now", Run: d.read},
		{Name: "solve", Level: command.Observe, Args: "device at expect [again]", Does: "find out how a number that the device shows is encoded", Run: d.solve},
		{Name: "write", Level: command.Operate, Args: "device tag value", Does: "write a tag once, now", Run: d.write},
		{Name: "select", Level: command.Operate, Args: "device tag value", Does: "announce a write that goes in two steps", Run: d.selectTag},
		{Name: "scan", Level: command.Operate, Args: "line", Does: "find out who answers on a line", Long: true, Limit: scanLimit, Run: d.scanVerb},
		{Name: "discover", Level: command.Operate, Args: "[lines] [from] [to]", Does: "find out who answers on all lines, and is not configured", Long: true, Limit: discoverLimit, Run: d.discover},
		{Name: "backlog", Level: command.Observe, Does: "what waits for the platforms", Run: d.backlog},
		{Name: "backlog-drop", Level: command.Configure, Args: "[platform]", Does: "give up what waits; it is declared lost", Run: d.dropBacklog},
		{Name: "ledger", Level: command.Observe, Does: "what was lost, and why", Run: d.ledger},
		{Name: "config", Level: command.Configure, Args: "[action] [text] [files] [secrets] [within] [percent] [confirm] [removes] [lock_out]",
			Does: "show the configuration, or try another one", Limit: 2 * provingMost, Long: true, Run: d.configVerb},
		{Name: "device-add", Level: command.Configure, Args: "device [tags] [within] [percent]", Does: "add a device, if it answers", Limit: 2 * provingMost, Long: true, Run: d.addDevice},
		{Name: "device-update", Level: command.Configure, Args: "device [tags] [within] [percent]", Does: "put a device in the place of one of the same name, if it answers", Limit: 2 * provingMost, Long: true, Run: d.updateDevice},
		{Name: "device-remove", Level: command.Configure, Args: "device [within] [percent]", Does: "take a device out", Limit: 2 * provingMost, Long: true, Run: d.removeDevice},
		{Name: "profile", Level: command.Observe, Args: "[action] [name]", Does: "the profiles that are known, or one of them", Run: d.profileVerb},
		{Name: "trace", Level: command.Operate, Args: "line [seconds] [frames]", Does: "the frames of a line, decoded", Limit: 2 * traceMost, Long: true, Run: d.traceVerb},
		{Name: "drill", Level: command.Configure, Args: "kind duration [platform]", Does: "cut our own uplink, and prove that nothing is lost", Limit: 3 * drillMost, Long: true, Run: d.drill},
		{Name: "report", Level: command.Observe, Does: "the acceptance report: what runs, how, and what is wrong", Run: d.reportVerb},
		{Name: "reload", Level: command.Configure, Does: "take up the installer's files as they are now, or refuse them", Run: d.reloadVerb},
		{Name: "cancel", Level: command.Operate, Args: "id", Does: "break off a command that is being run", Run: d.cancel},
	}
	var m *machine.Machine // of a nil daemon, only the verbs' names are asked for
	var a *update.Agent
	var i *identity.Store
	if d != nil {
		m, a, i = d.machine, d.agent, d.self
	}
	return slices.Concat(table, m.Verbs(), a.Verbs(), i.Verbs())
}

// find names the line and the device that are meant.
func (d *daemon) find(device string) (*line, *collect.Device, error) {
	var names []string
	for _, l := range d.here().lines {
		for i := range l.devices {
			if l.devices[i].Name == device {
				return l, &l.devices[i], nil
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

// target reads a write's arguments and judges them: what is to be written, and where.
func (d *daemon) target(raw json.RawMessage) (l *line, dev *collect.Device, tag *field.Tag, value field.Value, err error) {
	var args writeArgs
	if err = command.Decode(raw, &args); err != nil {
		return nil, nil, nil, value, err
	}
	if l, dev, err = d.find(args.Device); err != nil {
		return nil, nil, nil, value, err
	}
	tag, value, err = judgeWrite(dev, args)
	return l, dev, tag, value, err
}

func (d *daemon) write(ctx context.Context, raw json.RawMessage) (any, error) {
	l, dev, tag, value, err := d.target(raw)
	if err != nil {
		return nil, err
	}
	if tag.Select {
		if err := d.selections.take(dev.Name, tag.Name, command.CallerOf(ctx).Operator, value); err != nil {
			return nil, err
		}
	}
	if err := l.loop.Write(ctx, dev.Name, tag.Name, value); err != nil {
		return nil, fmt.Errorf("write %s/%s: %w", dev.Name, tag.Name, err)
	}
	return resultOf(dev, tag), nil
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
