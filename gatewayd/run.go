package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/clock"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/dialect"
	"edgegateway/gatewayd/flash"
	"edgegateway/gatewayd/identity"
	"edgegateway/gatewayd/machine"
	"edgegateway/gatewayd/replay"
	"edgegateway/gatewayd/update"
	"edgegateway/gatewayd/uplink"
	"edgegateway/gatewayd/web"
	"edgegateway/systemd"
)

// daemon is a running gatewayd: what status, the verbs and the streams look at.
type daemon struct {
	scene   atomic.Pointer[scene] // what runs now; see here
	log     *slog.Logger
	since   time.Time
	clock   *clock.Clock
	flash   *flash.Meter
	counts  *replay.Book
	store   *buffer.Store
	audit   *audit.Log
	desk    *command.Desk
	kept    *candidate.Store // configurations from afar
	before  *config.Config   // of the trial that this start is for; nil for none
	change  changing
	creds   string   // the installer's credentials folder
	lines   *crew    // the loops that run, by line
	uplinks *crew    // by platform
	again   chan int // to be started anew by ourselves, for the trial of a generation or for none (0)
	riddles riddles

	selections selections

	machine *machine.Machine
	agent   *update.Agent
	self    *identity.Store
	leave   chan string // why the daemon should end, for its supervisor to start it anew
}

// platform is one destination with its session.
type platform struct {
	config.Platform
	uplink  *uplink.Uplink
	secrets string                            // a digest of the files that it takes its secrets from
	shown   *atomic.Pointer[x509.Certificate] // of the identity, at the last try to connect; of nil before
}

// runDaemon is `gatewayd run`: it reads from top to bottom in the order in which things start, and stops in the
// reverse order. Commands end first, then lines, so that their last readings are stored; the uplinks get a few seconds
// to hand over what is on its way; the buffer closes last.
func runDaemon(c *cli) error {
	if err := c.takes(0, 0, "run"); err != nil {
		return err
	}
	generation := resumed()
	err := c.runDaemon(generation)
	if err != nil && generation != 0 && !errors.As(err, new(*againError)) {
		fmt.Fprintln(c.err, "gatewayd: it does not run with the configuration on trial, and starts anew with the one from before:", err)
		return &againError{}
	}
	return err
}

// runDaemon is one run, for the trial of a generation or for none.
func (c *cli) runDaemon(generation int) error {
	level := slog.LevelInfo
	if name := *c.flags["log"]; name != "" {
		if err := level.UnmarshalText([]byte(name)); err != nil {
			return usagef("--log %s: allowed are debug, info, warn, error", name)
		}
	}
	log := slog.New(systemd.LogHandler(level))
	ctx, stop := interruptible()
	defer stop()
	signal.Ignore(syscall.SIGHUP) // a closed terminal ends nothing; a changed configuration is taken up by `gatewayd reload`
	memory := sizesFor(machineMemory("/"))
	tuneMemory(memory)

	if err := makeFolders(c.state, c.runtime); err != nil {
		return err
	}
	kept, err := candidate.Open(filepath.Join(c.state, configFolder), c.config, generation)
	if err != nil {
		log.Error("what holds of configurations from afar could not be written", "error", err)
	}
	site, err := loadKept(kept, c.creds, log)
	if err != nil {
		return err
	}
	site.problems = append(site.problems, site.overdrawn(site.budgets(), true)...)
	for _, p := range site.problems {
		log.Log(ctx, levelOf(p), p.String())
	}
	if fatal := site.fatal(); fatal != nil {
		return fatal
	}
	before, err := beforeTrial(kept)
	if err != nil {
		return err
	}
	socket, err := listenControl(c.socket())
	if err != nil {
		return err
	}
	pages, err := listenPage(site.config.Web.Listen, log)
	if err != nil {
		log.Error("the local page is not served", "error", err) // not worth stopping the daemon for
	}

	d := &daemon{log: log, since: time.Now(), kept: kept, before: before, creds: c.creds,
		leave: make(chan string, 1), again: make(chan int, 1)}
	d.scene.Store(&scene{site: site})
	if d.clock, err = clock.New(c.state, clock.Options{Ask: systemd.ClockSynchronised, Event: d.event, Log: log}); err != nil {
		return err
	}
	d.flash = flash.NewMeter(c.state)
	d.counts = replay.Open(filepath.Join(c.state, "ble-counts.json"), log)
	d.forgetCounts()
	if d.store, err = buffer.Open(d.bufferOptions(c, memory.head)); err != nil {
		return err
	}
	// What gives verbs to the desk's table comes before the desk.
	d.machine, d.self = d.newMachine(c), identity.Open(identity.Options{Dir: identityFolder(c.state)})
	if d.agent, err = d.newAgent(c); err != nil {
		return err
	}
	d.openDesk(c.state)
	defer d.closeDesk()
	for _, l := range site.lines {
		l.loop = collect.New(d.loopOptions(l))
	}
	platforms := []*platform{}
	for _, p := range site.config.Platforms {
		up, err := d.newPlatform(site, p)
		if err != nil {
			return err
		}
		platforms = append(platforms, up)
	}
	d.scene.Store(&scene{site, platforms, d.hash()})
	watchdog, err := systemd.NewWatchdog(d.progress(), log)
	if err != nil {
		return err
	}

	failed := make(chan error, 1)
	storage := newStage(failed)
	d.uplinks, d.lines = newCrew(failed), newCrew(failed)
	commands, local := newStage(failed), newStage(failed)
	storage.run("the clock", d.clock.Run)
	storage.run("the buffer", d.store.Run)
	storage.run("the flash's meter", d.flash.Run)
	storage.run("the numbers of encrypted bluetooth messages", d.counts.Run)
	for _, p := range platforms {
		d.uplinks.begin(p.Name, "the uplink to "+p.Name, p.uplink.Run)
	}
	for _, l := range site.lines {
		d.lines.begin(l.Name, "the loop of line "+l.Name, l.run)
	}
	commands.run("the desk", d.desk.Run)
	commands.run("the trial of a configuration", d.resume)
	server := web.New(web.Options{Status: d.status, Verbs: d.verbs(), Do: d.desk.Local, Streams: d.streams(), Log: log})
	local.run("the control socket", func(ctx context.Context) error { return server.Run(ctx, socket, pages...) })
	local.run("the watchdog", watchdog.Run)
	local.run("what is asked of the machine", d.machine.Run)
	local.run("the update", d.agent.Run)
	local.run("the identity", d.runRenewal)

	notify := systemd.Notifier{}
	told(log, notify.Ready())
	local.run("the status line", d.tellStatus)
	log.Info("ready", "version", version(), "lines", len(site.lines), "devices", site.bound(), "platforms", len(platforms),
		"after", time.Since(d.since).Round(time.Millisecond))
	d.tellConfig(ctx)

	var failure error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case why := <-d.leave:
		log.Info("stopping, to be started again", "why", why)
	case generation := <-d.again:
		log.Info("stopping, to start anew for another configuration")
		failure = &againError{generation}
	case failure = <-failed:
		log.Error("stopping", "error", failure)
	}
	again := errors.As(failure, new(*againError))
	if !again { // else the service manager would take us for gone
		told(log, notify.Stopping())
	}
	d.change.stop()
	commands.end()
	d.lines.endAll()
	d.uplinks.endAll()
	storage.end()
	local.end()
	if failure == nil || again {
		log.Info("stopped")
	}
	return failure
}

func (d *daemon) bufferOptions(c *cli, head int64) buffer.Options {
	b, platforms := retained(d.here().config, d.before)
	return buffer.Options{
		Dir: filepath.Join(c.state, "buffer"), Scratch: filepath.Join(c.runtime, "buffer"), Limit: b.Limit, HeadLimit: head, Keep: b.Keep, Thin: b.Thin,
		KeepOf: map[field.Class]time.Duration{field.Events: b.KeepEvents, field.Replies: b.KeepReplies},
		Commit: b.Commit, CommitEvents: b.CommitEvents, DurableFirst: b.DurableFirst,
		Destinations: platforms, Probe: probeStore, Now: d.clock.Stamp, Correct: d.clock.Correct, Log: d.log,
	}
}

// probeStore has another process of this binary open the store, which may end that process.
func probeStore(folder string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, "/proc/self/exe", "backlog", "try", folder).Run()
}

func (d *daemon) newPlatform(site *site, p config.Platform) (*platform, error) {
	cursor, err := d.store.Cursor(p.Name)
	if err != nil {
		return nil, err
	}
	words, err := openDialect(p.Dialect, d.words(site, p))
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	o := uplink.Options{
		Name: p.Name, Servers: p.Servers, Username: p.Username, KeepAlive: p.KeepAlive,
		Secret: d.credential(p.Secret), CA: d.credential(p.CA), Cert: d.credential(p.Cert), Key: d.credential(p.Key),
		Dialect: words, Source: cursor, Command: d.commanded(p, words), Event: d.event, Log: d.log,
	}
	shown := new(atomic.Pointer[x509.Certificate])
	if p.Identity {
		o.Identity = func() (tls.Certificate, error) {
			own, err := d.self.Certificate()
			shown.Store(own.Leaf)
			return own, err
		}
		if o.CA == "" {
			o.CA = d.self.CA()
		}
	}
	up, err := uplink.New(o)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return &platform{p, up, d.digest(p), shown}, nil
}

func (d *daemon) loopOptions(l *line) collect.Options {
	o := collect.Options{
		Line: l.Name, Devices: l.devices, Sink: d.store.Append, Stamp: d.clock.Stamp, Log: d.log.With("line", l.Name),
		Silence: l.wire.Timing().Silence,
	}
	if l.listener != nil {
		o.Listen = l.listener.Listen
	}
	d.remember(l)
	return o
}

// eventWait is how long the gateway's own events wait for the flash; they are taken all the same.
const eventWait = 2 * time.Second

// event stores something that happened to the gateway itself.
func (d *daemon) event(e field.Event) {
	record := field.Record{At: d.clock.Stamp(), Event: &e}
	ctx, cancel := context.WithTimeout(context.Background(), eventWait)
	defer cancel()
	if err := d.store.Append(ctx, record); err != nil {
		d.log.Error("an event could not be stored", "kind", e.Kind, "text", e.Text, "error", err)
	}
}

// tellConfig tells the platforms what of the configuration is not run.
func (d *daemon) tellConfig(ctx context.Context) {
	if text := d.here().trouble(); text != "" && ctx.Err() == nil {
		d.event(field.Event{Kind: "config", Text: text})
	}
}

// statusEvery is how old the line of `systemctl status` may be.
const statusEvery = 10 * time.Second

// tellStatus keeps the service manager's line on us true.
func (d *daemon) tellStatus(ctx context.Context) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for said := ""; ; {
		if line := d.headline(); line != said {
			told(d.log, systemd.Notifier{}.Status(line))
			said = line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// levelOf is how loud a problem of the configuration is logged.
func levelOf(p config.Problem) slog.Level {
	if p.Severity == config.Error {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// told logs what could not be told to the service manager; nothing depends on it.
func told(log *slog.Logger, err error) {
	if err != nil {
		log.Debug("systemd was not told", "error", err)
	}
}

func makeFolders(state, runtime string) error {
	for _, dir := range []string{state, runtime} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("%w\n    hint: under systemd the unit makes this folder; by hand, give --state and --runtime folders that you may write", err)
		}
	}
	return nil
}

// words is what a platform's dialect is told of the running daemon.
func (d *daemon) words(site *site, p config.Platform) dialect.Config {
	c := site.dialectConfig(p)
	c.Epoch, c.Since = d.store.Epoch(), d.since.UnixMilli()
	for _, l := range site.lines {
		for _, dev := range l.devices {
			c.Plan = append(c.Plan, dev.Device)
		}
		c.Groups = append(c.Groups, l.loop.Groups()...)
	}
	return c
}

// startAnew replaces this process by a new one of the same binary, for the trial of a generation or for none. It returns
// only when that fails; then a supervisor has to start the daemon, and an interrupted trial is over.
func startAnew(generation int, errOut io.Writer) int {
	env := os.Environ()
	if generation != 0 {
		env = append(env, fmt.Sprintf("%s=%d", resumeVariable, generation))
	}
	_ = systemd.KeepSockets() // without it the page moves to its own port
	err := syscall.Exec("/proc/self/exe", os.Args, env)
	fmt.Fprintln(errOut, "gatewayd: it cannot start itself anew:", err)
	return exitNo
}
