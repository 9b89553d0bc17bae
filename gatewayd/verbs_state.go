package main

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"edgegateway/buffer"
	"edgegateway/gatewayd/health"
)

// runStatus is `gatewayd status`. The answer is no when something is wrong.
func runStatus(c *cli) error {
	if err := c.takes(0, 0, "status"); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	var s health.Status
	if err := c.call(ctx, "GET", "/api/status", nil, &s); err != nil {
		return err
	}
	if !c.json {
		s.Print(c.out)
	} else if err := c.printJSON(s); err != nil {
		return err
	}
	if len(s.Problems) > 0 {
		return errNo
	}
	return nil
}

// runBacklog is `gatewayd backlog [show|export|drop]`, and what backlogOffline does.
func runBacklog(c *cli) error {
	if done, err := c.backlogOffline(); done {
		return err
	}
	if err := c.takes(0, 1, "backlog [show|export|drop|verify|salvage] [--platform NAME]"); err != nil {
		return err
	}
	platform := *c.flags["platform"]
	switch what := cmp.Or(first(c.args), "show"); what {
	case "show":
		var rows []buffer.Waiting
		if err := c.do("backlog", struct{}{}, &rows); err != nil || c.json {
			return err
		}
		if len(rows) == 0 {
			_, err := fmt.Fprintln(c.out, "nothing waits")
			return err
		}
		t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CLASS\tWHERE\tEPOCH\tFROM\tTO\tRECORDS\tSIZE\tOLDEST\tOWED TO")
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", r.Class, r.Where, r.Epoch, r.From, r.To, r.Records,
				health.Size(r.Bytes), time.UnixMilli(r.Oldest).Format("2006-01-02 15:04:05"), strings.Join(r.OwedTo, ", "))
		}
		return t.Flush()
	case "export":
		c.json = true // one JSON document a line, whoever reads it
		return c.follow("backlog", url.Values{"platform": {platform}}, nil)
	case "drop":
		if !*c.switches["yes"] {
			return usagef("backlog drop gives up what no platform has; say --yes if that is meant")
		}
		var result dropResult
		if err := c.do("backlog-drop", dropArgs{platform}, &result); err != nil || c.json {
			return err
		}
		_, err := fmt.Fprintf(c.out, "%d records dropped and declared lost\n", result.Dropped)
		return err
	default:
		return usagef("backlog %s: allowed are show, export, drop, verify, salvage", what)
	}
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// runLedger is `gatewayd ledger`.
func runLedger(c *cli) error {
	if err := c.takes(0, 0, "ledger"); err != nil {
		return err
	}
	var losses []buffer.Loss
	if err := c.do("ledger", struct{}{}, &losses); err != nil || c.json {
		return err
	}
	if len(losses) == 0 {
		_, err := fmt.Fprintln(c.out, "nothing was lost")
		return err
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHEN\tPLATFORM\tCLASS\tCAUSE\tFROM\tTO\tRECORDS")
	for _, l := range losses {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", time.UnixMilli(l.At).Format("2006-01-02 15:04:05"),
			cmp.Or(l.Destination, "all"), l.Class, l.Cause, l.From, l.To, l.Count)
	}
	return t.Flush()
}
