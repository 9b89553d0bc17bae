package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"
)

// shown is a recordDoc as it comes back from the daemon: values stay as they were written.
type shown struct {
	Device string                     `json:"device"`
	Group  string                     `json:"group"`
	T      int64                      `json:"t"`
	TQ     string                     `json:"tq"`
	V      map[string]json.RawMessage `json:"v"`
	Q      map[string]string          `json:"q"`
	Units  map[string]string          `json:"units"`
}

// runRead is `gatewayd read DEVICE [TAG]`, or, with --expect, the search for an encoding.
func runRead(c *cli) error {
	if *c.flags["expect"] != "" {
		return c.readExpecting()
	}
	if err := c.takes(1, 2, "read DEVICE [TAG]"); err != nil {
		return err
	}
	args := readArgs{Device: c.args[0]}
	if len(c.args) == 2 {
		args.Tag = c.args[1]
	}
	var docs []shown
	if err := c.do("read", args, &docs); err != nil || c.json {
		return err
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	good := false
	for _, d := range docs {
		for _, name := range slices.Sorted(maps.Keys(d.V)) {
			good = true
			fmt.Fprintf(t, "%s/%s\t%s\t%s\n", d.Device, name, d.V[name], d.Units[name])
		}
		for _, name := range slices.Sorted(maps.Keys(d.Q)) {
			fmt.Fprintf(t, "%s/%s\t%s\t\n", d.Device, name, d.Q[name])
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !good {
		return errNo
	}
	return nil
}

// runWrite is `gatewayd write DEVICE TAG VALUE`.
func runWrite(c *cli) error {
	if err := c.takes(3, 3, "write DEVICE TAG VALUE [--select]"); err != nil {
		return err
	}
	args := writeArgs{Device: c.args[0], Tag: c.args[1]}
	args.Value, _ = json.Marshal(c.args[2]) // a string always encodes; the daemon reads it by the tag's type
	if *c.switches["select"] {
		if err := c.do("select", args, nil); err != nil || c.json {
			return err
		}
		_, err := fmt.Fprintf(c.out, "%s/%s is selected: write %s to it within %v\n", args.Device, args.Tag, c.args[2], selectionHolds)
		return err
	}
	var result writeResult
	if err := c.do("write", args, &result); err != nil || c.json {
		return err
	}
	if !result.Confirmed {
		_, err := fmt.Fprintf(c.out, "%s/%s = %s: sent to every device on the line; nobody confirms a broadcast\n", args.Device, args.Tag, c.args[2])
		return err
	}
	_, err := fmt.Fprintf(c.out, "%s/%s = %s: the device confirmed it\n", args.Device, args.Tag, c.args[2])
	return err
}

// runWatch is `gatewayd watch [DEVICE]`.
func runWatch(c *cli) error {
	if err := c.takes(0, 1, "watch [DEVICE]"); err != nil {
		return err
	}
	query := url.Values{}
	if len(c.args) == 1 {
		query.Set("device", c.args[0])
	}
	return c.follow("watch", query, func(line []byte) error {
		var d shown
		if err := json.Unmarshal(line, &d); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s %-16s", time.UnixMilli(d.T).Format("15:04:05.000"), d.Device)
		for _, name := range slices.Sorted(maps.Keys(d.V)) {
			fmt.Fprintf(c.out, " %s=%s%s", name, d.V[name], d.Units[name])
		}
		for _, name := range slices.Sorted(maps.Keys(d.Q)) {
			fmt.Fprintf(c.out, " %s:%s", name, d.Q[name])
		}
		_, err := fmt.Fprintln(c.out)
		return err
	})
}

// traceDoc is one frame of a line's trace.
type traceDoc struct {
	T    int64  `json:"t"`
	Line string `json:"line"`
	Dir  string `json:"dir"`            // "tx", "rx", "note"
	Hex  string `json:"hex,omitempty"`  // the bytes
	Text string `json:"text,omitempty"` // what they mean, or the note
	Lost int    `json:"lost,omitempty"` // frames that were missed just before, because the reader is slow
}

// runTrace is `gatewayd trace LINE`.
func runTrace(c *cli) error {
	if err := c.takes(1, 1, "trace LINE"); err != nil {
		return err
	}
	return c.follow("trace", url.Values{"line": {c.args[0]}}, func(line []byte) error {
		var d traceDoc
		if err := json.Unmarshal(line, &d); err != nil {
			return err
		}
		at := time.UnixMilli(d.T).Format("15:04:05.000")
		if d.Hex == "" {
			_, err := fmt.Fprintf(c.out, "%s -- %s\n", at, d.Text)
			return err
		}
		_, err := fmt.Fprintf(c.out, "%s %s %s   %s\n", at, d.Dir, d.Hex, d.Text)
		return err
	})
}
