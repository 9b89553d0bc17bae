package appliance

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed kernel.sh
var kernelHook string

// suite is the Debian release of the machines.
const suite = "bookworm"

// packages are what a machine has beside Debian's base.
var packages = []string{"systemd", "systemd-sysv", "udev", "dbus", "polkitd", "kmod", "bluez", "bluez-test-tools"}

// ErrMissing says what must be installed here, or that the test's user may not do what it needs.
var ErrMissing = errors.New("the appliance test cannot run here")

// need tells which programs are missing, in the words of who could install them.
func need(programs map[string]string) error {
	var missing []string
	for program, debian := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if _, err := os.Stat("/usr/sbin/" + program); err != nil {
				missing = append(missing, debian)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: apt-get install %s (.ci/run does that)", ErrMissing, strings.Join(missing, " "))
	}
	return nil
}

// Folder is where images are kept between runs: $GATEWAYD_APPLIANCE_CACHE, or gatewayd-appliance in the user's cache.
func Folder() (string, error) {
	dir := os.Getenv("GATEWAYD_APPLIANCE_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "gatewayd-appliance")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// Rootfs gives the tar file of a Debian for the architecture ("amd64", "arm64"), built with mmdebstrap when there is
// none yet: about two minutes, and many more for a foreign one. ErrMissing when that cannot be done here.
func Rootfs(ctx context.Context, arch string) (string, error) {
	key := sha256.Sum256([]byte(suite + strings.Join(packages, ",") + kernelHook))
	return cached(fmt.Sprintf("rootfs-%s-%x.tar", arch, key[:6]), func(path string) error {
		if err := need(map[string]string{"mmdebstrap": "mmdebstrap", "arch-test": "arch-test", "depmod": "kmod"}); err != nil {
			return err
		}
		if os.Geteuid() != 0 {
			return fmt.Errorf("%w: only root may build the image", ErrMissing)
		}
		work, err := os.MkdirTemp("", "gatewayd-rootfs-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		hook := filepath.Join(work, "kernel.sh")
		if err := os.WriteFile(hook, []byte(kernelHook), 0o755); err != nil {
			return err
		}
		// The tar's name must end in .tar: that is how mmdebstrap knows what to make.
		made := filepath.Join(work, "rootfs.tar")
		if err := run(ctx, "mmdebstrap", "--quiet", "--variant=minbase", "--architectures="+arch,
			"--include="+strings.Join(packages, ","), fmt.Sprintf(`--customize-hook=%s "$1" %s`, hook, arch), suite, made); err != nil {
			return fmt.Errorf("%w: no Debian image could be built: %w", ErrMissing, err)
		}
		return run(ctx, "cp", made, path)
	})
}

// cached gives the file of that name in Folder, made if it is not there. What is made appears whole or not at all, and
// one process makes it while others wait.
func cached(name string, build func(path string) error) (string, error) {
	dir, err := Folder()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	made := path + ".new"
	defer os.Remove(made)
	if err := build(made); err != nil {
		return "", err
	}
	return path, os.Rename(made, path)
}

// run runs a command to its end; the error carries what it said. It does not outlive this process, nor the context.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
