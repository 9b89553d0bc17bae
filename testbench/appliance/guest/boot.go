package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// root is where the disk is mounted before it becomes "/".
const root = "/root"

// boot runs as the first process, from the initramfs.
func boot() error {
	for dir, kind := range map[string]string{"/proc": "proc", "/dev": "devtmpfs"} {
		if err := mount(kind, dir, kind, 0); err != nil {
			return err
		}
	}
	deps, err := dependencies()
	if err != nil {
		return err
	}
	for _, module := range []string{"virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "crc32c_generic", "ext4"} {
		if err := load(deps, module); err != nil {
			return err
		}
	}
	if err := await("/dev/vda"); err != nil {
		return err
	}
	if err := mount("/dev/vda", root, "ext4", 0); err != nil {
		return err
	}
	if err := network(); err != nil {
		fmt.Println("guest: no network:", err) // the console is then the only witness
	}
	// systemd keeps a /run that is mounted already, and so what the first process leaves there.
	if err := mount("tmpfs", root+"/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV); err != nil {
		return err
	}
	if err := copyTo("/init", root+"/run/guest"); err != nil {
		return err
	}
	_ = unix.Unmount("/proc", 0) // systemd mounts its own
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return unix.Exec("/sbin/init", []string{"/sbin/init"}, []string{"PATH=/usr/sbin:/usr/bin", "TERM=linux"})
}

func mount(what, where, kind string, flags uintptr) error {
	if err := os.MkdirAll(where, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(what, where, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", what, where, err)
	}
	return nil
}

// dependencies reads modules.dep: a module's name → its file and those that it needs, the deepest last.
func dependencies() (map[string][]string, error) {
	names, err := filepath.Glob("/modules/modules.dep")
	if err != nil || len(names) == 0 {
		return nil, errors.New("the initramfs has no modules.dep")
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return nil, err
	}
	deps := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
		deps[name] = append([]string{file}, strings.Fields(needs)...)
	}
	return deps, nil
}

// load loads a module and what it needs. One that is not a file is built into the kernel.
func load(deps map[string][]string, name string) error {
	files := deps[name]
	for i := len(files) - 1; i >= 0; i-- {
		f, err := os.Open("/modules/" + files[i])
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", files[i], err)
		}
	}
	return nil
}

func await(path string) error {
	for range 3000 {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		<-time.After(10 * time.Millisecond) // the kernel makes the device when its driver is ready, and tells nobody who could be asked here
	}
	return fmt.Errorf("%s did not come in 30 s", path)
}

func copyTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
