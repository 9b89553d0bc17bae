package update

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"edgegateway/gatewayd/durable"
)

// Stage is how far the updater is. It is on flash before the step that it names begins.
type Stage string

// The stages of the updater.
const (
	None        Stage = ""
	Checked     Stage = "checked"      // all is checked and in root's own folder; nothing was touched
	Installing  Stage = "installing"   // the new package is being unpacked, or was when the power went
	Probation   Stage = "probation"    // the new version runs, or should
	Committed   Stage = "committed"    // final: it was found good
	RollingBack Stage = "rolling-back" // the previous package is being put back
	RolledBack  Stage = "rolled-back"  // final: the previous version runs again
	Refused     Stage = "refused"      // final: nothing was touched
)

// Final says that nothing follows by itself.
func (s Stage) Final() bool { return s == None || s == Committed || s == RolledBack || s == Refused }

// State is what the updater knows of the latest update. It is a file that everybody may read, and only root writes.
type State struct {
	Stage   Stage    `json:"stage"`
	Request string   `json:"request"` // SHA-256 of the request's text
	Version string   `json:"version,omitempty"`
	From    string   `json:"from,omitempty"` // the version before
	New     Package  `json:"new"`
	Old     Package  `json:"old"`
	Before  Evidence `json:"before"` // how the gateway was before anything was touched
	Resumed int      `json:"resumed,omitempty"`
	Why     string   `json:"why,omitempty"`     // of a refusal or a rollback
	Trouble string   `json:"trouble,omitempty"` // what hinders the updater now
	T       int64    `json:"t"`                 // of the last change, Unix milliseconds
}

// Package is one that the updater holds in its folder.
type Package struct {
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
}

// file is the package's name in the updater's folder: its digest, so that no two are ever mistaken.
func (p Package) file() string { return packagePrefix + p.SHA256 + ".deb" }

// The files in the updater's folder.
const (
	stateFile     = "state.json"
	heldFile      = "held.json" // the Package of the version that runs
	updaterFile   = "updater"   // a copy of the program, which the package does not replace
	pendingFile   = "pending"   // is there while an update is under way: a path unit starts the updater for it at boot
	packagePrefix = "package-"
)

// ReadState reads the updater's state from its folder. Without one the stage is None.
func ReadState(dir string) (State, error) {
	var s State
	return s, readJSON(filepath.Join(dir, stateFile), &s)
}

// ReadHeld reads which package the updater holds; the zero Package for none.
func ReadHeld(dir string) (Package, error) {
	var p Package
	return p, readJSON(filepath.Join(dir, heldFile), &p)
}

// readJSON leaves v as it is when there is no file.
func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func writeJSON(path string, v any, mode os.FileMode) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(text, '\n'), mode)
}
