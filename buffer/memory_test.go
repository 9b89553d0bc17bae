package buffer

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"edgegateway/adapters/field"
)

var backlogReadings = flag.Int("backlog", 1_000_000, "readings of the backlog in the test of memory")

const memoryHelper = "BUFFER_TEST_MEMORY" // the folder of the store that a helper process opens

// TestMemoryDoesNotGrowWithTheBacklog lets a process of its own open a store with nothing and one with a large backlog,
// append to it and read from it, and compares what the processes have of their own.
func TestMemoryDoesNotGrowWithTheBacklog(t *testing.T) {
	if dir := os.Getenv(memoryHelper); dir != "" {
		memoryOf(t, dir)
		return
	}
	full := t.TempDir()
	tune := defaultTuning()
	tune.leaseLeast = 1 << 30
	o := testOptions(full, "a")
	o.Limit, o.HeadLimit = 512<<20, 64<<20
	s, err := open(o, tune)
	if err != nil {
		t.Fatal(err)
	}
	const perAppend = 2000
	records := reference(perAppend)
	for n := 0; n < *backlogReadings; n += perAppend * 10 {
		for i := range records {
			records[i].At.Wall += 100_000
			records[i].At.Mono += 100_000
		}
		if err := s.Append(context.Background(), records...); err != nil {
			t.Fatal(err)
		}
		for s.seal(everything) {
		}
	}
	r := keep(t, s)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	empty, loaded := helperMemory(t, t.TempDir()), helperMemory(t, full)
	t.Logf("anonymous memory: %.1f MiB with nothing, %.1f MiB with %d readings", float64(empty)/(1<<20), float64(loaded)/(1<<20), *backlogReadings)
	if loaded-empty > 15<<20 {
		t.Errorf("%d readings take %d bytes more", *backlogReadings, loaded-empty)
	}
}

func helperMemory(t *testing.T, dir string) int64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), memoryHelper+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, rest, _ := strings.Cut(string(out), "anonymous=")
	n, err := strconv.ParseInt(strings.SplitN(rest+"\n", "\n", 2)[0], 10, 64)
	if err != nil {
		t.Skipf("the kernel tells no RssAnon: %s", out)
	}
	return n
}

// memoryOf works with a store and prints what this process has of its own.
func memoryOf(t *testing.T, dir string) {
	debug.SetGCPercent(50)
	o := testOptions(dir, "a")
	o.Limit = 512 << 20
	r := start(t, o, defaultTuning())
	r.fill(meter("feeder-1"), 0, 2000)
	r.sealed(field.Readings)
	c := r.cursor("a")
	for range 50 {
		if b, ok := c.Next(Backlog, 200, 1<<16); ok {
			c.Ack(b)
		}
	}
	r.balanced()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	kib, err := strconv.ParseInt(strings.Fields(rest + " none")[0], 10, 64)
	if err == nil {
		fmt.Printf("anonymous=%d\n", kib<<10)
	}
}

// TestTakingBackThinnedReadingsTakesLittleMemory: between two readings that are left are hundreds of numbers of those
// that went.
func TestTakingBackThinnedReadingsTakesLittleMemory(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.HeadLimit = 1 << 20
	r := idle(t, o)
	g := meter("feeder-1")
	const n, apart = 100, 900
	var found []rest
	for i := range n {
		rec := reading(g, i)
		rec.Seq = uint64(1 + i*apart)
		found = append(found, rest{epoch: 7, record: rec})
	}
	most := 0
	err := r.retakeAll(found, tallies{}, func(*rest) bool {
		most = max(most, len(r.streams[field.Readings].head.entries))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if limit := int(o.HeadLimit/4/new(entry).weight()) + apart; most > limit {
		t.Errorf("%d entries for %d readings; %d are what a quarter of the head takes", most, n, limit)
	}
	if err := r.stow(); err != nil {
		t.Fatal(err)
	}
	got := drain(r.cursor("a"), Backlog)
	for i, rec := range got {
		if rec.Seq != found[i].record.Seq {
			t.Fatalf("number %d for %d", rec.Seq, found[i].record.Seq)
		}
	}
	if len(got) != n {
		t.Errorf("%d came back, of %d", len(got), n)
	}
	r.balanced()
}
