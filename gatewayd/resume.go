package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strconv"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/command"
)

// resumeVariable tells a daemon that started itself anew for which generation it did.
const resumeVariable = "GATEWAYD_RESUME"

// resumed is the generation whose trial this start belongs to; 0 for none.
func resumed() int {
	n, _ := strconv.Atoi(os.Getenv(resumeVariable)) // no number is none
	_ = os.Unsetenv(resumeVariable)                 // it holds for this start alone
	return n
}

// againError ends the daemon so that it starts itself anew.
type againError struct{ generation int }

func (e *againError) Error() string { return "to be started anew" }

// loadKept loads the configuration that holds. One from afar that cannot be run at all is given up for the one before.
func loadKept(kept *candidate.Store, creds string, log *slog.Logger) (*site, error) {
	s, err := load(kept.File(), func(name string) string { return kept.Secret(name, creds) }, true, log)
	if kept.FromAfar() && (err != nil || s.fatal() != nil) {
		if err == nil {
			err = s.fatal()
			s.close()
		}
		log.Error("the configuration from afar cannot be run, and is given up", "error", err)
		if err := kept.Abandon("the configuration from afar cannot be run: " + err.Error()); err != nil {
			log.Error("that it is given up could not be written; the next start finds the same", "error", err)
		}
		return loadKept(kept, creds, log) // the one that was kept before, or the installer's
	}
	return s, err
}

// resume tells what the start found, and goes on with the trial that it was made for.
func (d *daemon) resume(ctx context.Context) error {
	if note := d.kept.Note(); note != "" {
		d.log.Warn(note)
		d.desk.Note(note)
		d.event(field.Event{Kind: "config", Text: note})
	}
	t := d.kept.Trial()
	if t == nil || !d.change.begin() {
		<-ctx.Done()
		return nil
	}
	report := &changeReport{Before: t.Old, After: t.New, Changed: true, Begun: []string{"everything"}}
	proving := ctx
	if t.ID != "" {
		proving = d.desk.GoesOn(ctx, t.Operator, t.ID, "config")
	}
	result, err := d.prove(proving, t, report, nil)
	if err == nil && d.retainsMore() {
		d.restart(0) // which also answers; until then the next trial has to wait
		<-ctx.Done()
		return nil
	}
	d.change.end()
	// What is not kept is answered by the start that follows: the platform that asked may not be in this configuration.
	if t.ID != "" && err == nil {
		d.desk.Complete(context.WithoutCancel(ctx), t.Operator, t.ID, result, nil)
	}
	<-ctx.Done()
	return nil
}

// resolve knows how a change of the configuration ended that a crash or a start anew caught in the middle.
func (d *daemon) resolve(e audit.Entry) (*command.Reply, bool) {
	if t := d.kept.Trial(); t != nil && t.ID == e.ID && t.Operator == e.Operator {
		return nil, true
	}
	o := d.kept.Outcome()
	if o == nil || o.ID != e.ID || o.Operator != e.Operator {
		return nil, false
	}
	r := &command.Reply{V: 1, ID: e.ID, Gateway: d.here().config.Gateway.Name, Verb: e.Verb, Code: command.Failed, Text: o.Text,
		Result: o.Report, T: d.clock.Stamp().Wall}
	if o.Kept {
		r.Code, r.Text = command.OK, ""
	}
	if r.Result == nil {
		r.Result = json.RawMessage("{}")
	}
	return r, false
}
