// Package volume gives tests small file systems of their own: to be filled to the last byte, to go read-only under those
// who write, to be repaired.
//
// It promises that a volume is seen by the test's own process and its children alone, and that nothing of it is left
// when that process ends, however it ends: it lives in a mount namespace, and its loop device goes with it. A test needs
// root for it, and is skipped with a message where it does not have it.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside is the variable that tells a test that it has a mount namespace of its own.
const inside = "TESTBENCH_OWN_MOUNTS"

// Own runs the calling test again in a process with a mount namespace of its own. It says true there, and false to the
// caller outside, for whom the test is over: passed, failed or skipped as it was inside.
//
//	if !volume.Own(t) {
//		return
//	}
//
// known are words which, when all of them stand in the output of a process that died, tell of an end that is known and
// documented: the test runs again then, three times at most, and says so.
func Own(t *testing.T, known ...string) bool {
	t.Helper()
	if Inside() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system of its own")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run", "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$", "-test.v"}
	for _, a := range os.Args[1:] {
		if !strings.HasPrefix(a, "-test.") {
			args = append(args, a)
		}
	}
	if end, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout", fmt.Sprint(max(time.Until(end)-2*time.Second, time.Second)))
	}
	runtime.LockOSThread() // what ends the child is the end of the thread that began it
	defer runtime.UnlockOSThread()
	var out []byte
	for try := 1; ; try++ {
		cmd := exec.Command(self, args...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err = cmd.CombinedOutput()
		if err == nil || try == 3 || !containsAll(string(out), known) {
			break
		}
		t.Logf("it ended as is known that it may (%s); once more", strings.Join(known, ", "))
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("may not have a mount namespace of its own: ", err)
	case err != nil && !errors.As(err, &exit):
		t.Fatal(err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("the test did not run\n%s", out)
	}
	t.Logf("%s", out)
	return false
}

// containsAll says whether there are words, and all of them stand in the text.
func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return len(words) > 0
}

// Within runs this very program again, with the given arguments, in a mount namespace of its own. Inside is true there.
func Within(ctx context.Context, out io.Writer, args ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to mount a file system of its own")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // as in Own
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// Inside says that this process has a mount namespace of its own.
func Inside() bool { return os.Getenv(inside) != "" }

// Volume is a mounted file system.
type Volume struct {
	Dir    string // where it is mounted
	image  string
	device string // "loop3"
}

// errNoLoop says that this machine mounts no loop device.
var errNoLoop = errors.New("cannot mount a loop device here")

// New makes an ext4 with a journal, which stops writing at its first error, in a file below folder, and mounts it there
// on a loop device. size is in bytes. Close unmounts it.
func New(folder string, size int64) (*Volume, error) {
	v := &Volume{Dir: filepath.Join(folder, "mounted"), image: filepath.Join(folder, "image")}
	err := os.Mkdir(v.Dir, 0o700)
	if err == nil {
		err = os.WriteFile(v.image, nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(v.image, size)
	}
	if err == nil {
		err = run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", v.image) // the kernel would go on writing
	}
	if err == nil {
		err = v.mount()
	}
	return v, err
}

// Close unmounts it; what is still open there keeps it until it is closed.
func (v *Volume) Close() { _ = unix.Unmount(v.Dir, unix.MNT_DETACH) }

// Sync brings everything that was written to the volume to its device.
func (v *Volume) Sync() error {
	f, err := os.Open(v.Dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// Written tells the bytes that were written to the device since it was made.
func (v *Volume) Written() (int64, error) {
	text, err := os.ReadFile("/sys/block/" + v.device + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		return 0, fmt.Errorf("%s: %q", v.device, text)
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64) // Documentation/block/stat.rst: sectors of 512 bytes
	return sectors * 512, err
}

// Ext4 is New for a test: it skips the test where this machine cannot do it, and closes the volume with it.
func Ext4(t *testing.T, size int64) *Volume {
	t.Helper()
	for _, program := range []string{"mkfs.ext4", "e2fsck", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: install e2fsprogs and mount", program)
		}
	}
	v, err := New(t.TempDir(), size)
	if errors.Is(err, errNoLoop) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func (v *Volume) mount() error {
	if out, err := exec.Command("mount", "-o", "loop,errors=remount-ro", v.image, v.Dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w: %s", errNoLoop, err, out)
	}
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == v.Dir {
			v.device = filepath.Base(f[0])
		}
	}
	if v.device == "" {
		return fmt.Errorf("%s is mounted, and not listed under that name", v.Dir)
	}
	return nil
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// hog is the file that fills a volume.
const hog = "hog"

// Fill writes to the volume, in pieces of so many bytes, until nothing more goes in. The last 64 MiB are filled at a pace
// of so many bytes a second, as slow as flash is and not as fast as memory; 0 is as fast as it goes.
func (v *Volume) Fill(piece int, pace int64) error {
	f, err := os.OpenFile(filepath.Join(v.Dir, hog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for b := make([]byte, piece); ; {
		var st unix.Statfs_t
		if pace > 0 && unix.Statfs(v.Dir, &st) == nil && int64(st.Bavail)*int64(st.Bsize) < 64<<20 {
			time.Sleep(time.Duration(int64(len(b)) * int64(time.Second) / pace))
		}
		_, err := f.Write(b)
		if err == nil {
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		if len(b) < 512 {
			return nil
		}
		b = b[:len(b)/2]
	}
}

// Empty removes what Fill wrote.
func (v *Volume) Empty() error { return os.Remove(filepath.Join(v.Dir, hog)) }

// Break lets the kernel find an error in the file system: from here on it writes nothing to it any more, as it does
// where a flash chip fails. A test on a kernel that offers no such error is skipped.
func (v *Volume) Break(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("/sys/fs/ext4", v.device, "trigger_fs_error"), []byte("a test\n"), 0o200); err != nil {
		t.Skip("this kernel offers no error for tests: ", err)
	}
}

// Repair takes the broken file system away, checks it, and mounts it at the same place again.
func (v *Volume) Repair() error {
	v.Close()
	// The kernel keeps the broken one, and would give it again for the same image, as long as somebody has a file of it
	// open. A copy is what the disk would hold after a new start.
	healthy := v.image + "-repaired"
	if err := run("cp", "--sparse=always", v.image, healthy); err != nil {
		return err
	}
	v.image = healthy
	var exit *exec.ExitError
	if err := run("e2fsck", "-f", "-y", v.image); err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 2) {
		return err // 1 and 2: errors were found and corrected
	}
	return v.mount()
}
