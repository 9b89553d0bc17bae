package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
)

// solveArgs ask what at an address of a device could be shown as a number.
type solveArgs struct {
	Device string `json:"device"`
	At     string `json:"at"`
	Expect string `json:"expect"`          // as it is shown, digit for digit
	Again  bool   `json:"again,omitempty"` // go on from the readings before, which the value has left since
}

// guessDoc is one way in which the number could be encoded.
type guessDoc struct {
	At    string    `json:"at"`
	Type  string    `json:"type"`
	Order string    `json:"order,omitempty"`
	Scale float64   `json:"scale,omitempty"`
	Means []float64 `json:"means"` // what the tag would have given at each reading
	Exact bool      `json:"exact"`
}

type solveResult struct {
	Readings int        `json:"readings"`      // that were used
	Fits     int        `json:"fits"`          // how many ways fit
	Guesses  []guessDoc `json:"guesses"`       // the likeliest first, some of them
	Tag      string     `json:"tag,omitempty"` // the first as a [[tag]] to paste
}

// mostGuesses are told, mostClues and mostRiddles kept.
const (
	mostGuesses = 8
	mostClues   = 8
	mostRiddles = 64
)

// riddles are the readings that were made of addresses whose encoding is looked for, by device and address. The zero
// value is ready for use.
type riddles struct {
	mu    sync.Mutex
	clues map[[2]string][]field.Clue
}

// add notes a reading, behind those before where it goes on from them, and gives all.
func (r *riddles) add(device, at string, c field.Clue, again bool) []field.Clue {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]string{device, strings.Join(strings.Fields(at), " ")}
	if r.clues == nil || len(r.clues) >= mostRiddles && r.clues[key] == nil {
		r.clues = map[[2]string][]field.Clue{}
	}
	var all []field.Clue
	if again {
		all = r.clues[key]
	}
	all = append(all, c)
	all = all[max(0, len(all)-mostClues):]
	r.clues[key] = all
	return all
}

// solve is the verb behind `gatewayd read DEVICE AT --expect NUMBER`.
func (d *daemon) solve(ctx context.Context, raw json.RawMessage) (any, error) {
	var args solveArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	l, dev, err := d.find(args.Device)
	if err != nil {
		return nil, err
	}
	solver, ok := dev.Station.(field.Solver)
	if !ok {
		return nil, command.Invalidf("device %s speaks %s, whose values say themselves what they are", dev.Name, dev.Protocol)
	}
	if _, err := solver.Solve(args.At, []field.Clue{{Shown: args.Expect}}); err != nil {
		return nil, command.Invalidf("%s", err)
	}
	var blocks map[string][]byte
	err = l.loop.Use(ctx, dev.Name, func(ctx context.Context) (err error) {
		blocks, err = solver.Look(ctx, args.At)
		return err
	})
	var bad *field.TagError
	switch {
	case errors.As(err, &bad):
		return nil, command.Invalidf("%s", err)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", dev.Name, err)
	}
	clues := d.riddles.add(dev.Name, args.At, field.Clue{Shown: args.Expect, Blocks: blocks}, args.Again)
	guesses, err := solver.Solve(args.At, clues)
	if err != nil {
		return nil, command.Invalidf("%s", err)
	}
	result := solveResult{Readings: len(clues), Fits: len(guesses), Guesses: []guessDoc{}}
	for _, g := range guesses[:min(len(guesses), mostGuesses)] {
		result.Guesses = append(result.Guesses, guessDoc{g.Tag.At, g.Tag.Type, g.Tag.Order, g.Tag.Scale, g.Means, g.Exact})
	}
	if len(guesses) > 0 {
		result.Tag = tagText(dev.Name, guesses[0].Tag)
	}
	return result, nil
}

// tagText is a [[tag]] to paste.
func tagText(device string, t field.Tag) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[tag]]\ndevice = %q\nname   = \"NAME\"\nat     = %q\ntype   = %q\n", device, t.At, t.Type)
	if t.Order != "" {
		fmt.Fprintf(&b, "order  = %q\n", t.Order)
	}
	if t.Scale != 0 {
		fmt.Fprintf(&b, "scale  = %v\n", t.Scale)
	}
	return b.String()
}

// readExpecting is `gatewayd read DEVICE AT --expect NUMBER [--again]`.
func (c *cli) readExpecting() error {
	if err := c.takes(2, 2, `read DEVICE AT --expect NUMBER [--again], such as read meter-1 "input 0" --expect 229.0`); err != nil {
		return err
	}
	args := solveArgs{Device: c.args[0], At: c.args[1], Expect: *c.flags["expect"], Again: *c.switches["again"]}
	var r solveResult
	if err := c.do("solve", args, &r); err != nil || c.json {
		return err
	}
	if r.Fits == 0 {
		fmt.Fprintf(c.err, "nothing at %s or beside it could be shown as %s", args.At, args.Expect)
		if r.Readings > 1 {
			fmt.Fprintf(c.err, " and as what was shown before; begin anew without --again")
		}
		fmt.Fprintln(c.err)
		return errNo
	}
	for i, g := range r.Guesses {
		fmt.Fprintf(c.out, "%d. %s %s", i+1, g.At, g.Type)
		if g.Order != "" {
			fmt.Fprintf(c.out, " order %s", g.Order)
		}
		if g.Scale != 0 {
			fmt.Fprintf(c.out, " scale %v", g.Scale)
		}
		fmt.Fprint(c.out, ":")
		for _, v := range g.Means {
			fmt.Fprintf(c.out, " %.7g", v)
		}
		if !g.Exact {
			fmt.Fprint(c.out, " (near)")
		}
		fmt.Fprintln(c.out)
	}
	if r.Fits > 1 {
		fmt.Fprintf(c.out, "%d ways fit %d readings; when the device shows another number: gatewayd read %s %q --expect NUMBER --again\n",
			r.Fits, r.Readings, args.Device, args.At)
	}
	_, err := fmt.Fprintf(c.out, "\n%s", r.Tag)
	return err
}
