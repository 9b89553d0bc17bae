package main

import (
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"edgegateway/gatewayd/machine"
	"edgegateway/systemd"
)

// newMachine makes what can be asked of the box beneath the gateway.
func (d *daemon) newMachine(c *cli) *machine.Machine {
	o := machine.Options{
		Named: d.here().config.Systemd.Units, State: c.state, Units: systemd.Manager{}, Journal: systemd.Journal,
		Event: d.event, Idle: d.idle, Log: d.log,
	}
	if os.Getenv("INVOCATION_ID") != "" { // systemd's mark on what it started
		o.Leave = func(why string) {
			select {
			case d.leave <- why:
			default: // it is leaving already
			}
		}
	}
	return machine.New(o)
}

// idleAge is how long a record may have waited while the link still counts as idle: what was read just now is on its
// way in less.
const idleAge = 2 * time.Second

// idle says whether a platform is connected, and nothing has waited for any that is.
func (d *daemon) idle() bool {
	store, now, connected := d.store.Stats(), time.Now().UnixMilli(), false
	for _, p := range d.here().platforms {
		if !p.uplink.Stats().Connected {
			continue
		}
		connected = true
		for i := range store.Destinations {
			dest := &store.Destinations[i]
			if dest.Name == p.Name && dest.Oldest != 0 && now-dest.Oldest > idleAge.Milliseconds() {
				return false
			}
		}
	}
	return connected
}

// runUnits is `gatewayd units`.
func runUnits(c *cli) error {
	if err := c.takes(0, 0, "units"); err != nil {
		return err
	}
	var units []systemd.Unit
	if err := c.do("units", struct{}{}, &units); err != nil || c.json {
		return err
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "UNIT\tSTATE\tSINCE\tRESTARTS\tIS")
	for _, u := range units {
		since := ""
		if u.Since != 0 {
			since = time.UnixMilli(u.Since).Format("2006-01-02 15:04:05")
		}
		state := u.Active + " (" + u.Sub + ")"
		if u.Load != "loaded" {
			state = u.Load
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", u.Name, state, since, u.Restarts, u.Description)
	}
	return t.Flush()
}

// runRestart is `gatewayd restart [UNIT]`.
func runRestart(c *cli) error {
	if err := c.takes(0, 1, "restart [UNIT]"); err != nil {
		return err
	}
	if unit := first(c.args); unit != "" {
		var u systemd.Unit
		if err := c.do("restart", machine.RestartArgs{Unit: unit}, &u); err != nil || c.json {
			return err
		}
		_, err := fmt.Fprintf(c.out, "%s is %s (%s)\n", u.Name, u.Active, u.Sub)
		return err
	}
	return c.announced("restart", machine.RestartArgs{})
}

// runReboot is `gatewayd reboot REASON`.
func runReboot(c *cli) error {
	if err := c.takes(1, 1, "reboot REASON"); err != nil {
		return err
	}
	return c.announced("reboot", machine.RebootArgs{Reason: c.args[0]})
}

// announced runs a verb whose effect comes after its answer.
func (c *cli) announced(verb string, args any) error {
	var a machine.Announced
	if err := c.do(verb, args, &a); err != nil || c.json {
		return err
	}
	_, err := fmt.Fprintln(c.out, a.Text)
	return err
}

// runLogs is `gatewayd logs [UNIT]`.
func runLogs(c *cli) error {
	if err := c.takes(0, 1, "logs [UNIT] [--since 1h] [--priority P] [--bytes N] [--send]"); err != nil {
		return err
	}
	args := machine.LogsArgs{Unit: first(c.args), Since: *c.flags["since"], Priority: *c.flags["priority"], Send: *c.switches["send"]}
	if text := *c.flags["bytes"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return usagef("--bytes %s: a number is needed", text)
		}
		args.Bytes = n
	}
	var logs machine.Logs
	if err := c.do("logs", args, &logs); err != nil || c.json {
		return err
	}
	if logs.More {
		fmt.Fprintln(c.err, "older entries did not fit; --bytes takes more")
	}
	for _, e := range logs.Entries {
		if _, err := fmt.Fprintf(c.out, "%s %-7s %s: %s\n", time.UnixMilli(e.T).Format("2006-01-02 15:04:05"), systemd.Priorities[e.Priority], e.From, e.Text); err != nil {
			return err
		}
	}
	if args.Send {
		_, err := fmt.Fprintf(c.out, "%d entries leave as %d events %q\n", logs.Count, logs.Pieces, logs.ID)
		return err
	}
	return nil
}
