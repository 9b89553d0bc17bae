package candidate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/gatewayd/durable"
)

// Main is the name of the main file in a Files.
const Main = "gatewayd.toml"

// The folders beside the main file. Credentials holds secrets: it is in no hash and is shown to nobody.
const (
	DropIns     = "conf.d"
	Profiles    = "profiles"
	Credentials = "credentials"
)

// Bounds of a configuration that comes from afar, in files and bytes.
const (
	maxFiles = 200
	maxBytes = 1 << 20
)

// Files is a configuration: contents by name, such as "gatewayd.toml" and "conf.d/20-pump.toml".
type Files map[string][]byte

// Hash names a configuration: SHA-256 over names and contents in the order of the names, without secrets.
func (f Files) Hash() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !secret(name) {
			fmt.Fprintf(h, "%d %s %d ", len(name), name, len(f[name]))
			h.Write(f[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Equal says whether two configurations are the same, secrets included.
func (f Files) Equal(g Files) bool { return maps.EqualFunc(f, g, bytes.Equal) }

// Clone copies the table; contents are shared, and never changed.
func (f Files) Clone() Files { return maps.Clone(f) }

func secret(name string) bool { return strings.HasPrefix(name, Credentials+"/") }

// Check says what is wrong with the names and sizes.
func (f Files) Check() error {
	total := 0
	for name, text := range f {
		if err := CheckName(name); err != nil {
			return err
		}
		total += len(text)
	}
	switch {
	case f[Main] == nil:
		return fmt.Errorf("the main file, %s, is missing", Main)
	case len(f) > maxFiles || total > maxBytes:
		return fmt.Errorf("%d files of %d bytes: at most %d files and %d bytes are taken", len(f), total, maxFiles, maxBytes)
	}
	return nil
}

// CheckName says what is wrong with the name of a file.
func CheckName(name string) error {
	if name == Main {
		return nil
	}
	dir, base := path.Split(name)
	hidden := base == "" || base[0] == '.' || strings.ContainsAny(base, "/\\\x00") || len(base) > 100
	switch {
	case hidden:
	case dir == DropIns+"/", dir == Profiles+"/":
		if strings.HasSuffix(base, ".toml") {
			return nil
		}
	case dir == Credentials+"/":
		return nil
	}
	return fmt.Errorf("no file can be called %q: allowed are %s, %s/NAME.toml, %s/NAME.toml and %s/NAME", name, Main, DropIns, Profiles, Credentials)
}

// read takes a configuration from where it stands: the main file, which may have any name, and what is beside it. The
// installer's credentials are not among it: they stand elsewhere.
func read(main string) (Files, error) {
	text, err := os.ReadFile(main)
	if err != nil {
		return nil, err
	}
	f := Files{Main: text}
	dir := filepath.Dir(main)
	for _, sub := range []string{DropIns, Profiles} {
		if err := f.take(dir, sub, ".toml"); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// take reads a folder's files with the suffix; hidden ones do not count, nor does a folder that is not there.
func (f Files) take(dir, sub, suffix string) error {
	entries, err := os.ReadDir(filepath.Join(dir, sub))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), suffix) || e.Name()[0] == '.' {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, sub, e.Name()))
		if err != nil {
			return err
		}
		f[sub+"/"+e.Name()] = text
	}
	return nil
}

// write makes a folder of a configuration, whole and synced or not at all.
func (f Files) write(dir string) error {
	temporary := dir + ".new"
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	for _, sub := range []string{"", DropIns, Profiles, Credentials} {
		if err := os.MkdirAll(filepath.Join(temporary, sub), 0o700); err != nil {
			return err
		}
	}
	for name, text := range f {
		if err := writeSynced(filepath.Join(temporary, filepath.FromSlash(name)), text); err != nil {
			return err
		}
	}
	for _, sub := range []string{DropIns, Profiles, Credentials, ""} {
		if err := durable.SyncDir(filepath.Join(temporary, sub)); err != nil {
			return err
		}
	}
	if err := os.Rename(temporary, dir); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

func writeSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
