package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Names in the store's folder: Badger's own folder, and those of stores that were set aside.
const (
	flashFolder  = "db"
	asidePrefix  = "damaged-"
	openingFile  = "opening"
	asideKept    = 1 // stores set aside that are kept; they count against the limit and go first
	openAttempts = 3 // crashes while opening after which the store is taken for damaged
)

// sweep removes what a crash at the wrong moment leaves and Badger then refuses for ever: log files without a byte.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spare removes what Badger makes anew when it is missing: the list of encryption keys, of which there are none. A
// damaged one would keep a whole store from being opened.
func spare(dir string) error {
	err := os.Remove(filepath.Join(dir, "KEYREGISTRY"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// headless says that there are tables but no MANIFEST. Badger would open such a folder, and delete every table.
func headless(dir string) bool {
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst")) // the pattern is well formed
	_, err := os.Stat(filepath.Join(dir, "MANIFEST"))
	return len(tables) > 0 && errors.Is(err, fs.ErrNotExist)
}

// damage says that an error of opening lies in the store's files. Otherwise it lies in what the files are on, or in
// somebody who uses them, and setting them aside would not help. Badger passes on the words of an error, not the error.
func damage(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EIO, syscall.EDQUOT,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EWOULDBLOCK} {
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return false
		}
	}
	return true
}

// setAside renames a damaged store, and removes those set aside before that are too many.
func setAside(dir string, epoch uint32) (string, error) {
	to := filepath.Join(dir, fmt.Sprintf("%s%d", asidePrefix, epoch))
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = filepath.Join(dir, fmt.Sprintf("%s%d-%d", asidePrefix, epoch, n))
	}
	if err := os.Rename(filepath.Join(dir, flashFolder), to); err != nil {
		return "", err
	}
	list := asides(dir)
	for len(list) > asideKept {
		if list[0] != filepath.Base(to) {
			if err := os.RemoveAll(filepath.Join(dir, list[0])); err != nil {
				return "", err
			}
		}
		list = list[1:]
	}
	return to, syncFolder(dir)
}

// Asides lists the folders of the stores in dir, a store's folder, that were set aside, the oldest first.
func Asides(dir string) []string {
	var list []string
	for _, name := range asides(dir) {
		list = append(list, filepath.Join(dir, name))
	}
	return list
}

// asides lists the stores that were set aside, the oldest first.
func asides(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), asidePrefix) {
			list = append(list, e.Name())
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		ea, na := asideNumber(a)
		eb, nb := asideNumber(b)
		if ea != eb {
			return int(ea) - int(eb)
		}
		return na - nb
	})
	return list
}

// asideNumber reads epoch and count from the name of a store that was set aside.
func asideNumber(name string) (uint32, int) {
	epoch, n, _ := strings.Cut(strings.TrimPrefix(name, asidePrefix), "-")
	e, _ := strconv.ParseUint(epoch, 10, 32) // a name of somebody else's counts as 0, the oldest
	k, _ := strconv.Atoi(n)
	return uint32(e), k
}

// dropAsides removes every store that was set aside, for their space.
func dropAsides(dir string) bool {
	list := asides(dir)
	for _, name := range list {
		_ = os.RemoveAll(filepath.Join(dir, name)) // what cannot be removed is tried again at the next need
	}
	return len(list) > 0
}

// attempts counts the openings that did not end: a store that kills the process is as damaged as one that fails.
// The file is removed when one ends, with an error or without.
func attempts(dir string) int {
	name := filepath.Join(dir, openingFile)
	b, _ := os.ReadFile(name) // none is 0
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	_ = os.WriteFile(name, []byte(strconv.Itoa(n+1)), 0o600) // a folder that cannot be written fails below
	return n
}

func opened(dir string) { _ = os.Remove(filepath.Join(dir, openingFile)) }
