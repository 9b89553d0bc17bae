package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/dialect"
)

// auditFolder is where the audit log stands, below the state folder.
const auditFolder = "audit"

// openDesk opens the audit log and makes the desk that commands go through. The caller closes the log. Where it cannot be
// opened, nothing that comes from afar is done that moves something; the rest of the gateway runs.
func (d *daemon) openDesk(state string) {
	now := func() int64 { return d.clock.Stamp().Wall }
	log, entries, broken, err := audit.Open(filepath.Join(state, auditFolder), audit.Options{Now: now, Live: d.live})
	if err != nil {
		log = audit.Unusable(err)
		d.log.Error("the audit log cannot be opened: commands from afar that move or change something are refused", "error", err)
		d.event(field.Event{Kind: "command", Text: "the audit log cannot be opened, and commands that move or change something are refused: " + err.Error()})
	}
	if broken != nil {
		d.log.Error("the audit log is broken: set aside, and a new one begun", "why", broken)
		d.event(field.Event{Kind: "command", Text: "the audit log was broken and set aside: " + broken.Error()})
	}
	d.audit = log
	d.desk = command.NewDesk(command.DeskOptions{
		Gateway: d.here().config.Gateway.Name, Table: command.NewTable(d.here().config.Gateway.Name, now, d.verbs()...),
		Audit: log, Entries: entries, Clock: d.commandClock, Send: d.answer, Resolve: d.resolve, Log: d.log,
	}, operators(d.here().config))
}

// live says whether a command that expires then could still be sent again. Without a clock, any could that expires.
func (d *daemon) live(expires int64) bool {
	now, believed := d.commandClock()
	return expires > 0 && (!believed || expires > now)
}

// operators are those of the configuration.
func operators(c *config.Config) []command.Operator {
	list := make([]command.Operator, len(c.Operators))
	for i, o := range c.Operators {
		level, _ := command.ParseLevel(o.Level) // the configuration allows no others
		list[i] = command.Operator{Name: o.Name, Key: o.Key, Verbs: o.Verbs, Level: level}
	}
	return list
}

// commandClock is the clock that commands are judged by. Within a container it is the host's, which nobody in here can
// synchronise, and which no power cut takes back; `clock = "kernel"` in [gateway] leaves that to the kernel's word.
func (d *daemon) commandClock() (now int64, believed bool) {
	stamp := d.clock.Stamp()
	believed = stamp.Trust == field.Synchronised
	switch d.here().config.Gateway.Clock {
	case config.ClockTrusted:
		believed = true
	case config.ClockAuto:
		believed = believed || contained()
	}
	return stamp.Wall, believed
}

// contained says whether this process runs in a container, by the marks that they leave.
func contained() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// answerWait is how long an answer waits for the flash; it is taken all the same.
const answerWait = 10 * time.Second

// answer stores a reply to a platform, or to every one where it is not configured, and the event about it for all of
// them, in one commit.
func (d *daemon) answer(ctx context.Context, platform string, reply []byte, e field.Event) error {
	var records []field.Record
	if reply != nil {
		records = append(records, field.Record{At: d.clock.Stamp(), Reply: reply})
	}
	if e.Kind != "" {
		records = append(records, field.Record{At: d.clock.Stamp(), Event: &e})
	}
	if !slices.Contains(namesOf(d.here().config), platform) {
		platform = "" // the buffer may serve it all the same, while a trial runs, but nobody drains it
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	return d.store.AppendFor(ctx, platform, records...)
}

// commanded takes what comes down on a platform's command topics. It runs on the uplink's goroutine for that, and
// returns when the command is remembered.
func (d *daemon) commanded(p config.Platform, words dialect.Dialect) func(dialect.Message) {
	return func(m dialect.Message) {
		r, err := words.Command(m)
		if err != nil {
			d.log.Warn("a message on a command topic is no command", "platform", p.Name, "topic", m.Topic, "error", err)
			d.desk.Unreadable(context.Background(), p.Name, err)
			return
		}
		d.desk.Take(context.Background(), p.Name, p.UnsignedVerbs, r)
	}
}

type cancelArgs struct {
	ID string `json:"id"`
}

// cancel breaks off a command of the same operator, or from here anybody's.
func (d *daemon) cancel(ctx context.Context, raw json.RawMessage) (any, error) {
	var args cancelArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	by := command.CallerOf(ctx).Operator
	whose := by
	if by == "local" {
		whose = ""
	}
	if !d.desk.Cancel(whose, args.ID, by) {
		return nil, command.Invalidf("no command with the id %q is being run", args.ID)
	}
	return nil, nil
}

// closeDesk closes the audit log.
func (d *daemon) closeDesk() {
	if err := d.audit.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		d.log.Error("the audit log could not be closed", "error", err)
	}
}
