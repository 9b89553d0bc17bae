package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Badger syncs two files for each transaction: its log, and its value log, in which nothing ever stands here (see
// badgerOptions). Where the value log is a file in memory that second sync costs nothing, and whether the folder
// survives is all the same: Badger begins a new value log when there is none.

// scratchNeeds is the free space, in bytes, of a file system in memory on which the value log is made: its head, and the
// list of discarded values. A mapped page that the file system has no room for ends the process.
const scratchNeeds = 4 << 20

// prepareScratch makes or empties the folder, when it is in memory, and takes away the value log of a store that had none.
func prepareScratch(scratch, dir string) error {
	within := filepath.Dir(scratch)
	var fs unix.Statfs_t
	if err := unix.Statfs(within, &fs); err != nil {
		return fmt.Errorf("%s: %w", within, err)
	}
	if fs.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is not in memory", within)
	}
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if room, err := free(within); err != nil || room < scratchNeeds {
		return fmt.Errorf("%s has room for %d KiB, and %d are needed (%v)", within, room>>10, scratchNeeds>>10, err)
	}
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return err
	}
	stale, _ := filepath.Glob(filepath.Join(dir, "*.vlog")) // the pattern is well formed
	var errs []error
	for _, name := range append(stale, filepath.Join(dir, "DISCARD")) {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
