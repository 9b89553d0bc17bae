package update

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Evidence is how the gateway is at one moment, as far as it tells whether a version works.
type Evidence struct {
	Version  string   `json:"version"`  // that answers; "" for nobody
	Ready    bool     `json:"ready"`    // the service manager has heard READY
	Restarts uint32   `json:"restarts"` // by itself, since somebody last started it
	Reached  []string `json:"reached"`  // the platforms that are connected
	Good     int      `json:"good"`     // points that have a value
}

// better says whether the gateway is more than it was: ready, with more platforms reached, or as many and more points good.
func (e Evidence) better(than Evidence) bool {
	more := len(e.Reached) - len(than.Reached)
	return e.Ready && (!than.Ready || more > 0 || more == 0 && e.Good > than.Good)
}

// Terms are what a new version is held to.
type Terms struct {
	Window time.Duration // it must be found good within so long; default 10 min
	Settle time.Duration // and stay so for so long; default 1 min
	Share  float64       // of the points that were good before must be good again; default 0.9
	Look   time.Duration // how often it is looked at; default 5 s
}

func (t Terms) withDefaults() Terms {
	if t.Window <= 0 {
		t.Window = 10 * time.Minute
	}
	if t.Settle <= 0 {
		t.Settle = time.Minute
	}
	if t.Share <= 0 {
		t.Share = 0.9
	}
	if t.Look <= 0 {
		t.Look = 5 * time.Second
	}
	return t
}

// runs says whether a program that says it is of one version comes from a package of another: packages count their own
// revisions of a version behind a last dash.
func runs(packaged, says string) bool {
	if packaged == says {
		return true
	}
	i := strings.LastIndexByte(packaged, '-')
	return i > 0 && packaged[:i] == says
}

// lacks says what is still missing of a version that runs as it should, in words; "" for nothing. fatal says that
// waiting will not help.
func (t Terms) lacks(version string, before, now Evidence) (what string, fatal bool) {
	var gone []string
	for _, name := range before.Reached {
		if !slices.Contains(now.Reached, name) {
			gone = append(gone, name)
		}
	}
	need := int(float64(before.Good)*t.Share + 0.5)
	switch {
	case now.Restarts > 0:
		return fmt.Sprintf("it restarted by itself %d times", now.Restarts), true
	case !now.Ready:
		return "it is not ready", false
	case !runs(version, now.Version):
		return fmt.Sprintf("version %q answers, %q should", now.Version, version), false
	case len(gone) > 0:
		return "it does not reach " + strings.Join(gone, ", ") + ", which was reached before", false
	case now.Good < need:
		return fmt.Sprintf("%d points are good, %d were before, and %d are asked for", now.Good, before.Good, need), false
	}
	return "", false
}
