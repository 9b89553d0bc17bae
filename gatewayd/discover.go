package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"edgegateway/gatewayd/command"
)

// discoverArgs are the arguments of discover; all are optional.
type discoverArgs struct {
	Lines []string `json:"lines,omitempty"` // these alone; none for every line
	From  string   `json:"from,omitempty"`  // addresses, as for scan
	To    string   `json:"to,omitempty"`
}

// discovered is what the whole field holds.
type discovered struct {
	New    []foundDoc        `json:"new"`              // that no [[device]] is configured for
	Known  []foundDoc        `json:"known"`            //
	Failed map[string]string `json:"failed,omitempty"` // lines that could not be scanned, and why
}

// discoverLimit is when the search is broken off.
const discoverLimit = 2 * time.Hour

// discover scans all lines at once, and parts what it finds into what is configured and what is not.
func (d *daemon) discover(ctx context.Context, raw json.RawMessage) (any, error) {
	var args discoverArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	here := d.here()
	if len(args.Lines) == 0 {
		for _, l := range here.lines {
			args.Lines = append(args.Lines, l.Name)
		}
	}
	for _, name := range args.Lines {
		if here.line(name) == nil {
			return nil, command.Invalidf("there is no line %q", name)
		}
	}
	var mu sync.Mutex
	out := discovered{New: []foundDoc{}, Known: []foundDoc{}, Failed: map[string]string{}}
	ended := 0
	var wait sync.WaitGroup
	for _, name := range args.Lines {
		wait.Go(func() {
			err := d.scan(ctx, scanArgs{Line: name, From: args.From, To: args.To}, func(s scanDoc) error {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case s.Found == nil:
				case s.Found.Known != "":
					out.Known = append(out.Known, *s.Found)
				default:
					out.New = append(out.New, *s.Found)
				}
				command.Progress(ctx, ended, len(args.Lines), fmt.Sprintf("%d of %d lines are searched; %d devices found, %d of them new",
					ended, len(args.Lines), len(out.New)+len(out.Known), len(out.New)))
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if ended++; err != nil {
				out.Failed[name] = err.Error()
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}
