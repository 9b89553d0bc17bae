package buffer

import (
	"context"
	"runtime"
	"strings"
	"testing"
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
