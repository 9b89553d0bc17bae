package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/health"
)

type drillArgs struct {
	Kind     string `json:"kind"`
	Duration string `json:"duration"`
	Platform string `json:"platform,omitempty"` // "" for all of them
}

// drillReport is what a drill proves.
type drillReport struct {
	Kind      string          `json:"kind"`
	From      int64           `json:"from"` // Unix milliseconds
	To        int64           `json:"to"`   // when the link was restored
	Seconds   float64         `json:"seconds"`
	Passed    bool            `json:"passed"`
	Text      string          `json:"text"`
	Platforms []drillPlatform `json:"platforms"`
}

// drillPlatform is the account of one destination, in records.
type drillPlatform struct {
	Name      string  `json:"name"`
	Taken     uint64  `json:"taken"`     // while it was cut
	Peak      uint64  `json:"peak"`      // the largest backlog that was seen
	Delivered uint64  `json:"delivered"` // since the beginning
	Buffered  uint64  `json:"buffered"`  // what waits at the end: what came since the link was restored, at most
	Lost      uint64  `json:"lost"`
	Back      float64 `json:"back_s"`    // from the restoration until it was connected
	Drained   float64 `json:"drained_s"` // until all that was taken before the restoration had arrived
	Balanced  bool    `json:"balanced"`  // taken = delivered + buffered + lost, at every look
}

const (
	drillMost  = 24 * time.Hour
	drillDrain = 30 * time.Minute // how long the backlog may take, or as long as the outage if that is more
	drillLook  = 200 * time.Millisecond
)

// sums adds up a platform's books over the classes.
func sums(p *health.Platform) (b health.Books) {
	for _, c := range p.Books {
		b.Taken, b.Delivered, b.Buffered, b.Lost = b.Taken+c.Taken, b.Delivered+c.Delivered, b.Buffered+c.Buffered, b.Lost+c.Lost
	}
	return b
}

// drill cuts our own uplink, looks at what the buffer does, restores it, and proves that the books balance.
func (d *daemon) drill(ctx context.Context, raw json.RawMessage) (any, error) {
	var args drillArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	if args.Kind != "outage" {
		return nil, command.Invalidf("kind = %q: there is the drill \"outage\"", args.Kind)
	}
	span, err := time.ParseDuration(args.Duration)
	if err != nil || span < time.Second || span > drillMost {
		return nil, command.Invalidf("duration = %q: a duration from 1s to %s, such as 10m", args.Duration, drillMost)
	}
	var cut []*platform
	var names []string
	for _, p := range d.here().platforms {
		names = append(names, p.Name)
		if args.Platform == "" || args.Platform == p.Name {
			if p.uplink.Stats().Cut {
				return nil, &command.Error{Code: command.Busy, Text: "a drill is under way"}
			}
			cut = append(cut, p)
		}
	}
	if len(cut) == 0 {
		return nil, command.Invalidf("there is no platform %q; there are: %s", args.Platform, strings.Join(names, ", "))
	}
	return d.outage(ctx, cut, span)
}

// outage is the drill itself.
func (d *daemon) outage(ctx context.Context, cut []*platform, span time.Duration) (any, error) {
	r := &drillReport{Kind: "outage", Platforms: make([]drillPlatform, len(cut))}
	begin := make([]health.Books, len(cut))
	look := func(do func(i int, p *health.Platform, b health.Books)) {
		status := d.status()
		for i, c := range cut {
			for k := range status.Platforms {
				if p := &status.Platforms[k]; p.Name == c.Name {
					do(i, p, sums(p))
				}
			}
		}
	}
	look(func(i int, p *health.Platform, b health.Books) {
		begin[i] = b
		r.Platforms[i] = drillPlatform{Name: p.Name, Balanced: true}
	})
	restore := func() {
		for _, c := range cut {
			c.uplink.SetCut(false)
		}
	}
	defer restore()
	started := time.Now()
	for _, c := range cut {
		c.uplink.SetCut(true)
	}
	r.From = started.UnixMilli()
	d.log.Info("a drill cuts the uplink", "for", span)
	balance := func(i int, p *health.Platform, b health.Books) {
		if b.Taken != b.Delivered+b.Buffered+b.Lost {
			r.Platforms[i].Balanced = false
		}
		r.Platforms[i].Peak = max(r.Platforms[i].Peak, p.Backlog)
	}
	tick := time.NewTicker(drillLook)
	defer tick.Stop()
	for time.Since(started) < span {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
		look(balance)
		command.Progress(ctx, int(time.Since(started).Seconds()), int(span.Seconds()), fmt.Sprintf("cut for %s of %s", time.Since(started).Round(time.Second), span))
	}
	atRestore := make([]uint64, len(cut))
	look(func(i int, p *health.Platform, b health.Books) {
		balance(i, p, b)
		atRestore[i] = b.Taken
		r.Platforms[i].Taken = b.Taken - begin[i].Taken
	})
	restore()
	restored := time.Now()
	r.To = restored.UnixMilli()
	if err := d.drained(ctx, r, restored, max(drillDrain, span), func() (left int) {
		look(func(i int, p *health.Platform, b health.Books) {
			balance(i, p, b)
			o := &r.Platforms[i]
			o.Delivered, o.Buffered, o.Lost = b.Delivered-begin[i].Delivered, b.Buffered, b.Lost-begin[i].Lost
			if o.Back == 0 && p.Connected {
				o.Back = time.Since(restored).Seconds()
			}
			if arrived := b.Buffered <= b.Taken-atRestore[i]; o.Drained == 0 && o.Back != 0 && arrived {
				o.Drained = time.Since(restored).Seconds()
			}
			if o.Drained == 0 {
				left++
			}
		})
		return left
	}); err != nil {
		return nil, err
	}
	return r.judge(time.Since(started))
}

// drained looks until nothing is left, or the time is over.
func (d *daemon) drained(ctx context.Context, r *drillReport, since time.Time, most time.Duration, look func() (left int)) error {
	tick := time.NewTicker(drillLook)
	defer tick.Stop()
	for look() > 0 && time.Since(since) < most {
		command.Progress(ctx, len(r.Platforms), len(r.Platforms), fmt.Sprintf("restored %s ago; the backlog leaves", time.Since(since).Round(time.Second)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// judge says whether the drill was passed, and why not.
func (r *drillReport) judge(took time.Duration) (any, error) {
	r.Seconds = took.Seconds()
	var faults []string
	for _, p := range r.Platforms {
		switch {
		case p.Back == 0:
			faults = append(faults, p.Name+" did not come back")
		case p.Drained == 0:
			faults = append(faults, fmt.Sprintf("%s: the backlog did not leave in time, %d records wait", p.Name, p.Buffered))
		}
		if p.Lost > 0 {
			faults = append(faults, fmt.Sprintf("%s: %d records were given up and declared lost", p.Name, p.Lost))
		}
		if !p.Balanced {
			faults = append(faults, p.Name+": the books did not balance")
		}
	}
	r.Passed, r.Text = len(faults) == 0, "nothing was lost, and the books balance"
	if !r.Passed {
		r.Text = strings.Join(faults, "; ")
		return r, &command.Error{Code: command.Failed, Text: r.Text}
	}
	return r, nil
}

// runDrill is `gatewayd drill outage DURATION`.
func runDrill(c *cli) error {
	if err := c.takes(2, 2, "drill outage DURATION [--platform NAME]"); err != nil {
		return err
	}
	var r drillReport
	err := c.do("drill", drillArgs{c.args[0], c.args[1], *c.flags["platform"]}, &r)
	if err != nil || c.json {
		return err
	}
	for _, p := range r.Platforms {
		fmt.Fprintf(c.out, "%s: %d records came while it was cut, %d waited at most; back after %.1f s, all had arrived after %.1f s; lost: %d\n",
			p.Name, p.Taken, p.Peak, p.Back, p.Drained, p.Lost)
	}
	_, err = fmt.Fprintf(c.out, "drill of %.0f s passed: %s\n", r.Seconds, r.Text)
	return err
}
