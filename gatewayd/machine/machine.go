// Package machine is what can be asked of the box beneath the gateway: how a few named units are, to restart them or
// the gateway itself, to reboot, and to read the journal. It gives verbs to the daemon's table.
//
// It promises that only units which the configuration names are asked for; that an answer is given before what it
// announces happens; that a reboot's reason is told after it, with whether the machine really went down; and that a
// journal which is sent goes in small pieces, each only when nothing else waits to be sent. A caller may not assume
// that systemd is there: without it the verbs say so.
package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/durable"
	"edgegateway/systemd"
)

// Self is the gateway's own unit.
const Self = "gatewayd.service"

const (
	grace        = 3 * time.Second  // between an answer and what it announces
	restartWait  = 90 * time.Second // for a unit's restart: the manager's own default, for its stop or its start
	busWait      = 15 * time.Second // for the manager to say how the unit is then
	rebootFile   = "reboot.json"
	reasonLength = 400
)

// Units is the service manager, as much of it as is asked for: a systemd.Manager.
type Units interface {
	Status(ctx context.Context, name string) (systemd.Unit, error)
	Restart(ctx context.Context, name string) error
	Reboot(ctx context.Context) error
}

// Options say what may be asked for, and of whom.
type Options struct {
	Named []string // the units that may be asked for, Self apart, which always may
	State string   // the folder in which a reboot's reason outlives it
	Units Units
	// Journal reads the machine's journal: systemd.Journal.
	Journal func(context.Context, systemd.Query) ([]systemd.Entry, bool, error)
	// Event stores an event; durable when it returns, if it can be.
	Event func(field.Event)
	// Leave ends the daemon, for its supervisor to start it anew. Nil when nobody would.
	Leave func(why string)
	// Idle says whether nothing waits to be sent, and there is somebody to send to.
	Idle func() bool
	Log  *slog.Logger
}

// Machine answers the verbs. Make it with New, and Run it.
type Machine struct {
	o     Options
	later chan func(context.Context) // what happens after its answer, one at a time
}

// New makes a Machine; nothing is asked of anybody before a verb is run.
func New(o Options) *Machine {
	return &Machine{o: o, later: make(chan func(context.Context))}
}

// Run does what verbs announced, until the context ends, and returns nil then. First it tells of a reboot that was
// asked for.
func (m *Machine) Run(ctx context.Context) error {
	m.tellReboot()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-m.later:
			f(ctx)
		}
	}
}

// announce hands over what is done after the answer. One thing at a time: a second one is refused.
func (m *Machine) announce(what func(context.Context)) error {
	select {
	case m.later <- what:
		return nil
	default:
		return &command.Error{Code: command.Busy, Text: "a restart, a reboot or a transfer of the journal is under way already; ask again when it has ended"}
	}
}

// afterwards does something when the answer is safe, and has had a moment to leave.
func (m *Machine) afterwards(text string, what func(context.Context)) (any, error) {
	safe := make(chan struct{})
	if err := m.announce(func(ctx context.Context) {
		select {
		case <-safe:
		case <-ctx.Done():
			return
		}
		if pause(ctx, grace) {
			what(ctx)
		}
	}); err != nil {
		return nil, err
	}
	return command.Afterwards{Result: Announced{text}, Do: func() { close(safe) }}, nil
}

// Verbs are the rows for the daemon's table.
func (m *Machine) Verbs() []command.Verb {
	return []command.Verb{
		{Name: "units", Level: command.Observe, Does: "how the named units of the machine are", Run: m.units},
		{Name: "restart", Level: command.Admin, Args: "[unit]", Does: "restart a named unit; without one, the gateway itself", Limit: restartWait + busWait, Run: m.restart},
		{Name: "reboot", Level: command.Admin, Args: "reason", Does: "restart the machine, and tell why when it is back", Run: m.reboot},
		{Name: "logs", Level: command.Operate, // not for everybody who reaches the page: a journal tells much
			Args: "[unit] [since] [priority] [bytes] [send]",
			Does: "the newest of the journal; with send, as events that give way to everything else", Run: m.logs},
	}
}

func (m *Machine) allowed() []string {
	names := append([]string{Self}, m.o.Named...)
	slices.Sort(names)
	return slices.Compact(names)
}

// name resolves a unit that is asked for: "bluetooth" is bluetooth.service.
func (m *Machine) name(asked string) (string, error) {
	if asked != "" && !strings.Contains(asked, ".") {
		asked += ".service"
	}
	if slices.Contains(m.allowed(), asked) {
		return asked, nil
	}
	return "", command.Invalidf("the unit %q may not be asked for: allowed are %s; [systemd] units = […] names others", asked, strings.Join(m.allowed(), ", "))
}

func (m *Machine) units(ctx context.Context, raw json.RawMessage) (any, error) {
	if err := command.Decode(raw, &struct{}{}); err != nil {
		return nil, err
	}
	out := []systemd.Unit{}
	for _, name := range m.allowed() {
		u, err := m.o.Units.Status(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// RestartArgs are the arguments of restart.
type RestartArgs struct {
	Unit string `json:"unit,omitempty"`
}

// Announced is the answer to what happens after it.
type Announced struct {
	Text string `json:"text"`
}

func (m *Machine) restart(ctx context.Context, raw json.RawMessage) (any, error) {
	var args RestartArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	if args.Unit == "" {
		args.Unit = Self
	}
	name, err := m.name(args.Unit)
	if err != nil {
		return nil, err
	}
	if name != Self {
		ctx, cancel := context.WithTimeout(ctx, restartWait)
		defer cancel()
		if err := m.o.Units.Restart(ctx, name); err != nil {
			return nil, refusal(err)
		}
		m.o.Event(field.Event{Kind: "command", Subject: name, Text: "the unit was restarted as asked"})
		return m.o.Units.Status(ctx, name)
	}
	if m.o.Leave == nil {
		return nil, &command.Error{Code: command.Refused, Text: "this gatewayd does not run under systemd: nobody would start it again"}
	}
	return m.afterwards(fmt.Sprintf("the gateway restarts in %s", grace), func(context.Context) { m.o.Leave("a restart was asked for") })
}

// RebootArgs are the arguments of reboot.
type RebootArgs struct {
	Reason string `json:"reason"` // for those who look at the machine afterwards
}

// reboot is what outlives one.
type reboot struct {
	Reason string `json:"reason"`
	T      int64  `json:"t"` // Unix milliseconds
	Boot   string `json:"boot"`
}

func (m *Machine) reboot(_ context.Context, raw json.RawMessage) (any, error) {
	var args RebootArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	args.Reason = strings.TrimSpace(args.Reason)
	if args.Reason == "" || len(args.Reason) > reasonLength {
		return nil, command.Invalidf("reason: say why, in at most %d bytes: it is told when the machine is back", reasonLength)
	}
	r := reboot{Reason: args.Reason, T: time.Now().UnixMilli(), Boot: bootID()}
	return m.afterwards(fmt.Sprintf("the machine reboots in %s; an event tells if it can't", grace), func(ctx context.Context) { m.goDown(ctx, r) })
}

// goDown reboots. What hinders it is told: the answer has been given already.
func (m *Machine) goDown(ctx context.Context, r reboot) {
	text, err := json.Marshal(r)
	if err == nil {
		err = durable.WriteFile(filepath.Join(m.o.State, rebootFile), text, 0o600)
	}
	if err != nil {
		m.o.Log.Warn("the reboot's reason will not outlive it", "error", err) // the event below does, if the flash takes it
	}
	m.o.Event(field.Event{Kind: "reboot", Text: "the machine reboots as asked: " + r.Reason})
	if err := m.o.Units.Reboot(ctx); err != nil {
		m.o.Log.Error("the machine could not be rebooted", "error", err)
		m.forget()
		m.o.Event(field.Event{Kind: "reboot", Text: "the machine could not be rebooted: " + err.Error()})
	}
}

// tellReboot tells of the reboot that was asked for before this start, once.
func (m *Machine) tellReboot() {
	text, err := os.ReadFile(filepath.Join(m.o.State, rebootFile))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var r reboot
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	switch {
	case err != nil:
		m.o.Log.Warn("what was noted of a reboot can't be read", "error", err)
	case r.Boot == bootID():
		m.o.Event(field.Event{Kind: "reboot", Text: "the gateway was restarted, but the machine was not rebooted as asked: " + r.Reason})
	default:
		m.o.Event(field.Event{Kind: "reboot", Text: "the machine was rebooted as asked: " + r.Reason,
			More: []field.Member{{Name: "asked", Value: field.Int(r.T)}}})
	}
	m.forget()
}

func (m *Machine) forget() {
	if err := durable.Remove(filepath.Join(m.o.State, rebootFile)); err != nil {
		m.o.Log.Warn("what was noted of a reboot can't be removed", "error", err)
	}
}

// bootID names the machine's present boot; "" where the kernel does not say.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// refusal gives the manager's answer the contract's code.
func refusal(err error) error {
	if errors.Is(err, systemd.ErrForbidden) || errors.Is(err, systemd.ErrNoUnit) {
		return &command.Error{Code: command.Refused, Text: err.Error()}
	}
	return err
}

// pause waits; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
