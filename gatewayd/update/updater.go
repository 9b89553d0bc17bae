package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgegateway/gatewayd/durable"
)

// Packages is the machine's package manager: a Dpkg.
type Packages interface {
	// Arch names the machine's architecture as packages do.
	Arch(ctx context.Context) (string, error)
	// Inspect reads what a package file says of itself.
	Inspect(ctx context.Context, file string) (Info, error)
	// Installed tells the version of the package and whether all of it is there; "" for none.
	Installed(ctx context.Context, name string) (version string, whole bool, err error)
	// Newer says whether version a is newer than b.
	Newer(ctx context.Context, a, b string) (bool, error)
	// Try says what would hinder an installation, without touching anything.
	Try(ctx context.Context, file string) error
	// Install installs a package over whatever state its last installation was left in, and keeps the owner's
	// configuration files as they are. An older version is installed too.
	Install(ctx context.Context, file string) error
}

// Info is what a package says of itself.
type Info struct{ Name, Version, Arch string }

// Gateway is the daemon's unit, seen from outside.
type Gateway interface {
	Restart(ctx context.Context) error
	Look(ctx context.Context) (Evidence, error)
}

// UpdaterOptions say where the updater works and on what.
type UpdaterOptions struct {
	Dir      string // the updater's own folder, root's
	Inbox    string // the agent's folder: what is in it is not trusted
	Keys     string // the file with the publishers' public keys
	Trusting bool   // the keys' file need not be root's: for tests
	Self     string // the program, which is copied into Dir
	Packages Packages
	Gateway  Gateway
	Terms    Terms
	Log      *slog.Logger
	// Step is told each step before it is taken; nil for nobody. Tests end the updater there.
	Step func(string)
}

// Updater is the root's side. Make it with NewUpdater.
type Updater struct {
	o     UpdaterOptions
	state State
}

const (
	maxResumed   = 3                // how often a step may be cut short before the update is given up
	retryFirst   = 10 * time.Second // between two tries of what must succeed
	retryMost    = 10 * time.Minute
	restartAgain = 3 // tries of a restart
)

// NewUpdater makes an updater; nothing is touched before Run.
func NewUpdater(o UpdaterOptions) *Updater {
	o.Terms = o.Terms.withDefaults()
	if o.Step == nil {
		o.Step = func(string) {}
	}
	return &Updater{o: o}
}

// Run finishes what was cut short, or else takes the request that waits, and returns when nothing is left to do. The
// error says that the updater could not work at all; a refused or rolled back update is none.
func (u *Updater) Run(ctx context.Context) error {
	var err error
	if u.state, err = ReadState(u.o.Dir); err != nil {
		return fmt.Errorf("the updater's state can't be read: %w", err)
	}
	if u.state.Stage.Final() {
		if err := u.take(ctx); err != nil {
			return err
		}
	} else {
		u.o.Log.Warn("an update was cut short; going on", "stage", u.state.Stage, "version", u.state.Version)
		u.state.Resumed++
	}
	for !u.state.Stage.Final() {
		if err := u.step(ctx); err != nil {
			return err
		}
	}
	u.o.Step("tidy")
	return u.tidy()
}

// to brings the next stage to flash.
func (u *Updater) to(s Stage, why string) error {
	if s != u.state.Stage {
		u.state.Resumed = 0
	}
	u.state.Stage, u.state.Trouble, u.state.T = s, "", time.Now().UnixMilli()
	u.state.Why = cmp.Or(why, u.state.Why)
	u.o.Step("to " + string(s))
	if err := u.save(); err != nil {
		return err
	}
	u.o.Log.Info("update", "stage", s, "version", u.state.Version, "from", u.state.From, "why", why)
	return nil
}

func (u *Updater) save() error { return writeJSON(filepath.Join(u.o.Dir, stateFile), u.state, 0o644) }

// step does what the stage names.
func (u *Updater) step(ctx context.Context) error {
	tooOften := fmt.Sprintf("it was cut short %d times while it was %s", u.state.Resumed, u.state.Stage)
	switch s := &u.state; s.Stage {
	case Checked:
		if err := u.takeAway(); err != nil {
			return err
		}
		var err error
		if s.Before, err = u.before(ctx); err != nil {
			return err
		}
		return u.to(Installing, "")
	case Installing:
		if s.Resumed > maxResumed {
			return u.to(RollingBack, tooOften)
		}
		if err := u.save(); err != nil { // the count
			return err
		}
		u.o.Step("install")
		if err := u.o.Packages.Install(ctx, filepath.Join(u.o.Dir, s.New.file())); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return u.to(RollingBack, "it could not be installed: "+err.Error())
		}
		return u.to(Probation, "")
	case Probation:
		if s.Resumed > maxResumed {
			return u.to(RollingBack, tooOften)
		}
		if err := u.save(); err != nil {
			return err
		}
		u.o.Step("watch")
		why, err := u.watch(ctx)
		if err != nil {
			return err
		}
		if why != "" {
			return u.to(RollingBack, why)
		}
		u.o.Step("hold the new one")
		if err := u.hold(s.New); err != nil {
			return err
		}
		return u.to(Committed, "")
	case RollingBack:
		if err := u.rollBack(ctx); err != nil {
			return err
		}
		return u.to(RolledBack, "")
	default:
		return fmt.Errorf("the updater's state has a stage %q, which this version does not know", s.Stage)
	}
}

// before looks how the gateway is, which the new version will be held to. One that has only just started, or reaches
// nobody in this moment, gets the time of a probation to come to what it is.
func (u *Updater) before(ctx context.Context) (best Evidence, err error) {
	since := time.Now() // it has been no better
	for end := since.Add(u.o.Terms.Window); time.Now().Before(end); {
		now, err := u.o.Gateway.Look(ctx)
		if err != nil {
			u.o.Log.Warn("the gateway can't be looked at", "error", err)
		} else if now.better(best) {
			best, since = now, time.Now()
		}
		if len(best.Reached) > 0 && best.Good > 0 && time.Since(since) >= u.o.Terms.Settle {
			break
		}
		if !pause(ctx, u.o.Terms.Look) {
			return best, ctx.Err()
		}
	}
	return best, nil
}

// watch starts the new version and holds it to the terms. It says why it is no good; "" when it is.
func (u *Updater) watch(ctx context.Context) (why string, err error) {
	if now, err := u.o.Gateway.Look(ctx); err != nil || !now.Ready || !runs(u.state.Version, now.Version) || now.Restarts > 0 {
		for try := 1; ; try++ {
			u.o.Step("restart")
			if err = u.o.Gateway.Restart(ctx); err == nil || try == restartAgain {
				break
			}
			if !pause(ctx, u.o.Terms.Look) {
				return "", ctx.Err()
			}
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			return "it could not be started: " + err.Error(), nil
		}
	}
	end := time.Now().Add(u.o.Terms.Window)
	var good time.Time // since when
	lacking := "nobody answered"
	for {
		now, err := u.o.Gateway.Look(ctx)
		what, fatal := "it can't be looked at: "+fmt.Sprint(err), false
		if err == nil {
			what, fatal = u.o.Terms.lacks(u.state.Version, u.state.Before, now)
		}
		switch {
		case fatal:
			return what, nil
		case what != "":
			lacking, good = what, time.Time{}
		case good.IsZero():
			good = time.Now()
			fallthrough
		default:
			if time.Since(good) >= u.o.Terms.Settle {
				return "", nil
			}
		}
		if time.Now().After(end) && good.IsZero() {
			return fmt.Sprintf("within %s it was not found good: %s", u.o.Terms.Window, lacking), nil
		}
		if !pause(ctx, u.o.Terms.Look) {
			return "", ctx.Err()
		}
	}
}

// rollBack puts the previous package back and starts it. There is no way on from here but to succeed: it tries until
// it does.
func (u *Updater) rollBack(ctx context.Context) error {
	insist := func(what string, do func() error) error {
		for wait := retryFirst; ; wait = min(2*wait, retryMost) {
			err := do()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				return nil
			}
			u.o.Log.Error("the rollback is hindered and goes on trying", "at", what, "error", err, "again_in", wait)
			if text := what + ": " + err.Error(); text != u.state.Trouble {
				u.state.Trouble = text
				if err := u.save(); err != nil { // a full disk must not end the rollback
					u.o.Log.Error("the updater's state can't be written", "error", err)
				}
			}
			if !pause(ctx, wait) {
				return ctx.Err()
			}
		}
	}
	if err := insist("install the previous package", func() error {
		u.o.Step("install the previous one")
		return u.o.Packages.Install(ctx, filepath.Join(u.o.Dir, u.state.Old.file()))
	}); err != nil {
		return err
	}
	return insist("start the previous version", func() error {
		u.o.Step("restart the previous one")
		if err := u.o.Gateway.Restart(ctx); err != nil {
			return err
		}
		u.o.Step("hold the previous one")
		return u.hold(u.state.Old)
	})
}

// hold notes which package belongs to the running version.
func (u *Updater) hold(p Package) error { return writeJSON(filepath.Join(u.o.Dir, heldFile), p, 0o644) }

// Hold takes the package of the version that is installed, for a machine that was not set up by an update.
func (u *Updater) Hold(ctx context.Context, file string) error {
	info, err := u.o.Packages.Inspect(ctx, file)
	if err != nil {
		return err
	}
	installed, whole, err := u.o.Packages.Installed(ctx, info.Name)
	if err != nil {
		return err
	}
	if installed != info.Version || !whole {
		return fmt.Errorf("%s is %s %s, and installed is %q: only the package of what is installed can be held", file, info.Name, info.Version, installed)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(u.o.Dir, 0o755); err != nil {
		return err
	}
	p, err := u.keep(f, Package{Version: info.Version})
	if err != nil {
		return err
	}
	return u.hold(p)
}

// tidy removes what no update needs any more. The mark that one is under way goes last.
func (u *Updater) tidy() error {
	held, err := ReadHeld(u.o.Dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(u.o.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		spare := strings.HasPrefix(e.Name(), packagePrefix) && e.Name() != held.file() || strings.HasPrefix(e.Name(), ".")
		if e.Name() == updaterFile || spare {
			err = errors.Join(err, os.Remove(filepath.Join(u.o.Dir, e.Name())))
		}
	}
	return errors.Join(err, durable.Remove(filepath.Join(u.o.Dir, pendingFile)))
}

// keep copies a package into the updater's folder under its digest. What p knows of it must hold; the rest is filled in.
func (u *Updater) keep(from io.Reader, p Package) (Package, error) {
	f, err := os.CreateTemp(u.o.Dir, ".package-*")
	if err != nil {
		return p, err
	}
	defer os.Remove(f.Name()) // is gone already when all went well
	limit := int64(maxPackage)
	if p.Size > 0 {
		limit = p.Size
	}
	digest := newDigest()
	n, err := io.Copy(io.MultiWriter(f, digest), io.LimitReader(from, limit+1))
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return p, err
	}
	sum := digest.hex()
	if p.Size > 0 && n != p.Size || p.SHA256 != "" && !strings.EqualFold(sum, p.SHA256) || n > maxPackage {
		return p, refusef("the package of version %s is not the one that the manifest means: %d bytes with SHA-256 %s", p.Version, n, sum)
	}
	p.Size, p.SHA256 = n, sum
	if err := os.Rename(f.Name(), filepath.Join(u.o.Dir, p.file())); err != nil {
		return p, err
	}
	return p, durable.SyncDir(u.o.Dir)
}

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
