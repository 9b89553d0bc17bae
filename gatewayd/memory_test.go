package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryIsWhatTheMachineHasOrIsGranted(t *testing.T) {
	const meminfo = "MemTotal:         248000 kB\nMemFree:          100 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"the machine", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n"}, 248000 << 10},
		{"a service with a limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/gatewayd.service\n",
			"sys/fs/cgroup/system.slice/gatewayd.service/memory.max": "67108864\n", "sys/fs/cgroup/system.slice/memory.max": "max\n"}, 64 << 20},
		{"a limit above it", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "100000000\n"}, 100000000},
		{"version 1", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:cpu:/x\n9:memory:/y\n0::/\n",
			"sys/fs/cgroup/memory/y/memory.limit_in_bytes": "50000000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 50000000},
		{"nothing known", nil, math.MaxInt64},
		{"nonsense", map[string]string{"proc/meminfo": "MemTotal:\nMemTotal: -3 kB\n", "proc/self/cgroup": "::\nx\n"}, math.MaxInt64},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range c.files {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := machineMemory(root); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
	if here := machineMemory("/"); here < 16<<20 {
		t.Errorf("this machine has %d", here)
	}
}

func TestSizesScale(t *testing.T) {
	for _, c := range []struct{ machine, heap, head int64 }{
		{32 << 20, 20 << 20, 2 << 20},
		{64 << 20, 64 << 20 / 3, 2 << 20},
		{256 << 20, 256 << 20 / 3, 8 << 20},
		{1 << 30, 96 << 20, 16 << 20},
		{math.MaxInt64, 96 << 20, 16 << 20},
	} {
		if got := sizesFor(c.machine); got != (sizes{c.heap, c.head}) {
			t.Errorf("%d: %+v", c.machine, got)
		}
	}
}
