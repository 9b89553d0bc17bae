package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/web"
)

// streams are what a client can follow. One that there is a verb for asks for as much as the verb.
func (d *daemon) streams() map[string]web.Stream {
	return map[string]web.Stream{
		"watch":   {Level: command.Observe, Send: d.watch},
		"trace":   {Level: command.Operate, Send: d.trace},
		"backlog": {Level: command.Observe, Send: d.export},
		"scan":    {Level: command.Operate, Send: d.scanStream},
	}
}

// watch follows the readings of one device, or of all.
func (d *daemon) watch(ctx context.Context, q url.Values, emit func(any) error) error {
	device, lines := q.Get("device"), d.here().lines
	if device != "" {
		l, _, err := d.find(device)
		if err != nil {
			return err
		}
		lines = []*line{l}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	all := make(chan field.Record)
	var wait sync.WaitGroup
	for _, l := range lines {
		wait.Go(func() {
			for r := range l.loop.Watch(ctx) {
				select {
				case all <- r:
				case <-ctx.Done():
				}
			}
		})
	}
	go func() { // ends with the watchers, which end with ctx
		wait.Wait()
		close(all)
	}()
	for r := range all {
		if r.Group == nil || device != "" && r.Group.Device != device {
			continue
		}
		if err := emit(docOf(r, true)); err != nil {
			stop()
			for range all { // let the watchers go
			}
			return err
		}
	}
	return nil
}

// trace follows the frames of one line.
func (d *daemon) trace(ctx context.Context, q url.Values, emit func(any) error) error {
	var names []string
	for _, l := range d.here().lines {
		if l.Name != q.Get("line") {
			names = append(names, l.Name)
			continue
		}
		if r, ok := l.wire.(*radio); ok {
			return l.traceRadio(ctx, r, emit)
		}
		for f := range l.wire.Trace().Subscribe(ctx) {
			if err := emit(l.traced(f)); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("there is no line %q; there are: %s", q.Get("line"), strings.Join(names, ", "))
}

// traced is a frame of the line's trace as it is shown: without what is secret of it.
func (l *line) traced(f link.Frame) traceDoc {
	doc := traceDoc{T: f.Time.UnixMilli(), Line: l.Name, Dir: f.Dir.String(), Lost: f.Dropped, Text: f.Note}
	if len(f.Bytes) > 0 {
		doc.Hex = f.Hex()
		doc.Text = l.describe(f.Dir == link.Tx, f.Bytes)
	}
	return doc
}

// describe says what a frame means. On a line with several protocols it is of the one that knows it for a whole frame.
func (l *line) describe(sent bool, frame []byte) (text string) {
	asked := map[string]bool{}
	for _, d := range l.devices {
		if asked[d.Protocol] {
			continue
		}
		asked[d.Protocol] = true
		said := adapters.Describe(d.Protocol, l.Framing, sent, frame)
		if text == "" || text == adapters.NoFrame {
			text = said
		}
	}
	return text
}

// waitingDoc is one record of the backlog: a reading, an event or a reply.
type waitingDoc struct {
	Class string          `json:"class"`
	Epoch uint32          `json:"epoch"`
	Seq   uint64          `json:"seq"`
	Read  *recordDoc      `json:"record,omitempty"`
	Event *eventDoc       `json:"event,omitempty"`
	Reply json.RawMessage `json:"reply,omitempty"`
}

type eventDoc struct {
	T       int64                  `json:"t"`
	TQ      string                 `json:"tq,omitempty"`
	Kind    string                 `json:"kind"`
	Subject string                 `json:"subject,omitempty"`
	Text    string                 `json:"text,omitempty"`
	More    map[string]field.Value `json:"more,omitempty"`
}

// waitingOf is a record of an epoch as `backlog export` prints it.
func waitingOf(epoch uint32, r field.Record) waitingDoc {
	doc := waitingDoc{Class: r.Class().String(), Epoch: epoch, Seq: r.Seq, Reply: r.Reply}
	switch {
	case r.Group != nil:
		read := docOf(r, false)
		doc.Read = &read
	case r.Event != nil:
		doc.Event = &eventDoc{T: r.At.Wall, TQ: r.At.Trust.String(), Kind: r.Event.Kind, Subject: r.Event.Subject, Text: r.Event.Text}
		for _, m := range r.Event.More {
			if doc.Event.More == nil {
				doc.Event.More = map[string]field.Value{}
			}
			doc.Event.More[m.Name] = m.Value
		}
	}
	return doc
}

// export gives what waits for a platform, or for any, without taking it away.
func (d *daemon) export(ctx context.Context, q url.Values, emit func(any) error) error {
	return d.store.Export(ctx, q.Get("platform"), func(epoch uint32, r field.Record) error {
		return emit(waitingOf(epoch, r))
	})
}
