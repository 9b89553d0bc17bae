package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// folderLock keeps a second daemon out of the folder. The kernel lets go of it when the process ends, however it does.
type folderLock struct{ f *os.File }

// lockFolder takes the lock; ErrLocked when another process has it.
func lockFolder(dir string) (*folderLock, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(name) // only to say who; without it the message is shorter
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w (process %s); stop it, or give this one a state folder of its own",
				dir, ErrLocked, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("%s: cannot be locked: %w", name, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // for people; the lock is what counts
	}
	return &folderLock{f}, nil
}

// unused gives an error while some process has Badger open in dir: it holds a lock on the folder itself.
func unused(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another process has the store open: %w", dir, err)
	}
	return nil
}

// awaitLock tries again for a while what failed because another process holds a lock: one that was killed holds its own
// until the kernel has taken it apart, and one that looked at the store on its behalf may outlive it.
func awaitLock[T any](most time.Duration, try func() (T, error)) (T, error) {
	look := time.NewTicker(lockLook)
	defer look.Stop()
	for deadline := time.Now().Add(most); ; <-look.C {
		got, err := try()
		held := err != nil && (errors.Is(err, ErrLocked) || strings.Contains(err.Error(), unix.EWOULDBLOCK.Error()))
		if !held || time.Now().After(deadline) {
			return got, err
		}
	}
}

// lockLook is the time between two looks at a lock that somebody holds.
const lockLook = 50 * time.Millisecond

func (l *folderLock) release() { l.f.Close() }

// free gives the bytes that the file system of dir has for us.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func (s *Store) freeBytes() int64 {
	if s.opt.Dir == "" {
		return 0
	}
	n, err := free(s.opt.Dir)
	if err != nil {
		return 0
	}
	return n
}

// usage sums what the files below dir take on the disk, which is less than their length where they have holes.
func usage(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away under us: Badger removes tables at any time
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

const ballastFile = "ballast"

// ballast is how much disk is kept occupied, to be let go when everything else is full: Badger dies of a full disk
// (its files are mapped, and a write into a hole that finds no block is a SIGBUS), and could not even be opened again.
func (o *Options) ballast() int64 { return min(16<<20, o.Limit/16) }

// overhead is what the folder may take beyond what the store counts on: write-ahead logs, and a compaction's copies.
func (o *Options) overhead() int64 { return min(16<<20, o.Limit/2) }

// soft is the size from which old buckets are given up.
func (o *Options) soft() int64 { return o.Limit - o.overhead() }

// takeBallast puts the ballast in place when there is ample room.
func (s *Store) takeBallast() {
	name := filepath.Join(s.opt.Dir, ballastFile)
	size := s.opt.ballast()
	if info, err := os.Stat(name); err == nil && info.Size() >= size {
		return
	}
	if n, err := free(s.opt.Dir); err != nil || n < 2*size+s.opt.Reserve {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		s.opt.Log.Debug("no ballast", "err", err) // file systems without fallocate do without
		_ = os.Remove(name)
	}
}

// dropBallast lets the ballast go.
func (s *Store) dropBallast() {
	if err := os.Remove(filepath.Join(s.opt.Dir, ballastFile)); err == nil {
		s.opt.Log.Warn("the disk is full: the store's ballast is let go")
	}
}

// slack is how much more than the reserve must be free before a store that was full is used again.
const slack = 4 << 20

// noWrite says that the store writes nothing: because there is no room, or because the disk is read-only.
type noWrite struct {
	text     string
	readOnly bool
}

func (e *noWrite) Error() string { return e.text }

// diskFit says whether the disk may be written: not below the watermark, where Badger would die rather than fail.
func (s *Store) diskFit() error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.opt.Dir, &st); err != nil {
		return err
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return &noWrite{"the disk is mounted read-only", true}
	}
	if n := int64(st.Bavail) * int64(st.Bsize); n < s.opt.Reserve {
		return &noWrite{text: fmt.Sprintf("the disk is full: %d MiB are free, and the last %d MiB are left alone", n>>20, s.opt.Reserve>>20)}
	}
	return nil
}

// room says whether a commit may be made.
func (s *Store) room() error {
	if err := s.diskFit(); err != nil {
		return err
	}
	s.mu.Lock()
	disk := s.disk
	s.mu.Unlock()
	if disk > s.opt.Limit-s.opt.overhead()/2 {
		return &noWrite{text: fmt.Sprintf("the store has reached its limit: %d of %d MiB", disk>>20, s.opt.Limit>>20)}
	}
	return nil
}
