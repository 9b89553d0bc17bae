// Package durable writes small files that a power cut leaves whole: after it there is the old file or the new one,
// never a part of one, and when WriteFile has returned nil it is the new one.
//
// A caller may not assume that two files change together. One that is written often belongs in the buffer: each write
// costs the flash a few blocks and two syncs.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile replaces a file's content, with the mode whatever the umask is. The folder must exist.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		if p := new(os.PathError); errors.As(err, &p) {
			p.Path = path // the same trouble has the same words every time
		}
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(dir)
}

// Remove removes a file, which need not be there, and makes that last.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes last what was created, renamed or removed in a folder.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
