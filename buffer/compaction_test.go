package buffer

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"edgegateway/adapters/field"
)

// compactors says whether any goroutine of Badger's compactors is there.
func compactors() bool {
	buf := make([]byte, 1<<20)
	return strings.Contains(string(buf[:runtime.Stack(buf, true)]), "runCompactor")
}

// TestCompactorsComeAndGo: a store at rest has no compactors, which would wake the processor for ever; one that fills
// has them, so that tables do not pile up; and drained it rests again.
func TestCompactorsComeAndGo(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.DurableFirst = true
	r := start(t, o, quick())
	if compactors() {
		t.Fatal("compactors run in an empty store")
	}
	n := 0
	for ; !compactors(); n++ {
		if n == 1000 {
			t.Fatal("20 MB were written, and nobody compacts")
		}
		if err := r.Append(context.Background(), bulky(n, 20000)); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < n; {
		records := drain(r.cursor("a"), Backlog)
		got += len(records)
		if len(records) == 0 {
			t.Fatalf("%d of %d records came", got, n)
		}
	}
	r.wait("the compactors are gone", func() bool { return !compactors() })
	r.balanced()
	if err := r.Append(context.Background(), event(1)); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsGivenUpForRoomWithoutAStore: where nothing can be freed no bucket is given up, either.
func TestNothingIsGivenUpForRoomWithoutAStore(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	r.fill(meter("feeder-1"), 0, 10)
	for r.seal(everything) {
	}
	r.stall(errors.New("input/output error"), nil)
	r.disk = r.opt.Limit
	r.seal(everything)
	if b := r.Stats().Destinations[0].Books[field.Readings]; b.Lost > 0 {
		t.Errorf("%+v", b)
	}
}
