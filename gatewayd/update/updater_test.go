package update

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/gatewayd/command"
)

// killed is what a power cut throws.
type killed struct{ at string }

// box is a machine in memory, which outlives the updater: a package database, the files on disk, a service. Its
// installation can be cut short in the middle, as dpkg's.
type box struct {
	version string // in the database
	whole   bool
	files   string // the version on disk
	runs    string // the version that runs; "" for none
	faults  map[string]string
	starts  int
	installs,
	refusals int // Install fails so often
	booting int // so many looks find a gateway that is only just starting
	cut     func(step string)
}

func (b *box) Arch(context.Context) (string, error) { return "arm64", nil }

func (b *box) Inspect(_ context.Context, file string) (Info, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Info{}, err
	}
	f := strings.Fields(string(text))
	if len(f) != 3 {
		return Info{}, errors.New("this is no package")
	}
	return Info{f[0], f[1], f[2]}, nil
}

func (b *box) Installed(context.Context, string) (string, bool, error) {
	return b.version, b.whole, nil
}

// Newer compares texts: the test's versions are made for it.
func (b *box) Newer(_ context.Context, x, y string) (bool, error) { return x > y, nil }

func (b *box) Try(context.Context, string) error {
	if b.faults["try"] != "" {
		return errors.New(b.faults["try"])
	}
	return nil
}

func (b *box) Install(ctx context.Context, file string) error {
	info, err := b.Inspect(ctx, file)
	if err != nil {
		return err
	}
	if b.refusals > 0 {
		b.refusals--
		return errors.New("the disk is full")
	}
	b.installs++
	b.version, b.whole = info.Version, false
	b.cut("half-installed")
	b.files = info.Version
	b.cut("unpacked")
	if b.faults[info.Version] == "postinst" {
		return errors.New("post-installation script returned 1")
	}
	b.whole = true
	b.cut("installed")
	return nil
}

func (b *box) Restart(context.Context) error {
	b.starts++
	b.runs = b.files
	b.cut("restarted")
	if b.faults[b.files] == "never starts" {
		b.runs = ""
		return errors.New("the job failed")
	}
	return nil
}

func (b *box) Look(context.Context) (Evidence, error) {
	e := Evidence{Version: b.runs, Ready: b.runs != "", Reached: []string{"platform"}, Good: 100}
	if b.booting > 0 {
		b.booting--
		e.Reached, e.Good = e.Reached[min(b.booting/10, 1):], 0
		return e, nil
	}
	switch b.faults[b.runs] {
	case "crashes":
		e.Restarts, e.Ready = 2, false
	case "hangs":
		e.Ready = false
	case "silent":
		e.Reached = nil
	case "blind":
		e.Good = 89
	}
	return e, nil
}

// lab is a box with an order on it.
type lab struct {
	t    *testing.T
	box  *box
	dir  string
	key  ed25519.PrivateKey
	last []string // steps of the latest run
	stop string   // a step before which every run is cut
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: inMemory(t), key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	l.box = &box{version: "1.0", whole: true, files: "1.0", runs: "1.0", faults: map[string]string{}, cut: func(string) {}}
	for _, dir := range []string{"root", "inbox"} {
		if err := os.Mkdir(filepath.Join(l.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeKeys(t, l.path("keys"), l.key)
	l.write("gatewayd-1.0", "gatewayd 1.0 arm64")
	l.write("self", "the program")
	if err := l.updater(nil).Hold(t.Context(), l.path("gatewayd-1.0")); err != nil {
		t.Fatal(err)
	}
	return l
}

// inMemory gives a folder on a file system in memory where there is one: hundreds of rounds are about the order of
// things, and each would wait for the flash a dozen times.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "gatewayd-update-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func writeKeys(t *testing.T, path string, keys ...ed25519.PrivateKey) {
	t.Helper()
	var text []byte
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func artifact(content string) Artifact {
	sum := sha256.Sum256([]byte(content))
	return Artifact{URL: "http://gateway.test/package", Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

func manifest(version string) Manifest {
	return Manifest{V: 1, Package: "gatewayd", Version: version, Arch: "arm64", Artifact: artifact("gatewayd " + version + " arm64")}
}

func signed(t *testing.T, m any, key ed25519.PrivateKey) string {
	t.Helper()
	payload, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(command.Sign(key, "publisher", payload))
}

// order hands a package and its manifest over, as the agent does.
func (l *lab) order(m Manifest, content string) {
	l.t.Helper()
	l.write("inbox/package", content)
	l.write("inbox/request.jws", signed(l.t, m, l.key)+"\norder-1\n")
}

func (l *lab) updater(step func(string)) *Updater {
	return NewUpdater(UpdaterOptions{
		Dir: l.path("root"), Inbox: l.path("inbox"), Keys: l.path("keys"), Trusting: true, Self: l.path("self"),
		Packages: l.box, Gateway: l.box, Log: slog.New(slog.DiscardHandler), Step: step,
	})
}

// run runs the updater, and cuts the power before the nth step; it reports whether it did. A cut ends the service too;
// the machine starts what is on disk at the next boot.
func (l *lab) run(n int) (cut bool) {
	l.t.Helper()
	l.last = nil
	step := func(name string) {
		l.last = append(l.last, name)
		if len(l.last) == n || name == l.stop {
			panic(killed{name})
		}
	}
	l.box.cut = step
	defer func() {
		switch r := recover().(type) {
		case nil:
		case killed:
			cut = true
			l.box.runs = l.box.files
			if l.box.faults[l.box.files] == "never starts" {
				l.box.runs = ""
			}
		default:
			panic(r)
		}
	}()
	if err := l.updater(step).Run(context.Background()); err != nil {
		l.t.Fatalf("the updater: %v", err)
	}
	return false
}

// settled holds the box against what every ended update leaves, and gives the state.
func (l *lab) settled(version string) State {
	l.t.Helper()
	state, err := ReadState(l.path("root"))
	if err != nil {
		l.t.Fatal(err)
	}
	b := l.box
	if !state.Stage.Final() || b.version != version || b.files != version || b.runs != version || !b.whole {
		l.t.Errorf("stage %q (%s); database %q (whole %v), disk %q, running %q; want %q everywhere", state.Stage, state.Why, b.version, b.whole, b.files, b.runs, version)
	}
	held, err := ReadHeld(l.path("root"))
	if err != nil || held.Version != version {
		l.t.Errorf("held is the package of %q, %v; want %q", held.Version, err, version)
	}
	var left []string
	for _, dir := range []string{"root", "inbox"} {
		entries, err := os.ReadDir(l.path(dir))
		if err != nil {
			l.t.Fatal(err)
		}
		for _, e := range entries {
			left = append(left, dir+"/"+e.Name())
		}
	}
	want := []string{"root/held.json", "root/" + held.file(), "root/state.json", "inbox/package"}
	if !slices.Equal(left, want) {
		l.t.Errorf("left behind: %q, want %q", left, want)
	}
	return state
}

func TestUpdateStays(t *testing.T) {
	l := newLab(t)
	l.order(manifest("1.1"), "gatewayd 1.1 arm64")
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		l.run(0)
		if took := time.Since(from); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("a minute each for the look at the old one and the probation took %s", took)
		}
	})
	if s := l.settled("1.1"); s.Stage != Committed || s.From != "1.0" || s.Before.Good != 100 {
		t.Errorf("state %+v", s)
	}
	// The next one goes back to this one.
	l.box.faults["1.2"] = "crashes"
	l.order(manifest("1.2"), "gatewayd 1.2 arm64")
	synctest.Test(t, func(*testing.T) { l.run(0) })
	if s := l.settled("1.1"); s.Stage != RolledBack || !strings.Contains(s.Why, "restarted by itself") {
		t.Errorf("state %+v", s)
	}
}

// faults are the ways in which a version is no good, and a word of the reason that must be given.
var faults = map[string]string{
	"never starts": "could not be started", "crashes": "restarted by itself 2 times", "hangs": "not ready",
	"silent": "does not reach platform", "blind": "89 points are good, 100 were", "postinst": "could not be installed",
}

func TestUpdateIsRolledBack(t *testing.T) {
	for fault, why := range faults {
		t.Run(fault, func(t *testing.T) {
			l := newLab(t)
			l.box.faults["1.1"] = fault
			l.order(manifest("1.1"), "gatewayd 1.1 arm64")
			synctest.Test(t, func(t *testing.T) {
				from := time.Now()
				l.run(0)
				if took := time.Since(from); took > 12*time.Minute {
					t.Errorf("it took %s", took)
				}
			})
			if s := l.settled("1.0"); s.Stage != RolledBack || !strings.Contains(s.Why, why) {
				t.Errorf("stage %s: %s; want %q", s.Stage, s.Why, why)
			}
		})
	}
}

// TestUpdateAfterABoot holds that a new version is held to what the gateway is, not to what it was in the moment when it
// had only just started and had reached nobody yet.
func TestUpdateAfterABoot(t *testing.T) {
	for _, fault := range []string{"silent", "blind"} {
		l := newLab(t)
		l.box.faults["1.1"], l.box.booting = fault, 20
		l.order(manifest("1.1"), "gatewayd 1.1 arm64")
		synctest.Test(t, func(*testing.T) { l.run(0) })
		if s := l.settled("1.0"); s.Stage != RolledBack || !strings.Contains(s.Why, faults[fault]) {
			t.Errorf("%s: stage %s: %s; before %+v", fault, s.Stage, s.Why, s.Before)
		}
	}
}

// TestUpdateWithoutEvidence holds that a gateway which works no more can be mended by an update.
func TestUpdateWithoutEvidence(t *testing.T) {
	l := newLab(t)
	l.box.faults["1.0"] = "hangs"
	l.order(manifest("1.1"), "gatewayd 1.1 arm64")
	synctest.Test(t, func(*testing.T) { l.run(0) })
	if s := l.settled("1.1"); s.Stage != Committed {
		t.Errorf("stage %s: %s", s.Stage, s.Why)
	}
}

// TestRollbackInsists holds that a rollback which is hindered goes on until it succeeds.
func TestRollbackInsists(t *testing.T) {
	l := newLab(t)
	l.box.faults["1.1"] = "postinst"
	l.order(manifest("1.1"), "gatewayd 1.1 arm64")
	synctest.Test(t, func(t *testing.T) {
		l.box.refusals = 8
		l.run(0)
	})
	l.settled("1.0")
}

// TestPowerCuts cuts the power before each step of an update, good and bad, and once more before each step of the
// repair that follows.
func TestPowerCuts(t *testing.T) {
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		t.Run(fault, func(t *testing.T) { cutEverywhere(t, fault, "1.0") })
	}
	t.Run("good", func(t *testing.T) { cutEverywhere(t, "", "1.1") })
}

func cutEverywhere(t *testing.T, fault, want string) {
	rounds := 0
	// play says where the second cut fell; "" when there was none.
	play := func(first, second int) (cut, again bool) {
		rounds++
		l := newLab(t)
		l.box.faults["1.1"] = fault
		l.order(manifest("1.1"), "gatewayd 1.1 arm64")
		synctest.Test(t, func(*testing.T) {
			cut = l.run(first)
			at := strings.Join(l.last, ", ")
			if cut && second > 0 {
				again = l.run(second)
				at += "; then " + strings.Join(l.last, ", ")
			}
			for range 2 { // the path unit starts it again as long as there is something to do
				l.run(0)
			}
			l.settled(want)
			if t.Failed() {
				t.Fatalf("after a cut at the end of: %s", at)
			}
			if most := 4; l.box.installs > most {
				t.Errorf("%d installations: %s", l.box.installs, at)
			}
		})
		return cut, again
	}
	for first := 1; ; first++ {
		cut, _ := play(first, 0)
		if !cut {
			break
		}
		if testing.Short() || first%3 != len(fault)%3 {
			continue // a third of the pairs for each kind of fault: each place is in some
		}
		for second := 1; ; second += 2 {
			if _, again := play(first, second); !again {
				break
			}
		}
	}
	t.Logf("%d rounds", rounds)
	if rounds < 12 {
		t.Errorf("only %d rounds: the steps were not all met", rounds)
	}
}

// TestRebootsEndAProbation holds that a version which takes the machine down with it is rolled back in the end.
func TestRebootsEndAProbation(t *testing.T) {
	l := newLab(t)
	l.order(manifest("1.1"), "gatewayd 1.1 arm64")
	synctest.Test(t, func(t *testing.T) {
		l.stop = "watch"
		for range 20 {
			if !l.run(0) {
				break
			}
		}
	})
	if s := l.settled("1.0"); s.Stage != RolledBack || !strings.Contains(s.Why, "cut short") {
		t.Errorf("state %+v", s)
	}
}

func TestUpdateIsRefused(t *testing.T) {
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	good := "gatewayd 1.1 arm64"
	for _, c := range []struct {
		name    string
		spoil   func(l *lab, m *Manifest)
		content string
		want    string
	}{
		{"another key", func(l *lab, _ *Manifest) { l.key = other }, good, "not signed by any of the 1 keys"},
		{"another architecture", func(_ *lab, m *Manifest) { m.Arch = "armhf" }, good, "for armhf, this machine is arm64"},
		{"no newer", func(_ *lab, m *Manifest) { m.Version = "1.0" }, good, "1.0 is no newer"},
		{"older", func(_ *lab, m *Manifest) { m.Version = "0.9" }, good, "0.9 is no newer"},
		{"too far", func(_ *lab, m *Manifest) { m.MinVersion = "1.05" }, good, "asks for at least 1.05"},
		{"over", func(_ *lab, m *Manifest) { m.NotAfter = 1 }, good, "was good until 1970"},
		{"altered package", nil, "gatewayd 1.1 arm65", "not the one that the manifest means"},
		{"cut package", nil, good[:10], "not the one that the manifest means"},
		{"longer package", nil, good + " ", "not the one that the manifest means"},
		{"lying package", func(_ *lab, m *Manifest) { m.Artifact = artifact("gatewayd 1.2 arm64") }, "gatewayd 1.2 arm64", "says that it is gatewayd 1.2"},
		{"no package", func(_ *lab, m *Manifest) { m.Artifact = artifact("garbage") }, "garbage", "can't be read"},
		{"dependencies", func(l *lab, _ *Manifest) { l.box.faults["try"] = "depends on libfoo" }, good, "libfoo"},
		{"half installed already", func(l *lab, _ *Manifest) { l.box.whole = false }, good, "not wholly installed"},
		{"nothing held", func(l *lab, _ *Manifest) { os.Remove(l.path("root/held.json")) }, good, "no way back"},
		{"held is damaged", func(l *lab, _ *Manifest) {
			held, _ := ReadHeld(l.path("root"))
			l.write("root/"+held.file(), "gatewayd 1.0 arm6?")
		}, good, "no way back"},
		{"another form", func(_ *lab, m *Manifest) { m.V = 2 }, good, "form 2"},
		{"a digest that is none", func(_ *lab, m *Manifest) { m.SHA256 = "00" }, good, "no SHA-256"},
		{"no keys", func(l *lab, _ *Manifest) { l.write("keys", "") }, good, "no PEM public key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			m := manifest("1.1")
			if c.spoil != nil {
				c.spoil(l, &m)
			}
			l.order(m, c.content)
			l.run(0)
			s, err := ReadState(l.path("root"))
			if err != nil || s.Stage != Refused || !strings.Contains(s.Why, c.want) {
				t.Errorf("stage %q, why %q, %v; want refused, %q", s.Stage, s.Why, err, c.want)
			}
			if l.box.installs != 0 || l.box.starts != 0 {
				t.Errorf("%d installations, %d restarts: something was touched", l.box.installs, l.box.starts)
			}
			if _, err := os.Stat(l.path("inbox/request.jws")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the request is still there: %v", err)
			}
		})
	}
}

// TestNoWayOutOfTheInbox holds that a link in the agent's folder leads the root's updater nowhere.
func TestNoWayOutOfTheInbox(t *testing.T) {
	l := newLab(t)
	l.order(manifest("1.1"), "gatewayd 1.1 arm64")
	l.write("secret", "gatewayd 1.1 arm64")
	if err := errors.Join(os.Remove(l.path("inbox/package")), os.Symlink(l.path("secret"), l.path("inbox/package"))); err != nil {
		t.Fatal(err)
	}
	l.run(0)
	if s, err := ReadState(l.path("root")); err != nil || s.Stage != Refused || !strings.Contains(s.Why, "no plain file") {
		t.Errorf("stage %q: %s, %v", s.Stage, s.Why, err)
	}
}

// TestBaseFromTheManifest holds that a gateway without a held package updates when the manifest brings the base.
func TestBaseFromTheManifest(t *testing.T) {
	l := newLab(t)
	if err := errors.Join(os.RemoveAll(l.path("root")), os.Mkdir(l.path("root"), 0o755)); err != nil {
		t.Fatal(err)
	}
	l.box.faults["1.1"] = "silent"
	m := manifest("1.1")
	m.Bases = []Base{{"0.9", artifact("gatewayd 0.9 arm64")}, {"1.0", artifact("gatewayd 1.0 arm64")}}
	l.write("inbox/base", "gatewayd 1.0 arm64")
	l.order(m, "gatewayd 1.1 arm64")
	synctest.Test(t, func(*testing.T) { l.run(0) })
	if err := os.Remove(l.path("inbox/base")); err != nil {
		t.Fatal(err)
	}
	if s := l.settled("1.0"); s.Stage != RolledBack {
		t.Errorf("state %+v", s)
	}
}

func TestKeysMustBeRoots(t *testing.T) {
	l := newLab(t)
	if os.Geteuid() != 0 {
		if _, err := ReadKeys(l.path("keys"), true); err == nil {
			t.Error("keys of a user are trusted")
		}
		t.Skip("the rest needs root")
	}
	if _, err := ReadKeys(l.path("keys"), true); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(l.path("keys"), l.path("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(l.path("link"), true); err == nil {
		t.Error("a link is trusted")
	}
	if err := os.Chmod(l.path("keys"), 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(l.path("keys"), true); err == nil {
		t.Error("keys that a group can write are trusted")
	}
	if err := errors.Join(os.Chmod(l.path("keys"), 0o644), os.Chown(l.path("keys"), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(l.path("keys"), true); err == nil {
		t.Error("keys of another user are trusted")
	}
}

func TestTerms(t *testing.T) {
	terms := Terms{}.withDefaults()
	before := Evidence{Version: "1", Ready: true, Reached: []string{"a", "b"}, Good: 10}
	for _, c := range []struct {
		now   Evidence
		want  string
		fatal bool
	}{
		{Evidence{Version: "2", Ready: true, Reached: []string{"b", "a"}, Good: 9}, "", false},
		{Evidence{Version: "2", Ready: true, Reached: []string{"b", "a", "c"}, Good: 50}, "", false},
		{Evidence{Version: "2", Ready: true, Reached: []string{"b", "a"}, Good: 8}, "8 points", false},
		{Evidence{Version: "2", Ready: true, Reached: []string{"b"}, Good: 10}, "reach a", false},
		{Evidence{Version: "1", Ready: true, Reached: []string{"a", "b"}, Good: 10}, `"1" answers`, false},
		{Evidence{Version: "2", Reached: []string{"a", "b"}, Good: 10}, "not ready", false},
		{Evidence{Version: "2", Ready: true, Restarts: 1, Reached: []string{"a", "b"}, Good: 10}, "restarted", true},
	} {
		what, fatal := terms.lacks("2", before, c.now)
		if fatal != c.fatal || c.want == "" && what != "" || !strings.Contains(what, c.want) {
			t.Errorf("%+v: %q, %v; want %q, %v", c.now, what, fatal, c.want, c.fatal)
		}
	}
	if what, _ := terms.lacks("2-1", before, Evidence{Version: "2", Ready: true, Reached: before.Reached, Good: 10}); what != "" {
		t.Errorf("a package's revision: %q", what)
	}
	if what, _ := terms.lacks("2", Evidence{}, Evidence{Version: "2", Ready: true}); what != "" {
		t.Errorf("with nothing known of before: %q", what)
	}
}
