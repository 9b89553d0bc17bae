package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// sizes are what the daemon grants itself of the machine's memory.
type sizes struct {
	heap int64 // at which the collector works harder: pages of code and of mapped files come on top
	head int64 // of records that are not on flash
}

// sizesFor scales with the machine: a third of it, and no more than 96 MiB, which is enough for ten thousand tags a second.
// 64 MB give 21 and 2 MiB, 256 MB give 85 and 8, 1 GB and more give 96 and 16.
func sizesFor(machine int64) sizes {
	return sizes{
		heap: min(max(machine/3, 20<<20), 96<<20),
		head: min(max(machine/32, 2<<20), 16<<20),
	}
}

// tuneMemory keeps the heap small: a gateway has other things to do with its memory. GOGC and GOMEMLIMIT, where they are
// set, are the operator's word.
func tuneMemory(s sizes) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(s.heap)
	}
}

// machineMemory is what the machine has, or what the service manager grants us of it, in bytes. root is "/".
func machineMemory(root string) int64 {
	least := int64(math.MaxInt64)
	for line := range strings.Lines(fileText(root, "proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if n, err := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64); err == nil && n > 0 {
				least = n << 10
			}
		}
	}
	for line := range strings.Lines(fileText(root, "proc/self/cgroup")) {
		// "0::/system.slice/gatewayd.service" of version 2, "9:memory:/system.slice" of version 1. What a group is granted
		// binds those below it.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if parts[1] == "memory" {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for group := parts[2]; ; group = filepath.Dir(group) {
			if n, err := strconv.ParseInt(fileText(root, base, group, file), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
			if group == "/" || group == "." {
				break
			}
		}
	}
	return least
}

func fileText(elem ...string) string {
	b, _ := os.ReadFile(filepath.Join(elem...)) // what is not there says nothing
	return strings.TrimSpace(string(b))
}
