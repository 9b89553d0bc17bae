// Package storebench measures the store beside what the same work costs others in the same run: a raw append-only log
// with the same sync policy, a bare Badger transaction, bbolt and Pebble.
//
// It promises that every figure was measured in this run, that all engines are given the same blocks of the same
// records by the same encoder, one block a commit, each synced before the next, and that the engines take turns. A caller
// may not assume that figures of two runs compare: ratios do, times depend on the machine.
package storebench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Part is one question.
type Part struct {
	Name, What string
	Run        func(ctx context.Context, dir string, w io.Writer) error
}

// Parts lists every part, in the order in which they run.
func Parts() []Part {
	return []Part{
		{"commits", "commits, drain and bytes, beside a raw log, bare Badger, bbolt and Pebble", commits},
		{"joined", "small blocks and what joining them saves", joined},
		{"cycles", "fill to the cap, drain, fill again, 20 times", cycles},
		{"flash", "bytes that reach the device, beside a raw log, and in each state (needs root)", flash},
		{"memory", "memory and opening with 0 and 10 million readings, and the daemon in 64 MB (needs root)", memory},
	}
}

// Run runs the parts, or the one with the given name, in folders below dir, and writes tables in Markdown.
func Run(ctx context.Context, only, dir string, headings bool, w io.Writer) error {
	var names []string
	for _, p := range Parts() {
		names = append(names, p.Name)
	}
	if only != "" && !slices.Contains(names, only) {
		return fmt.Errorf("there is no part %q; there are %s", only, strings.Join(names, ", "))
	}
	for _, p := range Parts() {
		if only != "" && p.Name != only {
			continue
		}
		if headings {
			fmt.Fprintf(w, "\n### %s: %s\n\n", p.Name, p.What)
		}
		if err := p.Run(ctx, dir, w); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// table writes the first rows of a table.
func table(w io.Writer, columns ...string) {
	row(w, columns...)
	dashes := make([]string, len(columns))
	for i := range dashes {
		dashes[i] = "---"
	}
	row(w, dashes...)
}

func row(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

// median of what was measured in several turns.
func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}

// judge says whether a figure is within its goal.
func judge(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}
