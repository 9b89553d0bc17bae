package update

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/durable"
)

// AgentOptions say where the agent works.
type AgentOptions struct {
	Dir     string // the agent's folder in the daemon's state folder: the updater's Inbox
	Updater string // the updater's folder, which is only read
	Keys    string // the file with the publishers' public keys
	Version string // that runs
	Budget  int64  // bytes that one update may take from the network
	Client  *http.Client
	Event   func(field.Event)
	Log     *slog.Logger
}

// Agent is the daemon's side: it takes the order, fetches, hands over to the updater, and tells how it goes. Make it
// with NewAgent, and Run it.
type Agent struct {
	o    AgentOptions
	wake chan struct{}

	mu     sync.Mutex
	job    job
	cancel context.CancelFunc // of the fetch that is under way
}

// job is what outlives the daemon. Guarded by Agent.mu, but for what Run alone uses while it fetches.
type job struct {
	Manifest string    `json:"manifest,omitempty"` // the JWS; "" when nothing is asked for
	ID       string    `json:"id,omitempty"`       // of the order: the same manifest may be asked for again
	Version  string    `json:"version,omitempty"`
	Package  Download  `json:"package"`
	Base     *Download `json:"base,omitempty"`
	Spent    int64     `json:"spent"`
	Handed   int64     `json:"handed,omitempty"` // when it was handed to the updater, Unix milliseconds
	Late     bool      `json:"late,omitempty"`   // it was told that nobody takes it
	Told     string    `json:"told,omitempty"`   // the updater's stage that was told last, with its request
	Failed   string    `json:"failed,omitempty"` // why the latest order came to nothing before it was handed over
}

const (
	jobFile   = "job.json"
	watchSlow = 30 * time.Second // how often the updater's state is looked at
	watchFast = 2 * time.Second  // while it is at work
	noUpdater = 2 * time.Minute  // after which somebody is told that nobody takes the request
)

// NewAgent makes an agent and reads what it was at. It makes its folder.
func NewAgent(o AgentOptions) (*Agent, error) {
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	a := &Agent{o: o, wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(o.Dir, jobFile), &a.job); err != nil {
		o.Log.Warn("what was noted of an update can't be read and is forgotten", "error", err)
		a.job = job{}
	}
	return a, nil
}

// Verbs are the rows for the daemon's table.
func (a *Agent) Verbs() []command.Verb {
	return []command.Verb{
		{Name: "update", Level: command.Admin, Args: "manifest [one_way] | cancel",
			Does: "fetch and install a version; its manifest is a URL or a JWS", Run: a.update},
		{Name: "update-status", Level: command.Observe, Does: "how an update is going", Run: a.statusVerb},
	}
}

// Args are the arguments of update: one of the two.
type Args struct {
	Manifest string `json:"manifest,omitempty"` // https://…, or the manifest itself
	Cancel   bool   `json:"cancel,omitempty"`   // give up what is being fetched
	OneWay   bool   `json:"one_way,omitempty"`  // it is known that the versions before can't read what this one writes
}

// Status is how an update is going.
type Status struct {
	Running string `json:"running"`           // the version that answers
	Stage   string `json:"stage"`             // "fetching", "handed over", one of the updater's, or "" for no update ever
	Version string `json:"version,omitempty"` // that is meant
	Have    int64  `json:"have"`              // bytes of the package that are here
	Size    int64  `json:"size"`
	Spent   int64  `json:"spent"` // bytes taken from the network for it
	Why     string `json:"why,omitempty"`
	Trouble string `json:"trouble,omitempty"`
	T       int64  `json:"t,omitempty"` // of the updater's last step
}

func (a *Agent) statusVerb(context.Context, json.RawMessage) (any, error) { return a.Status(), nil }

// Status may be called from anywhere.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	j := &a.job
	s := Status{Running: a.o.Version, Version: j.Version, Have: j.Package.Have, Size: j.Package.Size, Spent: j.Spent}
	state, err := ReadState(a.o.Updater)
	switch {
	case j.Manifest != "" && j.Handed == 0:
		s.Stage = "fetching"
	case j.Manifest != "" && state.Request != j.digest():
		s.Stage = "handed over"
	case j.Failed != "":
		s.Stage, s.Why = "failed", j.Failed
	case err == nil:
		s.Stage, s.Version, s.Why, s.Trouble, s.T = string(state.Stage), state.Version, state.Why, state.Trouble, state.T
	default:
		s.Trouble = err.Error()
	}
	return s
}

// request is what is handed to the updater.
func (j *job) request() []byte { return []byte(j.Manifest + "\n" + j.ID + "\n") }

// digest names the request in the updater's state.
func (j *job) digest() string {
	d := newDigest()
	_, _ = d.Write(j.request()) // a hash takes everything
	return d.hex()
}

// update takes an order. What can be said at once is said in the answer; the rest comes as events.
func (a *Agent) update(ctx context.Context, raw json.RawMessage) (any, error) {
	var args Args
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	switch {
	case args.Cancel && args.Manifest == "":
		return a.giveUp()
	case args.Cancel || args.Manifest == "":
		return nil, command.Invalidf("say manifest (a URL, or the manifest itself), or cancel")
	}
	j, err := a.read(ctx, args.Manifest, args.OneWay)
	if errors.Is(err, ErrRefused) {
		return nil, &command.Error{Code: command.Refused, Text: err.Error()}
	} else if err != nil {
		return nil, err
	}
	if err := a.begin(j); err != nil {
		return nil, err
	}
	return a.Status(), nil
}

// read makes a job of a manifest, or refuses.
func (a *Agent) read(ctx context.Context, manifest string, oneWay bool) (job, error) {
	keys, err := ReadKeys(a.o.Keys, false)
	if err != nil {
		return job{}, refusef("%v", err)
	}
	from := ""
	if strings.HasPrefix(manifest, "http://") || strings.HasPrefix(manifest, "https://") {
		from = manifest
		if manifest, err = a.get(ctx, from); err != nil {
			return job{}, err
		}
	}
	manifest = strings.TrimSpace(manifest)
	m, err := ReadManifest([]byte(manifest), keys)
	if err != nil {
		return job{}, err
	}
	if err := m.current(time.Now()); err != nil {
		return job{}, err
	}
	held, err := ReadHeld(a.o.Updater)
	if err != nil {
		return job{}, fmt.Errorf("what the updater holds can't be read: %w", err)
	}
	has := runs(held.Version, a.o.Version) // it holds what runs
	if m.Version == a.o.Version || has && m.Version == held.Version {
		return job{}, refusef("%s is running already", m.Version)
	}
	if m.OneWay && !oneWay {
		return job{}, refusef("%s is one-way: after it, the versions before can't read what is buffered; say one_way when that is meant", m.Version)
	}
	j := job{Manifest: manifest, Version: m.Version, ID: rand.Text()}
	if j.Package, err = download(m.Artifact, from); err != nil {
		return job{}, err
	}
	need := m.Size
	if !has {
		base, ok := m.base(a.o.Version)
		if !ok {
			return job{}, refusef("the package of %s, which runs, is not held, and the manifest has none: there would be no way back; "+
				"`gatewayd updater hold FILE.deb` takes one", a.o.Version)
		}
		d, err := download(base.Artifact, from)
		if err != nil {
			return job{}, err
		}
		j.Base = &d
		need += base.Size
	}
	if need > a.o.Budget {
		return job{}, refusef("the update takes %d bytes from the network, and [update] budget allows %d", need, a.o.Budget)
	}
	return j, nil
}

func download(a Artifact, manifest string) (Download, error) {
	u, err := a.resolve(manifest)
	return Download{URL: u, Size: a.Size, SHA256: a.SHA256}, err
}

// get fetches a manifest.
func (a *Agent) get(ctx context.Context, from string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", from, nil)
	if err != nil {
		return "", command.Invalidf("manifest: %v", err)
	}
	resp, err := a.o.Client.Do(req)
	if err != nil {
		return "", fmt.Errorf("the manifest can't be fetched: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return "", fmt.Errorf("the manifest can't be fetched: %s: %w", from, err)
	}
	return string(text), nil
}

// begin makes a job the current one.
func (a *Agent) begin(j job) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	state, err := ReadState(a.o.Updater)
	switch {
	case err != nil:
		return fmt.Errorf("the updater's state can't be read: %w", err)
	case !state.Stage.Final():
		return &command.Error{Code: command.Busy, Text: fmt.Sprintf("an update to %s is %s", state.Version, state.Stage)}
	case a.job.Manifest == j.Manifest:
		return nil // it is under way: a repeated order changes nothing
	case a.job.Manifest != "":
		return &command.Error{Code: command.Busy, Text: fmt.Sprintf("an update to %s is under way; cancel it first", a.job.Version)}
	}
	j.Told = a.job.Told
	if j.Package.URL == a.job.Package.URL && j.Package.SHA256 == a.job.Package.SHA256 {
		j.Package = a.job.Package // what is here already is not fetched again
		j.Package.Done = false    // but is looked at: an order that ended took its files away
	}
	a.job = j
	if err := a.save(); err != nil {
		a.job = job{Told: j.Told}
		return fmt.Errorf("the order can't be kept: %w", err)
	}
	a.nudge()
	return nil
}

// giveUp ends a fetch.
func (a *Agent) giveUp() (any, error) {
	a.mu.Lock()
	if a.job.Manifest == "" || a.job.Handed != 0 {
		a.mu.Unlock()
		return nil, &command.Error{Code: command.Refused, Text: "nothing is being fetched; what was handed to the updater ends by itself"}
	}
	a.drop("cancelled")
	if a.cancel != nil {
		a.cancel()
	}
	a.mu.Unlock()
	return a.Status(), nil
}

// drop ends the job, for a reason if it failed. The lock is held.
func (a *Agent) drop(why string) {
	a.job.Manifest, a.job.Handed, a.job.Late, a.job.Failed = "", 0, false, why
	if err := a.save(); err != nil {
		a.o.Log.Warn("what is noted of an update can't be written", "error", err)
	}
}

func (a *Agent) save() error { return writeJSON(filepath.Join(a.o.Dir, jobFile), a.job, 0o600) }

func (a *Agent) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Agent) removeFiles(names ...string) {
	for _, name := range names {
		if err := durable.Remove(filepath.Join(a.o.Dir, name)); err != nil {
			a.o.Log.Warn("a fetched package can't be removed", "error", err)
		}
	}
}
