package update

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dpkg is Debian's package manager.
type Dpkg struct {
	Root  string   // "" for the machine; else the root of another tree
	Flags []string // more for each call of dpkg; for tests
}

const (
	lockPatience = 5 * time.Minute // for another dpkg to end
	lockEvery    = 5 * time.Second
	errorLength  = 900
	roomFactor   = 3 // old files, new files, and dpkg's own copies
)

// Arch names the machine's architecture.
func (d Dpkg) Arch(ctx context.Context) (string, error) {
	out, err := d.run(ctx, "dpkg", "--print-architecture")
	return strings.TrimSpace(out), err
}

// Inspect reads a package's control data.
func (d Dpkg) Inspect(ctx context.Context, file string) (Info, error) {
	out, err := d.run(ctx, "dpkg-deb", "--show", "--showformat=${Package}\n${Version}\n${Architecture}\n", file)
	if err != nil {
		return Info{}, err
	}
	lines := strings.Split(out, "\n")
	if len(lines) < 3 {
		return Info{}, fmt.Errorf("dpkg-deb says %q", out)
	}
	return Info{lines[0], lines[1], lines[2]}, nil
}

// Installed asks dpkg's database.
func (d Dpkg) Installed(ctx context.Context, name string) (version string, whole bool, err error) {
	args := append(d.tree(), "--showformat=${Status}\t${Version}", "--show", name)
	out, err := d.run(ctx, "dpkg-query", args...)
	if err != nil {
		if strings.Contains(err.Error(), "no packages found") {
			return "", false, nil
		}
		return "", false, err
	}
	status, version, _ := strings.Cut(strings.TrimSpace(out), "\t")
	// A package on hold may be updated by hand, which this is.
	return version, strings.HasSuffix(status, " ok installed"), nil
}

// Newer compares as Debian does.
func (d Dpkg) Newer(ctx context.Context, a, b string) (bool, error) {
	_, err := d.run(ctx, "dpkg", "--compare-versions", a, "gt", b)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// Try looks for room, and asks dpkg and apt for dry runs.
func (d Dpkg) Try(ctx context.Context, file string) error {
	out, err := d.run(ctx, "dpkg-deb", "--show", "--showformat=${Installed-Size}", file)
	if err != nil {
		return err
	}
	usr := filepath.Join("/", d.Root, "usr")
	if kib, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64); err == nil {
		var fs unix.Statfs_t
		if err := unix.Statfs(usr, &fs); err == nil {
			if free := int64(fs.Bavail) * int64(fs.Bsize); free < roomFactor*kib<<10 {
				return fmt.Errorf("%s has %d KiB left, and %d are needed", usr, free>>10, roomFactor*kib)
			}
		}
	}
	if err := d.dpkg(ctx, "--no-act", "--install", file); err != nil || d.Root != "" {
		return err
	}
	// dpkg looks at dependencies only once it has unpacked; apt, where it is there, knows before.
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil
	}
	_, err = d.run(ctx, "apt-get", "--simulate", "--no-download", "-o", "Debug::NoLocking=true", "install", file)
	return err
}

// Install runs dpkg, and waits for another one to end. It keeps configuration files that the owner changed, and never
// asks.
func (d Dpkg) Install(ctx context.Context, file string) error {
	return d.dpkg(ctx, "--force-confold", "--install", file)
}

func (d Dpkg) dpkg(ctx context.Context, args ...string) error {
	args = append(append(d.tree(), d.Flags...), args...)
	for end := time.Now().Add(lockPatience); ; {
		_, err := d.run(ctx, "dpkg", args...)
		if err == nil || !strings.Contains(err.Error(), "locked by another") || time.Now().After(end) {
			return err
		}
		if !pause(ctx, lockEvery) {
			return ctx.Err()
		}
	}
}

func (d Dpkg) tree() []string {
	if d.Root == "" {
		return nil
	}
	return []string{"--root=" + d.Root}
}

// run runs one of dpkg's programs. What it complains about is part of the error.
func (d Dpkg) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		if program == "apt-get" {
			complaint.Write(out.Bytes()) // it tells what hinders it as if it were a result
		}
		text := strings.Join(strings.Fields(complaint.String()), " ")
		if len(text) > errorLength {
			text = text[:errorLength] + "…"
		}
		return out.String(), fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return out.String(), nil
}
