package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/config"
)

// scene is what runs at one moment: a configuration, its lines and its platforms. It is never changed: a daemon that is
// given another configuration gets another scene, into which the lines and platforms that stay the same are taken over.
type scene struct {
	*site
	platforms []*platform
	hash      string // of the configuration's files
}

// here is what runs now.
func (d *daemon) here() *scene { return d.scene.Load() }

// crew is parts of the daemon that begin and end one by one.
type crew struct {
	failed chan<- error

	mu     sync.Mutex
	stages map[string]*stage
}

func newCrew(failed chan<- error) *crew { return &crew{failed: failed, stages: map[string]*stage{}} }

// begin runs a part under a name of its own.
func (c *crew) begin(name, what string, part func(context.Context) error) {
	s := newStage(c.failed)
	c.mu.Lock()
	c.stages[name] = s
	c.mu.Unlock()
	s.run(what, part)
}

// end ends one part and waits for it.
func (c *crew) end(name string) {
	c.mu.Lock()
	s := c.stages[name]
	delete(c.stages, name)
	c.mu.Unlock()
	if s != nil {
		s.end()
	}
}

// endAll ends all of them at once.
func (c *crew) endAll() {
	var wait sync.WaitGroup
	c.mu.Lock()
	for _, s := range c.stages {
		wait.Go(s.end)
	}
	c.mu.Unlock()
	wait.Wait()
}

// run is the loop of a line, which may also have been asked to finish.
func (l *line) run(ctx context.Context) error {
	err := l.loop.Run(ctx)
	if l.finished.Load() {
		<-ctx.Done()
	}
	return err
}

// finishWait is how long a line may take to end its read, before it is broken off.
const finishWait = 10 * time.Second

// finish ends a line that is replaced: the read that is under way is ended and stored.
func (d *daemon) finish(l *line) {
	ctx, cancel := context.WithTimeout(context.Background(), finishWait)
	defer cancel()
	l.finished.Store(true)
	if err := l.loop.Finish(ctx); err != nil {
		d.log.Warn("a read is broken off for another configuration", "line", l.Name, "error", err)
	}
	d.lines.end(l.Name)
	l.close()
}

// close lets go of the port or the connection.
func (l *line) close() {
	if l.wire != nil {
		_ = l.wire.Close() // it is given up; what it says then is of no use to anybody
	}
}

// structural says whether two configurations differ in what a running daemon cannot change.
func structural(a, b *config.Config) bool { return !reflect.DeepEqual(a.Rest(), b.Rest()) }

// sameLine says whether a line and all that hangs on it is the same in both.
func sameLine(a, b *site, name string) bool {
	of := func(s *site) (config.Line, bool) {
		i := slices.IndexFunc(s.config.Lines, func(l config.Line) bool { return l.Name == name })
		if i < 0 {
			return config.Line{}, false
		}
		return s.config.Lines[i], true
	}
	la, ok := of(a)
	lb, also := of(b)
	// What was bound is compared too: a device's password is known only there. The keys of a radio are files of their own.
	bound := func(s *site) (devices []field.Device) {
		for _, d := range s.line(name).devices {
			devices = append(devices, d.Device)
		}
		return devices
	}
	return ok && also && reflect.DeepEqual(la, lb) && reflect.DeepEqual(a.config.On(name), b.config.On(name)) &&
		reflect.DeepEqual(bound(a), bound(b)) && a.line(name).keys == b.line(name).keys
}

// reload makes the daemon run another configuration, which differs in nothing structural. Lines and platforms that are
// the same in both are not touched; of the others a read that is under way is ended first. It gives the names of what
// was begun anew.
func (d *daemon) reload(next *site) ([]string, error) {
	next.budgets() // while no loop of next's runs
	before := d.here()
	names := []string{}
	fresh := map[string]bool{}
	var ending sync.WaitGroup
	for i, l := range next.lines {
		old := before.line(l.Name)
		if old != nil && sameLine(before.site, next, l.Name) {
			l.close()
			next.lines[i] = old
			continue
		}
		fresh[l.Name] = true
		names = append(names, "line "+l.Name)
	}
	gone := 0
	for _, old := range before.lines {
		if next.line(old.Name) != old {
			gone++
			ending.Go(func() { d.finish(old) })
		}
	}
	ending.Wait()
	for _, l := range next.lines {
		if fresh[l.Name] {
			l.loop = collect.New(d.loopOptions(l))
		}
	}
	platforms, err := d.reloadPlatforms(before, next, gone+len(fresh) > 0, &names)
	d.scene.Store(&scene{next, platforms, d.hash()})
	d.forgetCounts()
	for _, l := range next.lines {
		if fresh[l.Name] {
			d.lines.begin(l.Name, "the loop of line "+l.Name, l.run)
		}
	}
	d.desk.SetOperators(operators(next.config))
	return names, err
}

// hash is that of the files that run; "" when they cannot be read.
func (d *daemon) hash() string {
	files, err := d.kept.Files()
	if err != nil {
		return ""
	}
	return files.Hash()
}

// line finds a line by name.
func (s *site) line(name string) *line {
	for _, l := range s.lines {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// reloadPlatforms begins those anew that have changed, and tells the others when the field has.
func (d *daemon) reloadPlatforms(before *scene, next *site, field bool, names *[]string) ([]*platform, error) {
	var platforms []*platform
	var failed error
	for i, p := range next.config.Platforms { // as many as before, with the same names
		old := before.platforms[i]
		if !reflect.DeepEqual(old.Platform, p) || old.secrets != d.digest(p) {
			d.uplinks.end(old.Name)
			up, err := d.newPlatform(next, p)
			if err != nil { // the check found nothing wrong with it; the old one goes on
				failed = err
				if up, err = d.newPlatform(before.site, old.Platform); err != nil {
					return before.platforms, err
				}
			}
			d.uplinks.begin(p.Name, "the uplink to "+p.Name, up.uplink.Run)
			*names = append(*names, "platform "+p.Name)
			platforms = append(platforms, up)
			continue
		}
		if field {
			words, err := openDialect(p.Dialect, d.words(next, p))
			if err != nil {
				failed = err
			} else {
				old.uplink.SetDialect(words)
			}
		}
		platforms = append(platforms, old)
	}
	return platforms, failed
}

// credential is the file of a secret: among those from afar, else the installer's. An absolute path stands for itself.
func (d *daemon) credential(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return d.kept.Secret(name, d.creds)
}

// secretsOf finds the secrets of a generation that does not run yet, which has its own beside its main file.
func (d *daemon) secretsOf(file string) secrets {
	return func(name string) string {
		if own := filepath.Join(filepath.Dir(file), candidate.Credentials, name); fileThere(own) {
			return own
		}
		return filepath.Join(d.creds, name)
	}
}

func fileThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// digest tells whether a platform's secrets are the same.
func (d *daemon) digest(p config.Platform) string {
	files := []string{p.Secret, p.CA, p.Cert, p.Key}
	for i, name := range files {
		files[i] = d.credential(name)
	}
	return digestOf(files)
}

// digestOf tells whether files say the same; "" is none. One that cannot be read is told by who needs it.
func digestOf(files []string) string {
	h := sha256.New()
	for _, name := range files {
		text := []byte(nil)
		if name != "" {
			text, _ = os.ReadFile(name)
		}
		fmt.Fprintf(h, "%d ", len(text))
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// good lists the points that have a good value now, as "device/tag", but for those of some devices.
func (d *daemon) good(without []string) map[string]bool {
	points := map[string]bool{}
	for _, l := range d.here().lines {
		for _, last := range l.loop.Last("") {
			r := last.Record
			if slices.Contains(without, r.Group.Device) {
				continue
			}
			for i, p := range r.Group.Points {
				if r.QualityOf(i) == field.Good {
					points[r.Group.Device+"/"+p.Name] = true
				}
			}
		}
	}
	return points
}
