package flash

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tree writes files below a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "dev/block"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWear(t *testing.T) {
	const (
		mmc  = "devices/platform/fe330000.mmc/mmc_host/mmc0/mmc0:0001/"
		ufs  = "devices/platform/1d84000.ufshc/host0/target0:0:0/0:0:0:0/"
		disk = "   1 2 3 4 5 6 2048 8 9 10 11\n"
	)
	for _, c := range []struct {
		name  string
		files map[string]string
		link  string // what 179:2 leads to
		dev   string // the disk's "device"
		want  Wear
	}{
		{"a partition of an eMMC", map[string]string{
			mmc + "life_time": "0x02 0x01\n", mmc + "pre_eol_info": "0x01\n",
			mmc + "block/mmcblk0/stat": disk, mmc + "block/mmcblk0/mmcblk0p2/partition": "2\n", mmc + "block/mmcblk0/mmcblk0p2/stat": "1 1 1 1 1 1 1 1\n",
		}, mmc + "block/mmcblk0/mmcblk0p2", mmc, Wear{"mmcblk0", 0.2, "normal", 1 << 20}},
		{"a worn out one", map[string]string{
			mmc + "life_time": "0x0a 0x0b\n", mmc + "pre_eol_info": "0x03\n", mmc + "block/mmcblk0/stat": disk,
		}, mmc + "block/mmcblk0", mmc, Wear{"mmcblk0", 1.1, "90 % used", 1 << 20}},
		{"an SD card tells nothing", map[string]string{
			mmc + "life_time": "0x00 0x00\n", mmc + "pre_eol_info": "0x00\n", mmc + "block/mmcblk1/stat": disk,
		}, mmc + "block/mmcblk1", mmc, Wear{"mmcblk1", 0, "", 1 << 20}},
		{"UFS", map[string]string{
			"devices/platform/1d84000.ufshc/health_descriptor/life_time_estimation_a": "0x03\n",
			"devices/platform/1d84000.ufshc/health_descriptor/eol_info":               "0x02\n",
			ufs + "block/sda/stat": disk,
		}, ufs + "block/sda", ufs, Wear{"sda", 0.3, "80 % used", 1 << 20}},
		{"nonsense", map[string]string{
			mmc + "life_time": "0xff what\n", mmc + "pre_eol_info": "-1\n", mmc + "block/mmcblk0/stat": "?\n",
		}, mmc + "block/mmcblk0", mmc, Wear{Device: "mmcblk0"}},
		{"no block device", nil, "", "", Wear{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sysfs := tree(t, c.files)
			if c.link != "" {
				if err := os.Symlink(filepath.Join(sysfs, c.link), filepath.Join(sysfs, "dev/block/179:2")); err != nil {
					t.Fatal(err)
				}
				disk := filepath.Join(sysfs, c.link)
				if _, err := os.Stat(filepath.Join(disk, "partition")); err == nil {
					disk = filepath.Dir(disk)
				}
				if err := os.Symlink(filepath.Join(sysfs, c.dev), filepath.Join(disk, "device")); err != nil {
					t.Fatal(err)
				}
			}
			got, err := look(sysfs, 179, 2)
			if err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestRatesAreThoseOfTheLastDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own atomic.Int64
		m := &Meter{dir: t.TempDir(), sysfs: tree(t, nil), own: own.Load}
		m.take(time.Now())
		go m.Run(t.Context())
		time.Sleep(time.Hour)
		synctest.Wait()
		own.Store(1 << 20)
		synctest.Wait()
		if r := m.Report(); r.OwnDay < 23<<20 || r.OwnDay > 25<<20 || r.Own != 1<<20 || r.DeviceDay != 0 {
			t.Errorf("a mebibyte in an hour: %+v", r)
		}
		time.Sleep(30 * time.Hour) // nothing is written
		synctest.Wait()
		if r := m.Report(); r.OwnDay != 0 {
			t.Errorf("nothing in a day: %+v", r)
		}
		if n := len(m.samples); n > 200 {
			t.Errorf("%d samples are kept", n)
		}
	})
}

func TestOnThisMachine(t *testing.T) {
	before := Own()
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if Own() < before {
		t.Errorf("%d bytes were written, then %d", before, Own())
	}
	w, err := Look(t.TempDir(), "/sys")
	t.Logf("%+v", w)
	if err != nil || w.Used < 0 || w.Used > 1.1 {
		t.Errorf("%+v, %v", w, err)
	}
	if _, err := Look(filepath.Join(t.TempDir(), "nowhere"), "/sys"); err == nil {
		t.Error("a folder that is not there is on a device")
	}
}
