package appliance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// masked are units that a test machine does without: each costs seconds without KVM.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
	"dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "modprobe@.service", "systemd-random-seed.service",
	"systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-timesyncd.service", "systemd-pstore.service",
	"systemd-logind.service", "getty.target", "serial-getty@.service", "e2scrub_reap.service", "systemd-networkd.service",
	"systemd-boot-update.service", "keyboard-setup.service", "console-setup.service", "systemd-binfmt.service",
}

// files are laid over the image.
var files = map[string]string{
	"etc/hostname":   "appliance\n",
	"etc/hosts":      "127.0.0.1 localhost\n127.0.1.1 appliance\n",
	"etc/fstab":      "",
	"etc/machine-id": "5f1c0ffee0000000000000000000a11c\n",
	"etc/systemd/system/guest-agent.service": `[Unit]
Description=The test's hand
DefaultDependencies=no
After=systemd-tmpfiles-setup.service dbus.service
[Service]
ExecStart=/run/guest agent
Restart=always
[Install]
WantedBy=multi-user.target
`,
	"etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=persistent\nSyncIntervalSec=10s\n",
}

// diskSize is the size of a machine's disk; most of it is a hole in the file.
const diskSize = "1500M"

// baseDisk gives the ext4 image that every machine of the architecture begins with, and its kernel, built from Rootfs
// once.
func baseDisk(ctx context.Context, arch string) (image, kernel string, err error) {
	rootfs, err := Rootfs(ctx, arch)
	if err != nil {
		return "", "", err
	}
	var recipe strings.Builder
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		recipe.WriteString(name + "\n" + files[name])
	}
	key := sha256.Sum256([]byte(filepath.Base(rootfs) + diskSize + strings.Join(masked, ",") + recipe.String()))
	name := fmt.Sprintf("disk-%s-%x", arch, key[:6])
	image, err = cached(name+".ext4", func(path string) error {
		if err := need(map[string]string{"mke2fs": "e2fsprogs", "tar": "tar"}); err != nil {
			return err
		}
		tree, err := os.MkdirTemp("", "gatewayd-disk-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tree)
		if err := run(ctx, "tar", "-C", tree, "--numeric-owner", "-xf", rootfs); err != nil {
			return err
		}
		if err := lay(tree); err != nil {
			return err
		}
		return run(ctx, "mke2fs", "-q", "-t", "ext4", "-d", tree, path, diskSize)
	})
	if err != nil {
		return "", "", err
	}
	kernel, err = cached(name+".vmlinuz", func(path string) error {
		out, err := exec.CommandContext(ctx, "tar", "-xOf", rootfs, "./boot/vmlinuz").Output()
		if err != nil {
			return fmt.Errorf("the image has no kernel: %w", err)
		}
		return os.WriteFile(path, out, 0o644)
	})
	return image, kernel, err
}

// lay puts masks, files and the agent's unit into the tree of an image.
func lay(tree string) error {
	system := filepath.Join(tree, "etc/systemd/system")
	links := map[string]string{"multi-user.target.wants/guest-agent.service": "/etc/systemd/system/guest-agent.service"}
	for _, unit := range masked {
		links[unit] = "/dev/null"
	}
	for name, to := range links {
		path := filepath.Join(system, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(to, path); err != nil {
			return err
		}
	}
	for name, text := range files {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(tree, "var/log/journal"), 0o755)
}

// initrd makes the initramfs: the guest program as /init, and the drivers that reach the disk and the network.
func initrd(ctx context.Context, arch, rootfs, dir string) (string, error) {
	if err := need(map[string]string{"cpio": "cpio", "tar": "tar"}); err != nil {
		return "", err
	}
	tree := filepath.Join(dir, "initramfs")
	if err := os.MkdirAll(filepath.Join(tree, "modules"), 0o755); err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(tree, "init"),
		"edgegateway/testbench/appliance/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the guest program does not build: %w\n%s", err, out)
	}
	// ./usr/lib/modules/VERSION/…: everything that the image has is little enough.
	if err := run(ctx, "tar", "-C", filepath.Join(tree, "modules"), "--strip-components=5", "--wildcards", "-xf", rootfs, "./usr/lib/modules/*"); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "initrd")
	pack := exec.CommandContext(ctx, "sh", "-c", `find . | cpio -o -H newc --quiet > "$1"`, "sh", path)
	pack.Dir = tree
	if out, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cpio: %w\n%s", err, out)
	}
	return path, os.RemoveAll(tree)
}
