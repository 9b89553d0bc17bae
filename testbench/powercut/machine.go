//go:build linux && (amd64 || arm64)

package powercut

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Missing tells what the machine needs and this computer has not; "" when it has all.
func Missing() string {
	switch {
	case os.Geteuid() != 0:
		return "root: mounts are made"
	case unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) != nil:
		return "/dev/fuse: load the kernel's module fuse, or give the container that device"
	case unix.Access("/dev/loop-control", unix.R_OK|unix.W_OK) != nil:
		return "loop devices: load the kernel's module loop, or give the container those devices"
	}
	for program, pkg := range map[string]string{"losetup": "mount", "mkfs.ext4": "e2fsprogs"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("%s, in /usr/sbin on the path: apt-get install %s", program, pkg)
		}
	}
	if err := Inside("true").Run(); err != nil {
		return "a mount namespace of its own, which is not allowed here: " + err.Error()
	}
	return ""
}

// Inside prepares a command in a mount namespace of its own, which the kernel takes down with the last process in it:
// what is mounted there leaves nothing behind, however it ends.
func Inside(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Format gives the image of a disk of so many bytes with an empty ext4. It needs a folder to work in.
func Format(dir string, size int64) ([]byte, error) {
	name := filepath.Join(dir, "new")
	defer os.Remove(name)
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(name, size); err != nil {
		return nil, err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", name).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return os.ReadFile(name)
}

// Machine is a disk with power, its file system mounted.
type Machine struct {
	Disk   *Disk
	Folder string // where the file system is mounted
	Memory string // where a file system in memory is mounted, empty after every cut

	serving string // where the FUSE file system is
	server  *fuse.Server
}

// PowerOn starts a machine whose disk holds the image. It makes its mounts below dir.
func PowerOn(dir string, image []byte) (m *Machine, err error) {
	m = &Machine{Disk: NewDisk(image), Folder: filepath.Join(dir, "root"), Memory: filepath.Join(dir, "run"), serving: filepath.Join(dir, "device")}
	for _, d := range []string{m.Folder, m.Memory, m.serving} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	m.server, err = fs.Mount(m.serving, &folder{disk: m.Disk}, &fs.Options{
		MountOptions: fuse.MountOptions{FsName: "powercut", DirectMountStrict: true, MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, fmt.Errorf("the disk cannot be mounted: %w", err)
	}
	if err := m.mount(); err != nil {
		return nil, errors.Join(err, m.server.Unmount())
	}
	if err := unix.Mount("tmpfs", m.Memory, "tmpfs", 0, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", m.Memory, err), m.Off())
	}
	return m, nil
}

// mount puts a loop device over the disk and mounts it. The device goes when nobody uses it any more.
func (m *Machine) mount() error {
	out, err := exec.Command("losetup", "--find", "--show", filepath.Join(m.serving, diskFile)).CombinedOutput()
	device := strings.TrimSpace(string(out))
	if err != nil {
		return fmt.Errorf("losetup: %w: %s", err, device)
	}
	err = unix.Mount(device, m.Folder, "ext4", 0, "")
	if out, e := exec.Command("losetup", "--detach", device).CombinedOutput(); e != nil {
		err = errors.Join(err, fmt.Errorf("losetup: %w: %s", e, out))
	}
	if err != nil {
		return fmt.Errorf("%s as ext4: %w", device, err)
	}
	return nil
}

// Off takes down what the machine mounted. Processes that used it must have ended.
func (m *Machine) Off() error {
	err := patiently(func() error { return unix.Unmount(m.Folder, 0) })
	memory := patiently(func() error { return unix.Unmount(m.Memory, 0) })
	if errors.Is(memory, unix.EINVAL) {
		memory = nil // it is not mounted
	}
	return errors.Join(err, memory, patiently(m.server.Unmount))
}

// patiently repeats what fails while the kernel still lets go of something.
func patiently(do func() error) (err error) {
	for wait := time.Millisecond; wait < 10*time.Second; wait *= 2 {
		if err = do(); err == nil || errors.Is(err, unix.EINVAL) {
			return err
		}
		<-time.After(wait)
	}
	return err
}

// WithoutSyncing makes every sync of this process succeed and do nothing from now on. It is for the control: what the
// store promises must then be broken, or the machine proves nothing.
func WithoutSyncing() error {
	var program []unix.SockFilter
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS} // the number of the call
	program = append(program, load)
	calls := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_SYNCFS}
	for i, call := range calls {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jt: uint8(len(calls) - i)})
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return seccomp(program)
}
