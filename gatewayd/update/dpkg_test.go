package update

import (
	"context"
	"crypto/ed25519"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var rounds = flag.Int("rounds", 6, "how many updates are killed at random with a real dpkg (200 is the long level)")

// TestMain lets the tests run this binary as the updater, in a process of its own that can be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("GATEWAYD_UPDATE_TEST"); dir != "" {
		tree := debian{dir: dir}
		u := tree.updater()
		if err := u.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// debian is a tree with a real dpkg database in it. The version that "runs" is what stands in the program's file.
type debian struct{ dir string }

const programFile, confFile = "usr/bin/gatewayd", "etc/gatewayd/gatewayd.toml"

func (d debian) path(name string) string { return filepath.Join(d.dir, name) }
func (d debian) tree(name string) string { return filepath.Join(d.dir, "tree", name) }

func (d debian) dpkg() Dpkg {
	return Dpkg{Root: d.path("tree"), Flags: []string{"--force-script-chrootless", "--log=/dev/null"}}
}

func (d debian) updater() *Updater {
	return NewUpdater(UpdaterOptions{
		Dir: d.path("root"), Inbox: d.path("inbox"), Keys: d.path("keys"), Trusting: true, Packages: d.dpkg(), Gateway: d,
		Terms: Terms{Window: 60 * time.Millisecond, Settle: 20 * time.Millisecond, Look: 5 * time.Millisecond}, Log: slog.New(slog.DiscardHandler),
	})
}

func (d debian) Restart(context.Context) error { return nil }

// Look reads what is installed: "1.1 good".
func (d debian) Look(context.Context) (Evidence, error) {
	text, err := os.ReadFile(d.tree(programFile))
	version, kind, _ := strings.Cut(string(text), " ")
	return Evidence{Version: version, Ready: kind != "bad"}, err
}

// build makes a package with a program and a configuration file.
func (d debian) build(t *testing.T, version, kind string) (deb string) {
	t.Helper()
	from := filepath.Join(d.dir, "build-"+version)
	for name, text := range map[string]string{
		programFile:        version + " " + kind,
		confFile:           "# as delivered with " + version + "\n",
		"DEBIAN/control":   "Package: gatewayd\nVersion: " + version + "\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: test\n",
		"DEBIAN/conffiles": "/" + confFile + "\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755), os.WriteFile(filepath.Join(from, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	deb = filepath.Join(d.dir, "gatewayd_"+version+".deb")
	out, err := exec.Command("dpkg-deb", "--build", "--root-owner-group", "-Znone", from, deb).CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	return deb
}

// newDebian makes a tree with version 1.0 installed and held.
func newDebian(t *testing.T) debian {
	t.Helper()
	for _, program := range []string{"dpkg", "dpkg-deb", "dpkg-query"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: this needs a Debian", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("dpkg installs as root only: run this test as root")
	}
	d := debian{inMemory(t)}
	for _, dir := range []string{"root", "inbox", "tree/var/lib/dpkg/info", "tree/var/lib/dpkg/updates", "tree/var/lib/dpkg/triggers", "tree/usr", "tree/etc"} {
		if err := os.MkdirAll(d.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(d.tree("var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	writeKeys(t, d.path("keys"), ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	deb := d.build(t, "1.0", "good")
	if err := d.dpkg().Install(t.Context(), deb); err != nil {
		t.Fatal(err)
	}
	if err := d.updater().Hold(t.Context(), deb); err != nil {
		t.Fatal(err)
	}
	return d
}

// order hands a version over.
func (d debian) order(t *testing.T, version, kind string) {
	t.Helper()
	text, err := os.ReadFile(d.build(t, version, kind))
	if err != nil {
		t.Fatal(err)
	}
	m := manifest(version)
	m.Artifact = artifact(string(text))
	if m.Arch, err = d.dpkg().Arch(t.Context()); err != nil {
		t.Fatal(err)
	}
	jws := signed(t, m, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err := errors.Join(os.WriteFile(d.path("inbox/package"), text, 0o644), os.WriteFile(d.path("inbox/request.jws"), []byte(jws+"\n"+version+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// settled holds the tree against a version: the database, the files, the configuration, and dpkg's idea of it.
func (d debian) settled(t *testing.T, version, conf string) {
	t.Helper()
	installed, whole, err := d.dpkg().Installed(t.Context(), "gatewayd")
	if err != nil || installed != version || !whole {
		t.Errorf("installed: %q, whole %v, %v; want %q", installed, whole, err, version)
	}
	if now, err := d.Look(t.Context()); err != nil || now.Version != version {
		t.Errorf("on disk: %q, %v; want %q", now.Version, err, version)
	}
	if text, err := os.ReadFile(d.tree(confFile)); err != nil || string(text) != conf {
		t.Errorf("the configuration is %q, %v; want %q", text, err, conf)
	}
	audit, err := exec.Command("dpkg", "--root="+d.path("tree"), "--audit").CombinedOutput()
	if err != nil || len(audit) > 0 {
		t.Errorf("dpkg --audit: %v\n%s", err, audit)
	}
	// What dpkg takes for the delivered configuration decides whether it will ask, or overwrite, next time.
	delivered := md5.Sum([]byte("# as delivered with " + version + "\n"))
	status, err := os.ReadFile(d.tree("var/lib/dpkg/status"))
	if want := " /" + confFile + " " + hex.EncodeToString(delivered[:]) + "\n"; err != nil || !strings.Contains(string(status), want) {
		t.Errorf("dpkg's database does not have%sbut\n%s", want, status)
	}
	if left, _ := filepath.Glob(d.tree("usr/bin/*.dpkg-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func (d debian) conf(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.tree(confFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (d debian) run(t *testing.T, want Stage) {
	t.Helper()
	if err := d.updater().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadState(d.path("root")); err != nil || s.Stage != want {
		t.Fatalf("stage %q: %s, %v; want %q", s.Stage, s.Why, err, want)
	}
}

// TestDpkgKeepsTheOwnersConfiguration walks through the cases in which dpkg would ask, or overwrite.
func TestDpkgKeepsTheOwnersConfiguration(t *testing.T) {
	d := newDebian(t)
	delivered := func(v string) string { return "# as delivered with " + v + "\n" }
	d.settled(t, "1.0", delivered("1.0"))

	d.order(t, "1.1", "good") // untouched: it follows the package
	d.run(t, Committed)
	d.settled(t, "1.1", delivered("1.1"))

	d.order(t, "1.2", "bad") // untouched: it goes there and back
	d.run(t, RolledBack)
	d.settled(t, "1.1", delivered("1.1"))

	d.conf(t, "owner = 1\n")
	d.order(t, "1.3", "bad") // changed by the owner: there and back
	d.run(t, RolledBack)
	d.settled(t, "1.1", "owner = 1\n")

	d.order(t, "1.4", "good") // and again after a rollback: no question, nothing overwritten
	d.run(t, Committed)
	d.settled(t, "1.4", "owner = 1\n")

	if err := os.Remove(d.tree(confFile)); err != nil { // removed by the owner, and written anew during a probation
		t.Fatal(err)
	}
	d.order(t, "1.5", "bad")
	u := d.updater()
	u.o.Step = func(step string) {
		if step == "watch" {
			d.conf(t, "owner = 2\n")
		}
	}
	if err := u.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.settled(t, "1.4", "owner = 2\n")

	d.conf(t, delivered("1.4")) // as delivered again, and changed during a probation
	d.order(t, "1.6", "bad")
	u = d.updater()
	u.o.Step = func(step string) {
		if step == "watch" {
			d.conf(t, "owner = 3\n")
		}
	}
	if err := u.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.settled(t, "1.4", "owner = 3\n")
	d.order(t, "1.7", "good")
	d.run(t, Committed)
	d.settled(t, "1.7", "owner = 3\n")
}

func TestDpkgAnswers(t *testing.T) {
	d := newDebian(t)
	p := d.dpkg()
	for _, c := range []struct {
		a, b string
		want bool
	}{{"1.10", "1.9", true}, {"1.9", "1.10", false}, {"1.0", "1.0", false}, {"1.0~rc1", "1.0", false}, {"2:0.1", "1.9", true}} {
		if got, err := p.Newer(t.Context(), c.a, c.b); err != nil || got != c.want {
			t.Errorf("%s newer than %s: %v, %v", c.a, c.b, got, err)
		}
	}
	if v, whole, err := p.Installed(t.Context(), "nothere"); v != "" || whole || err != nil {
		t.Errorf("what is not installed: %q, %v, %v", v, whole, err)
	}
	if err := os.WriteFile(d.path("garbage.deb"), []byte("!<arch>\nno"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Inspect(t.Context(), d.path("garbage.deb")); err == nil {
		t.Error("garbage is a package")
	}
	from := d.path("build-1.0/DEBIAN/control")
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{"Depends: libnothere": "libnothere", "Installed-Size: 99999999999": "KiB left"} {
		if err := os.WriteFile(from, []byte(string(text)+field+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		deb := d.path("picky.deb")
		if out, err := exec.Command("dpkg-deb", "--build", "-Znone", d.path("build-1.0"), deb).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		p := p
		if strings.HasPrefix(field, "Depends") {
			if _, err := exec.LookPath("apt-get"); err != nil || *rounds < 200 {
				continue // apt takes seconds to read its lists
			}
			p = Dpkg{} // only looks at this machine
		}
		if err := p.Try(t.Context(), deb); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestKillsWithDpkg kills the updater and the dpkg that it runs at random, again and again, until the update has ended
// by itself. Every round goes on from the last one's tree.
func TestKillsWithDpkg(t *testing.T) {
	d := newDebian(t)
	version, conf := "1.0", "owner = 0\n"
	d.conf(t, conf)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills, stages := 0, map[Stage]int{}
	longest := 300 * time.Millisecond
	for round := range *rounds {
		next, kind := fmt.Sprintf("2.%d", round), "good"
		if round%2 == 1 {
			kind = "bad"
		}
		d.order(t, next, kind)
		for try := 0; ; try++ {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), "GATEWAYD_UPDATE_TEST="+d.dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Stderr = os.Stderr
			began := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// At most three kills a round: more of them in one stage are an end of their own.
			if try < 3 {
				kill := time.AfterFunc(rand.N(longest), func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
				err = cmd.Wait()
				kill.Stop()
			} else {
				err = cmd.Wait()
			}
			if err == nil {
				longest = max(longest, time.Since(began)*5/4)
				break
			}
			if try >= 3 {
				t.Fatalf("round %d: %v", round, err)
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a dpkg that outlived its parent: the unit's group goes as one
			kills++
			s, err := ReadState(d.path("root"))
			if err != nil {
				t.Fatal(err)
			}
			stages[s.Stage]++
		}
		state, err := ReadState(d.path("root"))
		if err != nil {
			t.Fatal(err)
		}
		if kind == "good" && state.Stage == Committed {
			version = next
		} else if kind == "good" || state.Stage != RolledBack {
			t.Errorf("round %d (%s): stage %q: %s", round, kind, state.Stage, state.Why)
		}
		d.settled(t, version, conf)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d rounds, %d kills, at stages %v", *rounds, kills, stages)
}
