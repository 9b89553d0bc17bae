package candidate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"edgegateway/gatewayd/durable"
)

// Trial is a configuration that has to prove itself.
type Trial struct {
	Generation int      `json:"generation"`
	Old        string   `json:"old"` // hash of the one from before
	New        string   `json:"new"` // and its own
	Operator   string   `json:"operator"`
	ID         string   `json:"id"`        // of the command; "" for a local one
	Within     int64    `json:"within_ms"` // how long it has
	Percent    int      `json:"percent"`   // of Good that must be good again
	Confirm    bool     `json:"confirm"`   // an explicit word is needed, evidence is not enough
	Good       []string `json:"good"`      // the points that were good before, "device/tag"
	Reached    []string `json:"reached"`   // the platforms that were
	Expect     []string `json:"expect"`    // devices that must answer
}

// Outcome is how a trial ended.
type Outcome struct {
	Operator string          `json:"operator"`
	ID       string          `json:"id"`
	Kept     bool            `json:"kept"`
	Text     string          `json:"text"`
	Report   json.RawMessage `json:"report"`
}

// state is the file that says what holds.
type state struct {
	V       int      `json:"v"`
	Base    string   `json:"base"` // hash of the installer's files when Kept came, or Trial without one
	Kept    int      `json:"kept"` // the generation that holds; 0 for the installer's files
	Last    int      `json:"last"` // the highest number ever given
	Trial   *Trial   `json:"trial,omitempty"`
	Outcome *Outcome `json:"outcome,omitempty"`
}

// Store is the folder of configurations. It is safe for concurrent use.
type Store struct {
	dir  string
	main string // the installer's main file

	mu    sync.Mutex
	state state
	note  string
}

const stateFile = "state.json"

// ErrBusy says that a trial is under way.
var ErrBusy = errors.New("another configuration is on trial")

// Look is Open without its consequences: nothing is written, and a trial stays one. The error is that of a state that
// cannot be read.
func Look(dir, main string) (*Store, error) {
	s := &Store{dir: dir, main: main}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s.state); err != nil {
		return s, fmt.Errorf("%w (%s)", errState, err)
	}
	return s, nil
}

var errState = errors.New("what was known of configurations from afar cannot be read")

// Open looks at what holds. A trial is over, and what was before is back, unless resume is its generation: the daemon
// was started anew for it. What came from afar is given up when the installer's files have changed since. Note tells of
// either. The error is that of a disk: what holds could not be read, and the installer's files do; or not be written, and
// the next Open finds the same again. The store can be used all the same.
func Open(dir, main string, resume int) (*Store, error) {
	s, err := Look(dir, main)
	switch {
	case errors.Is(err, errState):
		s.note = err.Error() + ": the installer's files hold"
		s.state = state{V: 1}
		return s, s.save()
	case err != nil:
		return s, err
	case s.state.V == 0:
		return s, os.MkdirAll(dir, 0o700)
	}
	base := ""
	if files, err := read(main); err == nil {
		base = files.Hash()
	}
	switch t := s.state.Trial; {
	case base != "" && base != s.state.Base && (s.state.Kept != 0 || t != nil):
		s.note = "the installer's files were changed: they hold, and the configuration from afar is given up"
		if t != nil {
			s.end(false, s.note, nil)
		}
		s.state.Kept = 0
		return s, s.save()
	case t != nil && t.Generation != resume:
		s.note = fmt.Sprintf("the gateway stopped while configuration %.12s was on trial: the one from before, %.12s, is back", t.New, t.Old)
		s.end(false, s.note, nil)
		if err := s.save(); err != nil {
			return s, err
		}
	}
	s.sweep()
	return s, nil
}

// Note says what Open had to do; "" for nothing.
func (s *Store) Note() string { return s.note }

// save writes the state. The lock is held, or nobody else knows the store yet.
func (s *Store) save() error {
	s.state.V = 1
	text, err := json.MarshalIndent(s.state, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(s.dir, stateFile), append(text, '\n'), 0o600)
}

// end closes a trial.
func (s *Store) end(kept bool, text string, report json.RawMessage) {
	t := s.state.Trial
	if kept {
		s.state.Kept = t.Generation
	}
	s.state.Trial = nil
	s.state.Outcome = &Outcome{Operator: t.Operator, ID: t.ID, Kept: kept, Text: text, Report: report}
}

// sweep removes generations that nothing refers to. What cannot be removed is tried again at the next start.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "gen-")
		n, err := strconv.Atoi(number)
		trial := s.state.Trial != nil && s.state.Trial.Generation == n
		if ok && (err != nil || n != s.state.Kept && !trial) {
			_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
		}
	}
}

func (s *Store) generation(n int) string { return filepath.Join(s.dir, "gen-"+strconv.Itoa(n)) }

// active is the generation to run; 0 for the installer's files.
func (s *Store) active() int {
	if s.state.Trial != nil {
		return s.state.Trial.Generation
	}
	return s.state.Kept
}

// File is the main file to run.
func (s *Store) File() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fileOf(s.active())
}

func (s *Store) fileOf(generation int) string {
	if generation == 0 {
		return s.main
	}
	return filepath.Join(s.generation(generation), Main)
}

// Before is the main file of what comes back when the trial is given back; "" when nothing is on trial.
func (s *Store) Before() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Trial == nil {
		return ""
	}
	return s.fileOf(s.state.Kept)
}

// Secret finds the file of a secret: among what came from afar, else in the given folder.
func (s *Store) Secret(name, folder string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.active(); n != 0 {
		if file := filepath.Join(s.generation(n), Credentials, name); exists(file) {
			return file
		}
	}
	return filepath.Join(folder, name)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// FromAfar says whether what runs came from afar.
func (s *Store) FromAfar() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active() != 0
}

// Installer gives the installer's main file, and whether the files have changed since what holds came from afar: then
// they are newer than it.
func (s *Store) Installer() (main string, newer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := read(s.main)
	return s.main, err == nil && s.state.Kept != 0 && files.Hash() != s.state.Base
}

// Files reads what runs.
func (s *Store) Files() (Files, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files(s.active())
}

func (s *Store) files(generation int) (Files, error) {
	f, err := read(s.fileOf(generation))
	if err == nil && generation != 0 {
		err = f.take(s.generation(generation), Credentials, "")
	}
	return f, err
}

// Trial is the one that is under way; nil for none.
func (s *Store) Trial() *Trial {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Trial
}

// Prepare writes a configuration as a new generation, which nothing refers to yet, and gives its number and main file.
func (s *Store) Prepare(f Files) (generation int, file string, err error) {
	if err := f.Check(); err != nil {
		return 0, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Trial != nil {
		return 0, "", ErrBusy
	}
	s.sweep()
	s.state.Last++
	n := s.state.Last
	if err := os.RemoveAll(s.generation(n)); err != nil {
		return 0, "", err
	}
	if err := f.write(s.generation(n)); err != nil {
		return 0, "", err
	}
	return n, s.fileOf(n), nil
}

// Begin makes a prepared generation the one to run, on trial.
func (s *Store) Begin(t Trial) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Trial != nil {
		return ErrBusy
	}
	base, err := read(s.main)
	if err != nil {
		return err
	}
	before := s.state
	s.state.Trial, s.state.Outcome = &t, nil
	if s.state.Kept == 0 { // else they may have changed since, which the next start has to see
		s.state.Base = base.Hash()
	}
	if err := s.save(); err != nil {
		s.state = before
		return err
	}
	return nil
}

// End closes the trial: its generation is kept, or what was before is back. With an error, which is a disk's, nothing is
// kept; what was before is back all the same, and the next Open ends the trial again.
func (s *Store) End(kept bool, text string, report json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Trial == nil {
		return errors.New("no configuration is on trial")
	}
	before := s.state
	s.end(kept, text, report)
	err := s.save()
	if err != nil && kept {
		s.state = before
	}
	return err
}

// Outcome is how the last trial ended; nil when there was none, or another one has begun since.
func (s *Store) Outcome() *Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Outcome
}

// Abandon gives up what came from afar because it cannot be run at all: of a trial, what was before it holds, else the
// installer's files.
func (s *Store) Abandon(why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Trial != nil {
		s.end(false, why, nil)
	} else {
		s.state.Kept = 0
	}
	s.note = why
	return s.save()
}
