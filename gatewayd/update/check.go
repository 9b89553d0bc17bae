package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"edgegateway/gatewayd/durable"
)

// The files in the agent's folder. A request is the manifest on a line, and what makes this order another than the last.
const (
	requestFile = "request.jws" // the manifest; it comes last, when the packages are there
	offerFile   = "package"     // the new version's package
	baseFile    = "base"        // the running version's package, when the updater does not hold it
)

// take looks for a request and checks everything that can be checked. It leaves the stage Checked, or Refused, or as it
// was when nobody asked.
func (u *Updater) take(ctx context.Context) error {
	request, err := u.read(requestFile, 2*maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(u.o.Dir, 0o755); err != nil {
		return err
	}
	u.o.Step("pending")
	if err := durable.WriteFile(filepath.Join(u.o.Dir, pendingFile), nil, 0o644); err != nil {
		return err
	}
	digest := sha256.Sum256(request)
	previous := u.state
	u.state = State{Request: hex.EncodeToString(digest[:])}
	if previous.Request == u.state.Request && previous.Stage != None {
		// It was taken before and the power went before it could be taken away; what came of it stands.
		u.state = previous
		return u.takeAway()
	}
	err = u.check(ctx, request)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return u.to(Checked, "")
	}
	if err := u.to(Refused, err.Error()); err != nil {
		return err
	}
	return u.takeAway()
}

// check is all that comes before the first touch.
func (u *Updater) check(ctx context.Context, request []byte) error {
	keys, err := ReadKeys(u.o.Keys, !u.o.Trusting)
	if err != nil {
		return err
	}
	manifest, _, _ := bytes.Cut(request, []byte("\n"))
	m, err := ReadManifest(manifest, keys)
	if err != nil {
		return err
	}
	s := &u.state
	s.Version = m.Version
	if err := m.current(time.Now()); err != nil {
		return err
	}
	arch, err := u.o.Packages.Arch(ctx)
	if err != nil {
		return err
	}
	if m.Arch != arch {
		return refusef("the package is for %s, this machine is %s", m.Arch, arch)
	}
	var whole bool
	if s.From, whole, err = u.o.Packages.Installed(ctx, m.Package); err != nil {
		return err
	}
	if err := u.checkVersions(ctx, m, whole); err != nil {
		return err
	}
	u.o.Step("hold the old one")
	if err := u.haveOld(m); err != nil {
		return err
	}
	u.o.Step("copy the package")
	if err := u.haveNew(ctx, m); err != nil {
		return err
	}
	u.o.Step("copy the updater")
	if err := u.copySelf(); err != nil {
		return fmt.Errorf("the updater can't be copied: %w", err)
	}
	return nil
}

func (u *Updater) checkVersions(ctx context.Context, m Manifest, whole bool) error {
	from := u.state.From
	if from == "" || !whole {
		return refusef("the package %s is not wholly installed (found version %q): repair it first with dpkg", m.Package, from)
	}
	newer, err := u.o.Packages.Newer(ctx, m.Version, from)
	if err != nil {
		return err
	}
	if !newer {
		return refusef("%s is installed: %s is no newer, and going back is only done by a rollback", from, m.Version)
	}
	if m.MinVersion != "" && m.MinVersion != from {
		old, err := u.o.Packages.Newer(ctx, m.MinVersion, from)
		if err != nil {
			return err
		}
		if old {
			return refusef("%s is installed, and %s asks for at least %s: update to that one first", from, m.Version, m.MinVersion)
		}
	}
	return nil
}

// haveOld makes sure that there is something to go back to.
func (u *Updater) haveOld(m Manifest) error {
	held, err := ReadHeld(u.o.Dir)
	if err != nil {
		return err
	}
	if held.Version == u.state.From {
		if err = u.verify(held); err == nil {
			u.state.Old = held
			return nil
		}
		u.o.Log.Warn("the held package is damaged", "version", held.Version, "error", err)
	}
	base, ok := m.base(u.state.From)
	if !ok {
		return refusef("the package of %s, which is installed, is not held and the manifest has none, so there would be no way back; "+
			"`gatewayd updater hold FILE.deb` takes one", u.state.From)
	}
	f, err := u.open(baseFile)
	if err != nil {
		return fmt.Errorf("the package of %s was not handed over: %w", u.state.From, err)
	}
	defer f.Close()
	if u.state.Old, err = u.keep(f, Package{Version: base.Version, Size: base.Size, SHA256: base.SHA256}); err != nil {
		return err
	}
	return u.hold(u.state.Old)
}

// verify reads a held package again: flash forgets.
func (u *Updater) verify(p Package) error {
	f, err := os.Open(filepath.Join(u.o.Dir, p.file()))
	if err != nil {
		return err
	}
	defer f.Close()
	digest := newDigest()
	if _, err := io.Copy(digest, f); err != nil {
		return err
	}
	if digest.hex() != p.SHA256 {
		return errors.New("its digest is another")
	}
	return nil
}

// haveNew copies the new package and holds it against the manifest.
func (u *Updater) haveNew(ctx context.Context, m Manifest) error {
	f, err := u.open(offerFile)
	if err != nil {
		return fmt.Errorf("the package was not handed over: %w", err)
	}
	defer f.Close()
	if u.state.New, err = u.keep(f, Package{Version: m.Version, Size: m.Size, SHA256: m.SHA256}); err != nil {
		return err
	}
	path := filepath.Join(u.o.Dir, u.state.New.file())
	info, err := u.o.Packages.Inspect(ctx, path)
	if err != nil {
		return refusef("the package can't be read: %v", err)
	}
	if want := (Info{m.Package, m.Version, m.Arch}); info != want && info != (Info{m.Package, m.Version, "all"}) {
		return refusef("the package says that it is %s %s for %s, the manifest %s %s for %s", info.Name, info.Version, info.Arch, want.Name, want.Version, want.Arch)
	}
	if err := u.o.Packages.Try(ctx, path); err != nil {
		return refusef("the package can't be installed: %v", err)
	}
	return nil
}

// copySelf keeps the program that knows how to repair: the package replaces the one that is installed.
func (u *Updater) copySelf() error {
	if u.o.Self == "" {
		return nil
	}
	from, err := os.Open(u.o.Self)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.CreateTemp(u.o.Dir, ".updater-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // is gone already when all went well
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Chmod(0o755), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(u.o.Dir, updaterFile)); err != nil {
		return err
	}
	return durable.SyncDir(u.o.Dir)
}

// open opens a plain file of the agent's folder, which is not trusted: a link that leads out of it is an error.
func (u *Updater) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(u.o.Inbox)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", name)
	}
	return root.Open(name)
}

func (u *Updater) read(name string, limit int64) ([]byte, error) {
	f, err := u.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// takeAway removes the request that was taken, so that it is not taken twice; one that came since stays.
func (u *Updater) takeAway() error {
	u.o.Step("take the request away")
	request, err := u.read(requestFile, 2*maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if digest := sha256.Sum256(request); hex.EncodeToString(digest[:]) != u.state.Request {
		return nil
	}
	root, err := os.OpenRoot(u.o.Inbox)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Remove(requestFile)
}

type digest struct{ hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) hex() string { return hex.EncodeToString(d.Sum(nil)) }
