// Package volume gives tests small file systems of their own: to be filled to the last byte, to go read-only under those
// who write, to be repaired.
//
// It promises that a volume is seen by the test's own process and its children alone, and that nothing of it is left
// when that process ends, however it ends: it lives in a mount namespace, and its loop device goes with it. A test needs
// root for it, and is skipped with a message where it does not have it.
package volume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
func Own(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
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
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
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

// Volume is a mounted file system.
type Volume struct {
	Dir    string // where it is mounted
	t      *testing.T
	image  string
	device string // "loop3"
}

// Ext4 makes an ext4 with a journal, which stops writing at its first error, on a loop device. size is in bytes.
func Ext4(t *testing.T, size int64) *Volume {
	t.Helper()
	for _, program := range []string{"mkfs.ext4", "e2fsck", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: install e2fsprogs and mount", program)
		}
	}
	v := &Volume{Dir: t.TempDir(), image: filepath.Join(t.TempDir(), "image"), t: t}
	if err := os.WriteFile(v.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.image, size); err != nil {
		t.Fatal(err)
	}
	v.run("mkfs.ext4", "-q", "-F", "-m", "0", v.image)
	if out, err := v.mount(); err != nil {
		t.Skipf("cannot mount a loop device here: %v: %s", err, out)
	}
	t.Cleanup(v.unmount)
	return v
}

func (v *Volume) mount() ([]byte, error) {
	out, err := exec.Command("mount", "-o", "loop,errors=remount-ro", v.image, v.Dir).CombinedOutput()
	if err == nil {
		v.device = v.find()
	}
	return out, err
}

func (v *Volume) unmount() { _ = unix.Unmount(v.Dir, unix.MNT_DETACH) } // what is still open keeps it until it is closed

// find reads which device is mounted at Dir.
func (v *Volume) find() string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		v.t.Fatal(err)
	}
	device := ""
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == v.Dir {
			device = filepath.Base(f[0])
		}
	}
	return device
}

func (v *Volume) run(name string, args ...string) {
	v.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		v.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// hog is the file that fills a volume.
const hog = "hog"

// Fill writes to the volume, in pieces of so many bytes, until nothing more goes in.
func (v *Volume) Fill(piece int) {
	f, err := os.OpenFile(filepath.Join(v.Dir, hog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		v.t.Error(err)
		return
	}
	defer f.Close()
	for b := make([]byte, piece); ; {
		if _, err = f.Write(b); err != nil {
			if piece /= 2; piece < 512 || !errors.Is(err, syscall.ENOSPC) {
				break
			}
			b = b[:piece]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		v.t.Error(err)
	}
}

// Empty removes what Fill wrote.
func (v *Volume) Empty() {
	if err := os.Remove(filepath.Join(v.Dir, hog)); err != nil {
		v.t.Error(err)
	}
}

// Break lets the kernel find an error in the file system: from here on it writes nothing to it any more, as it does
// where a flash chip fails.
func (v *Volume) Break() {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join("/sys/fs/ext4", v.device, "trigger_fs_error"), []byte("a test\n"), 0o200); err != nil {
		v.t.Skip("this kernel offers no error for tests: ", err)
	}
}

// Repair takes the broken file system away, checks it, and mounts it at the same place again.
func (v *Volume) Repair() {
	v.t.Helper()
	v.unmount()
	// The kernel keeps the broken one, and would give it again for the same image, as long as somebody has a file of it
	// open. A copy is what the disk would hold after a new start.
	healthy := v.image + "-repaired"
	v.run("cp", "--sparse=always", v.image, healthy)
	v.image = healthy
	if out, err := exec.Command("e2fsck", "-f", "-y", v.image).CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 2 { // 1 and 2: errors were found and corrected
			v.t.Fatalf("e2fsck: %v\n%s", err, out)
		}
	}
	if out, err := v.mount(); err != nil {
		v.t.Fatalf("%v: %s", err, out)
	}
}
