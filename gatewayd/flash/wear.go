// Package flash tells what the daemon and the whole box write to the flash, and how worn the kernel says that it is.
//
// It promises that what cannot be known is zero or empty and never a guess: many flash chips, every SD card among them,
// tell nothing of their wear. A caller may not assume that a figure of a device is the daemon's own doing.
package flash

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Wear is what the kernel shows of the device that a folder is on.
type Wear struct {
	Device  string  // "mmcblk0", "sda", "nvme0n1"; "" when the folder is on none that the kernel knows
	Used    float64 // share of its life that is used up, 0 to 1.1, in steps of a tenth, rounded up; 0 when it does not tell
	Reserve string  // of its spare blocks: "normal", "80 % used", "90 % used"; "" when it does not tell
	Written int64   // bytes that the whole box wrote to it since it booted
}

// Look finds the device under a folder. sysfs is where that is mounted: "/sys".
func Look(dir, sysfs string) (Wear, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return Wear{}, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return look(sysfs, unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
}

func look(sysfs string, major, minor uint32) (Wear, error) {
	// /sys/dev/block/179:2 leads to …/mmcblk0/mmcblk0p2; a partition's folder says which one it is, and stands in its
	// disk's.
	disk, err := filepath.EvalSymlinks(filepath.Join(sysfs, "dev", "block", fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return Wear{}, nil // on no block device: in memory, on a network, on raw flash
	}
	if _, err := os.Stat(filepath.Join(disk, "partition")); err == nil {
		disk = filepath.Dir(disk)
	}
	w := Wear{Device: filepath.Base(disk), Written: written(filepath.Join(disk, "stat"))}
	// eMMC (JESD84-B51, DEVICE_LIFE_TIME_EST_TYP_A and _B): "0x02 0x01", tenths for the two kinds of cells.
	for i, s := range strings.Fields(text(disk, "device", "life_time")) {
		if i < 2 {
			w.Used = max(w.Used, tenths(s))
		}
	}
	w.Reserve = reserve(text(disk, "device", "pre_eol_info"))
	// UFS (JESD220, the device health descriptor) has the same in a folder of its host, which is some levels up.
	up, err := filepath.EvalSymlinks(filepath.Join(disk, "device"))
	for range 4 {
		if err != nil || w.Reserve != "" {
			break
		}
		for _, name := range []string{"life_time_estimation_a", "life_time_estimation_b"} {
			w.Used = max(w.Used, tenths(text(up, "health_descriptor", name)))
		}
		w.Reserve = reserve(text(up, "health_descriptor", "eol_info"))
		up = filepath.Dir(up)
	}
	return w, nil
}

func text(elem ...string) string {
	b, _ := os.ReadFile(filepath.Join(elem...)) // what is not there is not told
	return strings.TrimSpace(string(b))
}

// tenths reads an estimate of life: 1 is up to a tenth used, 10 up to all of it, 11 beyond; 0 is not defined.
func tenths(s string) float64 {
	n, err := strconv.ParseUint(s, 0, 8)
	if err != nil || n > 11 {
		return 0
	}
	return float64(n) / 10
}

// reserve reads the state of the spare blocks.
func reserve(s string) string {
	n, err := strconv.ParseUint(s, 0, 8)
	if err != nil || n >= 4 {
		return ""
	}
	return [...]string{"", "normal", "80 % used", "90 % used"}[n]
}

// written reads the sectors written, of 512 bytes each whatever the device's own are: the 7th figure of
// Documentation/block/stat.rst.
func written(name string) int64 {
	f := strings.Fields(text(name))
	if len(f) < 7 {
		return 0
	}
	n, _ := strconv.ParseInt(f[6], 10, 64)
	return n * 512
}

// Own gives the bytes that this process caused to be written to storage; 0 where the kernel does not tell.
func Own() int64 {
	for line := range strings.Lines(text("/proc/self/io")) {
		if rest, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}
