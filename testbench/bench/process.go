// Package bench measures the real daemon under a steady load, beside the least that the same work can cost on this
// machine in the same run.
//
// It promises that every figure was measured in this run. A caller may not assume that figures of two runs compare:
// ratios do, times depend on the machine.
package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu     time.Duration
	peak    int64 // bytes of resident memory, the most that it ever was
	anon    int64 // bytes of it that are the process's own
	written int64 // bytes that it caused to be written to storage
}

// clockTick is the unit of /proc/PID/stat's times: USER_HZ is 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

func usageOf(pid int) (usage, error) {
	var u usage
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	// The fields behind the name, which stands in brackets and may hold anything: utime and stime are the 12th and 13th.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat: %q", dir, stat)
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	u.peak, u.anon = field(status, "VmHWM")<<10, field(status, "RssAnon")<<10
	io, err := os.ReadFile(dir + "/io")
	if err != nil {
		return u, err
	}
	u.written = field(io, "write_bytes")
	return u, nil
}

// field gives the number behind a name in a file of /proc.
func field(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
