package update

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/durable"
)

// Run fetches what is ordered, hands it over, and tells each step of the updater once, also those that were taken while
// the daemon was down. It returns nil when the context ends.
func (a *Agent) Run(ctx context.Context) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-tick.C:
		}
		a.fetch(ctx)
		busy := a.look()
		if busy {
			tick.Reset(watchFast)
		} else {
			tick.Reset(watchSlow)
		}
	}
}

// fetch gets the packages of the order and hands them over.
func (a *Agent) fetch(ctx context.Context) {
	a.mu.Lock()
	if a.job.Manifest == "" || a.job.Handed != 0 {
		a.mu.Unlock()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.cancel = cancel
	j := a.job // the copy that the fetcher changes
	if j.Base != nil {
		base := *j.Base
		j.Base = &base
	}
	a.mu.Unlock()

	a.tell(j.Version, "fetching", fmt.Sprintf("version %s is being fetched: %d bytes", j.Version, j.Package.Size-j.Package.Have))
	err := a.getAll(ctx, &j)
	a.mu.Lock()
	a.cancel = nil
	current := a.job.Manifest == j.Manifest
	switch {
	case !current: // cancelled
		a.mu.Unlock()
		a.removeFiles(offerFile, baseFile)
		a.tell(j.Version, "failed", "the update was cancelled before anything was touched")
	case ctx.Err() != nil: // the daemon stops; the next one goes on
		a.mu.Unlock()
	case err != nil:
		a.job = j
		a.drop(err.Error())
		a.mu.Unlock()
		a.tell(j.Version, "failed", "the update is given up before anything was touched: "+err.Error())
	default:
		// The request comes first: after a power cut between the two it is handed over again, and the updater knows it.
		err := durable.WriteFile(filepath.Join(a.o.Dir, requestFile), j.request(), 0o600)
		if err != nil {
			a.drop("it could not be handed over: " + err.Error())
			a.mu.Unlock()
			a.tell(j.Version, "failed", "the update could not be handed over, and nothing was touched: "+err.Error())
			return
		}
		j.Handed = time.Now().UnixMilli()
		a.job = j
		if err := a.save(); err != nil {
			a.o.Log.Warn("what is noted of an update can't be written", "error", err)
		}
		a.mu.Unlock()
		a.tell(j.Version, "handed over", fmt.Sprintf("version %s is here; the updater checks it", j.Version))
	}
}

// getAll fetches the package and, where it is needed, the one to go back to.
func (a *Agent) getAll(ctx context.Context, j *job) error {
	quarter := int64(-1)
	f := &fetcher{
		client: a.o.Client, spent: &j.Spent, budget: a.o.Budget,
		save: func() error { return a.note(j) },
		told: func(have, size int64) {
			if q := have * 4 / size; q > quarter && q < 4 {
				if quarter >= 0 {
					a.tell(j.Version, "fetching", fmt.Sprintf("%d of %d bytes of version %s are here", have, size, j.Version))
				}
				quarter = q
			}
		},
	}
	if !j.Package.Done {
		if err := f.fetch(ctx, filepath.Join(a.o.Dir, offerFile), &j.Package); err != nil {
			return err
		}
	}
	if j.Base != nil && !j.Base.Done {
		return f.fetch(ctx, filepath.Join(a.o.Dir, baseFile), j.Base)
	}
	return nil
}

// note brings a fetch's progress to flash, unless it was cancelled meanwhile.
func (a *Agent) note(j *job) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.job.Manifest != j.Manifest {
		return finalf("cancelled")
	}
	told := a.job.Told
	a.job = *j
	if j.Base != nil {
		base := *j.Base
		a.job.Base = &base
	}
	a.job.Told = told
	if err := a.save(); err != nil {
		return finalf("%v", err)
	}
	return nil
}

// look tells what the updater did since it was last told, and says whether it is at work.
func (a *Agent) look() (busy bool) {
	state, err := ReadState(a.o.Updater)
	if err != nil {
		a.o.Log.Warn("the updater's state can't be read", "error", err)
		return false
	}
	a.mu.Lock()
	j := &a.job
	ours := j.Manifest != "" && j.Handed != 0
	taken := ours && state.Request == j.digest()
	finished := taken && state.Stage.Final()
	mark := fmt.Sprintf("%s %s %d", state.Request, state.Stage, state.T)
	news := state.Stage != None && mark != j.Told
	late := ours && !taken && !j.Late && time.Since(time.UnixMilli(j.Handed)) > noUpdater
	if news {
		j.Told = mark
	}
	if finished {
		j.Manifest, j.Handed, j.Late, j.Failed = "", 0, false, ""
	}
	if late {
		j.Late = true
	}
	if news || finished || late {
		err = a.save()
	}
	version := j.Version
	a.mu.Unlock()
	if err != nil {
		a.o.Log.Warn("what is noted of an update can't be written", "error", err)
	}
	if news {
		a.tell(state.Version, string(state.Stage), words(state))
	}
	if finished {
		a.removeFiles(offerFile, baseFile)
	}
	if late {
		a.tell(version, "handed over", "nobody takes the update: gatewayd-update.path is to be enabled, `systemctl status gatewayd-update` tells more")
	}
	return ours && !finished || !state.Stage.Final()
}

// words says in a sentence what a state means.
func words(s State) string {
	switch s.Stage {
	case Checked:
		return fmt.Sprintf("version %s is checked and will be installed over %s", s.Version, s.From)
	case Installing:
		return fmt.Sprintf("version %s is being installed", s.Version)
	case Probation:
		return fmt.Sprintf("version %s is installed and on probation", s.Version)
	case Committed:
		return fmt.Sprintf("version %s was found good and stays; %s was before", s.Version, s.From)
	case RollingBack:
		return fmt.Sprintf("version %s is no good and %s is put back: %s", s.Version, s.From, s.Why)
	case RolledBack:
		return fmt.Sprintf("version %s was no good, and %s runs again: %s", s.Version, s.From, s.Why)
	case Refused:
		return fmt.Sprintf("version %s is not installed, and nothing was touched: %s", s.Version, s.Why)
	default:
		return string(s.Stage)
	}
}

// tell stores an event.
func (a *Agent) tell(version, stage, text string) {
	a.o.Log.Info("update", "stage", stage, "text", text)
	a.o.Event(field.Event{Kind: "update", Subject: version, Text: text, More: []field.Member{{Name: "stage", Value: field.Text(stage)}}})
}
