package buffer

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"edgegateway/adapters/field"
)

// inMemory gives a folder on a file system in memory.
func inMemory(t *testing.T) string {
	t.Helper()
	const shm = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(shm, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skip(shm + " is not in memory here")
	}
	dir, err := os.MkdirTemp(shm, "gatewayd-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func found(t *testing.T, pattern ...string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// TestWhatIsInMemoryNeedNotSurvive: a store goes from a value log on flash to one in memory, through a power cut that
// empties the memory, and back; everything is still there.
func TestWhatIsInMemoryNeedNotSurvive(t *testing.T) {
	memory := inMemory(t)
	o := testOptions(t.TempDir(), "a")
	g := meter("feeder-1")
	fill := func(r *running, from int) {
		r.fill(g, from, from+100)
		r.sealed(field.Readings)
	}
	logs := func() (onFlash, inMemory int) {
		return found(t, o.Dir, flashFolder, "*.vlog"), found(t, memory, "buffer", "*.vlog")
	}

	r := start(t, o, quick())
	fill(r, 0)
	if onFlash, inMemory := logs(); onFlash != 1 || inMemory != 0 {
		t.Errorf("without a folder in memory %d value logs are on flash, and %d in memory", onFlash, inMemory)
	}
	r.end()

	o.Scratch = filepath.Join(memory, "buffer")
	r = start(t, o, quick())
	fill(r, 100)
	if onFlash, inMemory := logs(); onFlash != 0 || inMemory != 1 {
		t.Errorf("with a folder in memory %d value logs are on flash, and %d in memory", onFlash, inMemory)
	}
	left := r.cut()
	r.end()
	if err := os.RemoveAll(o.Scratch); err != nil {
		t.Fatal(err)
	}
	o.Dir = left

	r = start(t, o, quick())
	fill(r, 200)
	r.end()

	o.Scratch = filepath.Join(t.TempDir(), "not in memory, mostly", "buffer")
	r = start(t, o, quick())
	if st := r.Stats(); !st.Durable || st.Epoch != 1 {
		t.Fatalf("%+v", st)
	}
	if got := len(drain(r.cursor("a"), Backlog)); got != 300 {
		t.Errorf("%d readings came, of 300", got)
	}
}
