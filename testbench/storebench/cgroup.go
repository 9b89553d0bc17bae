package storebench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

var errNoCgroup = errors.New("no memory cgroup can be made here")

// cgroup is a memory cgroup of version 1 or 2.
type cgroup struct {
	dir string
	v2  bool
}

// newCgroup makes one in which at most limit bytes are used, pages of files included.
func newCgroup(limit int64) (*cgroup, error) {
	name := fmt.Sprintf("gatewayd-bench-%d", os.Getpid())
	for _, c := range []*cgroup{{"/sys/fs/cgroup/memory/" + name, false}, {"/sys/fs/cgroup/" + name, true}} {
		if os.Mkdir(c.dir, 0o700) != nil {
			continue
		}
		file := "memory.limit_in_bytes"
		if c.v2 {
			file = "memory.max"
		}
		if err := c.write(file, limit); err == nil {
			return c, nil
		}
		c.remove()
	}
	return nil, errNoCgroup
}

func (c *cgroup) write(file string, n int64) error {
	return os.WriteFile(filepath.Join(c.dir, file), []byte(strconv.FormatInt(n, 10)), 0o600)
}

func (c *cgroup) read(file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, file))
	return strings.TrimSpace(string(b)), err
}

func (c *cgroup) add(pid int) error { return c.write("cgroup.procs", int64(pid)) }

func (c *cgroup) remove() { _ = os.Remove(c.dir) } // the kernel refuses while a process is in it

// counts tells the most that was used, and how often the limit was hit, which includes the times when pages of files
// were given back for it.
func (c *cgroup) counts() (most, hits int64, err error) {
	peak, count := "memory.max_usage_in_bytes", "memory.failcnt"
	if c.v2 {
		peak, count = "memory.peak", "memory.events"
	}
	a, err := c.read(peak)
	if err != nil {
		return 0, 0, err
	}
	b, err := c.read(count)
	if err != nil {
		return 0, 0, err
	}
	if c.v2 {
		for line := range strings.Lines(b) {
			if rest, ok := strings.CutPrefix(line, "max "); ok {
				b = strings.TrimSpace(rest)
			}
		}
	}
	most, err = strconv.ParseInt(a, 10, 64)
	if err == nil {
		hits, err = strconv.ParseInt(b, 10, 64)
	}
	return most, hits, err
}
