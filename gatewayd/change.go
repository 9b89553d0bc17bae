package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/config"
)

// configFolder is where configurations from afar stand, below the state folder.
const configFolder = "config"

// changing is the trial that is under way.
type changing struct {
	mu       sync.Mutex
	busy     bool
	confirm  chan string // takes the word of who confirms
	giveBack chan string // or of who wants the old one back
	stopping bool        // the daemon is, and the next one brings the old one back
}

func (c *changing) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy {
		return false
	}
	c.busy, c.confirm, c.giveBack = true, make(chan string, 1), make(chan string, 1)
	return true
}

func (c *changing) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}

// tell hands a word to the trial; false when there is none.
func (c *changing) tell(keep bool, by string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy {
		return false
	}
	to := c.giveBack
	if keep {
		to = c.confirm
	}
	select {
	case to <- by:
	default: // it was told already
	}
	return true
}

func (c *changing) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
}

func (c *changing) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// changeReport tells how a change of the configuration went.
type changeReport struct {
	Before  string   `json:"before"` // hashes
	After   string   `json:"after"`
	Now     string   `json:"now"` // which of the two holds
	Kept    bool     `json:"kept"`
	Changed bool     `json:"changed"`           // false: it was the same, and nothing was done
	Trial   bool     `json:"trial,omitempty"`   // it is under way still
	Seconds float64  `json:"seconds"`           // it took
	Good    int      `json:"good"`              // points that were good before
	Again   int      `json:"good_again"`        // of those, that were at the end of the trial
	Missing []string `json:"missing,omitempty"` // some that were not
	Silent  []string `json:"silent,omitempty"`  // devices that must answer and did not
	Away    []string `json:"away,omitempty"`    // platforms that were not reached, and why
	Begun   []string `json:"begun,omitempty"`   // lines and platforms that were begun anew; "everything" when the daemon was
}

// proving says when a configuration on trial is kept.
type proving struct {
	Within  string   `json:"within,omitempty"`  // "10m"
	Percent *int     `json:"percent,omitempty"` // of the points that were good
	Confirm bool     `json:"confirm,omitempty"` // only by an explicit word
	Removes []string `json:"removes,omitempty"` // devices whose points are not expected again
	Expect  []string `json:"expect,omitempty"`  // devices that must answer, new ones too

	judge   func(*site) error // of who made the candidate; nil for none
	changed string            // a device that is another one now: only the points that it still has are expected
}

const (
	provingTime    = 10 * time.Minute
	provingMost    = time.Hour
	provingPercent = 90
	provingLook    = 200 * time.Millisecond
	provingHolds   = 5 // looks in a row that must be good
	missingShown   = 20
)

func (p proving) limits() (within time.Duration, percent int, err error) {
	within, percent = provingTime, provingPercent
	if p.Within != "" {
		if within, err = time.ParseDuration(p.Within); err != nil || within < time.Second || within > provingMost {
			return 0, 0, command.Invalidf("within = %q: a duration from 1s to %s, such as 10m", p.Within, provingMost)
		}
	}
	if p.Percent != nil {
		if percent = *p.Percent; percent < 0 || percent > 100 {
			return 0, 0, command.Invalidf("percent = %d: allowed are 0 to 100", percent)
		}
	}
	return within, percent, nil
}

// try puts a configuration on trial and says how that ended.
func (d *daemon) try(ctx context.Context, files candidate.Files, p proving) (any, error) {
	within, percent, err := p.limits()
	if err != nil {
		return nil, err
	}
	if !d.change.begin() {
		return nil, &command.Error{Code: command.Busy, Text: candidate.ErrBusy.Error()}
	}
	hold := false
	defer func() {
		if !hold {
			d.change.end()
		}
	}()
	old, err := d.kept.Files()
	if err != nil {
		return nil, err
	}
	report := &changeReport{Before: old.Hash(), After: files.Hash(), Now: old.Hash()}
	if files.Equal(old) {
		report.Kept = true
		return report, nil
	}
	if err := files.Check(); err != nil {
		return nil, command.Invalidf("%s", err)
	}
	generation, file, err := d.kept.Prepare(files)
	if err != nil {
		return nil, err
	}
	next, err := load(file, d.secretsOf(file), false, d.log)
	if err != nil {
		return nil, err
	}
	if err := judgeSite(next, filepath.Dir(file)); err != nil {
		return nil, err
	}
	if err := judgeRetained(d.here().config, next.config); err != nil {
		return nil, err
	}
	if p.judge != nil {
		if err := p.judge(next); err != nil {
			return nil, err
		}
	}
	caller := command.CallerOf(ctx)
	good := d.good(p.Removes)
	if p.changed != "" {
		narrow(good, next, p.changed)
	}
	trial := candidate.Trial{
		Generation: generation, Old: report.Before, New: report.After, Operator: caller.Operator, ID: caller.ID,
		Within: within.Milliseconds(), Percent: percent, Confirm: p.Confirm,
		Good: slices.Sorted(maps.Keys(good)), Reached: d.reached(), Expect: p.Expect,
	}
	restart := structural(d.here().config, next.config)
	if err := d.kept.Begin(trial); err != nil {
		return nil, err
	}
	d.event(field.Event{Kind: "config", Subject: "trial", Text: fmt.Sprintf("configuration %.12s is on trial; the one before is %.12s", trial.New, trial.Old)})
	if restart {
		if caller.ID == "" { // somebody here waits for an answer, and the daemon goes
			hold = true
			report.Changed, report.Trial, report.Begun = true, true, []string{"everything"}
			return command.Afterwards{Result: report, Do: func() { d.restart(generation) }}, nil
		}
		hold = true
		d.restart(generation)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.apply(ctx, &trial, file)
}

// apply makes the running daemon run the candidate, and proves it.
func (d *daemon) apply(ctx context.Context, t *candidate.Trial, file string) (any, error) {
	next, err := load(file, d.secretsOf(file), true, d.log)
	if err != nil {
		return d.giveBack(t, nil, fmt.Sprintf("it cannot be loaded: %s", err))
	}
	before := d.snapshot()
	begun, err := d.reload(next)
	report := &changeReport{Before: t.Old, After: t.New, Changed: true, Begun: begun}
	if err != nil {
		return d.giveBack(t, report, fmt.Sprintf("it cannot be run: %s", err))
	}
	return d.prove(ctx, t, report, before)
}

// narrow drops the points of a device that it has no more in another configuration.
func narrow(good map[string]bool, next *site, device string) {
	for _, l := range next.lines {
		for _, dev := range l.devices {
			if dev.Name != device {
				continue
			}
			has := map[string]bool{}
			for _, t := range dev.Tags {
				has[device+"/"+t.Name] = true
			}
			maps.DeleteFunc(good, func(point string, _ bool) bool {
				return strings.HasPrefix(point, device+"/") && !has[point]
			})
		}
	}
}

// judgeSite refuses a configuration of which anything would not run.
func judgeSite(s *site, dir string) error {
	var texts []string
	for _, p := range s.problems {
		if p.Severity == config.Error {
			texts = append(texts, strings.ReplaceAll(p.String(), dir+string(filepath.Separator), ""))
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return command.Invalidf("the configuration has %d faults and was not tried:\n%s", len(texts), strings.Join(texts[:min(len(texts), missingShown)], "\n"))
}

// restart starts the daemon anew, for the trial of a generation or for none.
func (d *daemon) restart(generation int) {
	select {
	case d.again <- generation:
	default: // it is leaving already
	}
}

// reached lists the platforms that are connected.
func (d *daemon) reached() []string {
	names := []string{}
	for _, p := range d.here().platforms {
		if p.uplink.Stats().Connected {
			names = append(names, p.Name)
		}
	}
	return names
}

// snapshot is how much each session has delivered. After a change, a platform is reached when it took more.
func (d *daemon) snapshot() map[*platform]uint64 {
	all := map[*platform]uint64{}
	for _, p := range d.here().platforms {
		all[p] = p.uplink.Stats().Messages
	}
	return all
}

// prove looks at a configuration on trial until it is kept or its time is over. The evidence: every platform that was
// reached before and is left, or else the first one, has taken something since; and so many of the points that were good
// are good.
func (d *daemon) prove(ctx context.Context, t *candidate.Trial, report *changeReport, before map[*platform]uint64) (any, error) {
	begun := time.Now()
	within := time.Duration(t.Within) * time.Millisecond
	tick := time.NewTicker(provingLook)
	defer tick.Stop()
	holds := 0
	for {
		d.look(t, report, before)
		report.Seconds = time.Since(begun).Seconds()
		enough := len(report.Away) == 0 && len(report.Silent) == 0 && report.Again*100 >= t.Percent*report.Good
		if holds++; !enough {
			holds = 0
		}
		if holds >= provingHolds && !t.Confirm {
			return d.keep(t, report, fmt.Sprintf("the platform is reached, and %d of %d points are good again", report.Again, report.Good))
		}
		if left := within - time.Since(begun); left <= 0 {
			return d.giveBack(t, report, fmt.Sprintf("after %s %s", within, d.reason(t, report)))
		}
		command.Progress(ctx, report.Again, report.Good, fmt.Sprintf("configuration %.12s: %s", t.New, d.reason(t, report)))
		select {
		case by := <-d.change.confirm:
			return d.keep(t, report, "confirmed by "+by)
		case by := <-d.change.giveBack:
			return d.giveBack(t, report, "given back by "+by)
		case <-ctx.Done():
			if d.change.stopped() {
				return nil, ctx.Err() // the next start brings the old one back
			}
			return d.giveBack(t, report, "broken off: "+context.Cause(ctx).Error())
		case <-tick.C:
		}
	}
}

// look takes the evidence.
func (d *daemon) look(t *candidate.Trial, report *changeReport, before map[*platform]uint64) {
	good := d.good(nil)
	report.Good, report.Again, report.Missing, report.Silent, report.Away = len(t.Good), 0, nil, nil, nil
	for _, name := range t.Expect {
		answers := func(point string) bool { return strings.HasPrefix(point, name+"/") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(good)), answers) {
			report.Silent = append(report.Silent, name)
		}
	}
	for _, point := range t.Good {
		if good[point] {
			report.Again++
		} else if len(report.Missing) < missingShown {
			report.Missing = append(report.Missing, point)
		}
	}
	asked := proofOf(d.here().platforms, t.Reached)
	if len(asked) == 0 && len(t.Reached) > 0 {
		report.Away = append(report.Away, "there is none in it")
	}
	for _, p := range asked {
		if st := p.uplink.Stats(); !st.Connected || st.Messages <= before[p] {
			report.Away = append(report.Away, p.Name+": "+cmp.Or(st.LastError, "it has acknowledged nothing yet"))
		}
	}
}

// proofOf gives the platforms that have to be reached: of those that were before, all that are left; else the first.
func proofOf(platforms []*platform, before []string) []*platform {
	left := slices.DeleteFunc(slices.Clone(platforms), func(p *platform) bool { return !slices.Contains(before, p.Name) })
	if len(left) > 0 {
		return left
	}
	return platforms[:min(1, len(platforms))]
}

// reason says in words what the evidence is.
func (d *daemon) reason(t *candidate.Trial, report *changeReport) string {
	var words []string
	if len(report.Away) > 0 {
		words = append(words, "the platform is not reached ("+strings.Join(report.Away, "; ")+")")
	}
	if len(report.Silent) > 0 {
		words = append(words, "no point is good of "+strings.Join(report.Silent, ", "))
	}
	if report.Again*100 < t.Percent*report.Good {
		words = append(words, fmt.Sprintf("only %d of the %d points that were good are good again, %d %% are needed (missing: %s)",
			report.Again, report.Good, t.Percent, strings.Join(report.Missing, ", ")))
	}
	if len(words) == 0 && t.Confirm {
		words = append(words, "nobody has confirmed it")
	}
	if len(words) == 0 {
		return fmt.Sprintf("the platform is reached, and %d of %d points are good", report.Again, report.Good)
	}
	return strings.Join(words, ", and ")
}

// keep ends a trial well.
func (d *daemon) keep(t *candidate.Trial, report *changeReport, why string) (any, error) {
	report.Kept, report.Now = true, t.New
	text := fmt.Sprintf("configuration %.12s is kept, in place of %.12s: %s", t.New, t.Old, why)
	if err := d.close(true, text, report); err != nil {
		return d.giveBack(t, report, "it works, but that it is kept could not be written: "+err.Error())
	}
	d.forgetCounts()
	return report, nil
}

// giveBack ends a trial badly: what was before runs again.
func (d *daemon) giveBack(t *candidate.Trial, report *changeReport, why string) (any, error) {
	if report == nil {
		report = &changeReport{Before: t.Old, After: t.New, Changed: true}
	}
	report.Kept, report.Now = false, t.Old
	text := fmt.Sprintf("configuration %.12s is not kept: %s; the one from before, %.12s, is back", t.New, why, t.Old)
	if err := d.close(false, text, report); err != nil {
		d.log.Error("the end of a trial could not be written; the next start ends it too", "error", err)
	}
	old, err := load(d.kept.File(), d.credential, true, d.log)
	if err == nil && !structural(d.here().config, old.config) {
		_, err = d.reload(old)
	} else {
		if old != nil {
			old.close()
		}
		d.restart(0)
	}
	if err != nil {
		d.log.Error("the configuration from before could not be taken up again; the daemon starts anew", "error", err)
		d.restart(0)
	}
	return report, &command.Error{Code: command.Failed, Text: text}
}

// close writes how a trial ended, and tells of it.
func (d *daemon) close(kept bool, text string, report *changeReport) error {
	doc, err := json.Marshal(report)
	if err != nil {
		return err
	}
	if err := d.kept.End(kept, text, doc); err != nil {
		return err
	}
	d.log.Info(text)
	d.event(configEvent(text, report))
	return nil
}

func configEvent(text string, r *changeReport) field.Event {
	return field.Event{Kind: "config", Text: text, More: []field.Member{
		{Name: "before", Value: field.Text(r.Before)}, {Name: "after", Value: field.Text(r.After)}, {Name: "now", Value: field.Text(r.Now)},
		{Name: "kept", Value: field.Bool(r.Kept)}}}
}
