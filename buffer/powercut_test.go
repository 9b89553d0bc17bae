package buffer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgegateway/adapters/field"
)

// cut gives the folder that a power cut leaves now: everything as it is on the disk, and no lock.
func (r *running) cut() string {
	r.t.Helper()
	return leftOf(r.t, r.opt.Dir)
}

// leftOf copies a store's folder while the store runs. Badger takes files away when it likes to: a copy that missed one
// is made anew.
func leftOf(t *testing.T, dir string) string {
	t.Helper()
	for try := 1; ; try++ {
		left := t.TempDir()
		err := os.CopyFS(left, os.DirFS(dir))
		if err == nil {
			return left
		}
		if try == 100 || !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// explained gives what a store says of numbers that are not there: by topic, the spans of its loss and skip events.
func explained(r *running, c *Cursor) map[string]ranges {
	r.t.Helper()
	spans := map[string]ranges{}
	for _, e := range drain(c, Events) {
		if k := e.Event.Kind; k != "loss" && k != "skip" {
			continue
		}
		var from, to uint64
		for _, m := range e.Event.More {
			switch m.Name {
			case "from_seq":
				from = m.Value.Bits()
			case "to_seq":
				to = m.Value.Bits()
			case "count":
				if m.Value.Bits() == 0 {
					r.t.Errorf("a loss of nothing: %+v", e.Event)
				}
			}
		}
		s := spans[e.Event.Subject]
		s.add(from, to+1)
		spans[e.Event.Subject] = s
	}
	return spans
}

// TestACutLeavesNoGapUnexplained: readings are given up from memory, those behind them are sealed, and the power goes
// before the gap had its second to be told of.
func TestACutLeavesNoGapUnexplained(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.HeadLimit = 64 << 10
	r := idle(t, o)
	g := meter("feeder-1")
	const n = 400
	r.fill(g, 0, n) // far more than the head takes
	if len(r.losses) == 0 {
		t.Fatal("nothing was given up")
	}
	r.seal(everything)
	o.Dir = r.cut()

	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 2 })
	again.sealed(field.Events)
	spans := explained(again, again.cursor("a"))["data"]
	came := drain(again.cursor("a"), Backlog)
	if len(came) == 0 || len(came) == n {
		t.Fatalf("%d readings came", len(came))
	}
	for _, rec := range came {
		spans.add(rec.Seq, rec.Seq+1)
	}
	if !spans.has(1) || spans.within(1, n+1) != n {
		t.Errorf("of numbers 1 to %d only %v came or are explained", n, spans)
	}
}

// TestACutAfterALeaseLeavesNoGapUnexplained: a range of numbers is leased while readings are in memory alone, and then
// the power goes.
func TestACutAfterALeaseLeavesNoGapUnexplained(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := idle(t, o)
	const n = 300
	r.fill(meter("feeder-1"), 0, n)
	before := r.w.ident.End
	r.streams[field.Readings].lease.size = 1 << 40 // it is short
	r.renewLeases(time.Now())
	if r.w.ident.End[field.Readings] <= before[field.Readings] {
		t.Fatalf("%+v: no range was leased", r.w.ident)
	}
	o.Dir = r.cut()

	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 2 })
	again.sealed(field.Events)
	if spans := explained(again, again.cursor("a"))["data"]; spans.within(1, n+1) != n {
		t.Errorf("of numbers 1 to %d, which were in memory alone, only %v are explained", n, spans)
	}
}

// TestASecondCutBeforeTheFirstWasToldOf: the store comes up after a cut, cannot write what it has to tell, leases
// numbers and loses its power again.
func TestASecondCutBeforeTheFirstWasToldOf(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := idle(t, o)
	const n = 300
	r.fill(meter("feeder-1"), 0, n) // in memory alone
	o.Dir = r.cut()

	holder, err := openFlash(filepath.Join(o.Dir, flashFolder), "", newShapes(), o.Log)
	if err != nil {
		t.Fatal(err)
	}
	r = idle(t, o)
	if r.Stats().Durable {
		t.Fatal("the store is open while another has it")
	}
	r.fill(meter("feeder-1"), n, 2*n)
	if err := holder.close(); err != nil {
		t.Fatal(err)
	}
	o.Dir = r.cut()

	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 2 })
	again.sealed(field.Events)
	if spans := explained(again, again.cursor("a"))["data"]; spans.within(1, 2*n+1) != 2*n {
		t.Errorf("of numbers 1 to %d, which were in memory alone, only %v are explained", 2*n, spans)
	}
	if id := again.w.ident; len(id.Doubt) > 0 {
		t.Errorf("%v are still in doubt, although they were told of", id.Doubt)
	}
}

// TestFreeingDoesNotKeepReadingsWaiting: each bucket that is freed costs many syncs, so what is due is sealed between
// one and the next.
func TestFreeingDoesNotKeepReadingsWaiting(t *testing.T) {
	o := testOptions(t.TempDir(), "a", "b")
	o.Commit = time.Nanosecond // everything is due
	r := idle(t, o)
	g := meter("feeder-1")
	st := r.streams[field.Readings]
	for at := 0; len(st.buckets) < 4; at += 500 {
		r.fill(g, at, at+500)
		for r.seal(onTime) {
		}
	}
	for _, name := range []string{"a", "b"} {
		drain(r.cursor(name), Backlog)
	}
	r.fill(g, 100_000, 100_100)
	before := len(st.buckets)
	r.free()
	if after := len(st.buckets); after > before-2 {
		t.Fatalf("%d buckets before and %d after: nothing was freed", before, after)
	}
	if n := len(st.head.entries); n > 0 {
		t.Errorf("%d readings waited for buckets to be freed", n)
	}
}

// TestAnUnknownLossIsNoLossOfNothing: a store that is set aside after an unclean stop, with nothing known to wait in it.
func TestAnUnknownLossIsNoLossOfNothing(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := idle(t, o)
	if err := r.Append(context.Background(), reading(meter("feeder-1"), 1)); err != nil {
		t.Fatal(err)
	}
	o.Dir = r.cut()
	corrupt(t, o.Dir, "MANIFEST")
	again := start(t, o, quick())
	if got := again.Epoch(); got != 2 {
		t.Fatalf("epoch %d", got)
	}
	var spans ranges
	again.wait("what is said of epoch 1", func() bool {
		spans = append(spans, explained(again, again.cursor("a"))["data"]...)
		return spans.has(1)
	})
	if l := again.Ledger(0); len(l) > 0 {
		t.Errorf("%+v", l)
	}
}

// TestAStoreThatWasOnlyKilledIsKept: kills in a row while opening count as a damaged store only when somebody who looks
// finds it so; and one that somebody else still holds is left alone.
func TestAStoreThatWasOnlyKilledIsKept(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := start(t, o, quick())
	r.fill(meter("feeder-1"), 0, 100)
	r.sealed(field.Readings)
	r.end()
	for range openAttempts {
		attempts(o.Dir)
	}
	tried := 0
	o.Probe = func(folder string) error { tried++; return Try(folder) }
	r = start(t, o, quick())
	if st := r.Stats(); st.Epoch != 1 || !st.Durable || tried != 1 {
		t.Fatalf("tried %d times: %+v", tried, st)
	}
	r.end()

	holder, err := os.Open(filepath.Join(o.Dir, flashFolder))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	r = start(t, o, quick())
	if st := r.Stats(); st.Durable || st.Trouble == "" {
		t.Fatalf("%+v", st)
	}
	holder.Close()
	r.wait("the store", func() bool { return r.Stats().Durable })
	if st := r.Stats(); st.Epoch != 1 || len(asides(o.Dir)) > 0 {
		t.Fatalf("%+v", st)
	}
	if n := len(drain(r.cursor("a"), Backlog)); n != 100 {
		t.Errorf("%d readings came back, of 100", n)
	}
}

// TestAnEpochBeginsOnce: a damaged store was set aside, and the disk has room to open a new one and none to begin it,
// for as many attempts as there are.
func TestAnEpochBeginsOnce(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := idle(t, o)
	o.Dir = r.cut()
	corrupt(t, o.Dir, "MANIFEST")
	o.Reserve = 1 << 60
	r = idle(t, o)
	again := func() { r.w.retryAt = time.Time{}; r.heal(time.Now()) }
	for range 5 {
		again()
	}
	if st := r.Stats(); st.Durable || st.Epoch != 2 || len(r.w.ident.Before) != 1 {
		t.Fatalf("%+v\n%+v", st, r.w.ident)
	}
	r.opt.Reserve = 1 << 20
	again()
	if st := r.Stats(); !st.Durable || st.Epoch != 2 {
		t.Fatalf("%+v", st)
	}
	for _, e := range drain(r.cursor("a"), Events) {
		if m := e.Event.More; e.Event.Kind == "skip" && m[2].Value.Bits() != 1 {
			t.Errorf("%s, of epoch %d", e.Event.Text, m[2].Value.Bits())
		}
	}
}

// TestAStopOnAFullDiskLeavesNoGapUnexplained: what tells of the readings that were given up ends with the process.
func TestAStopOnAFullDiskLeavesNoGapUnexplained(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.HeadLimit = 64 << 10
	r := idle(t, o)
	r.opt.Reserve = 1 << 60
	const n = 400
	r.fill(meter("feeder-1"), 0, n) // far more than the head takes
	r.end()

	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 1 })
	again.sealed(field.Events)
	if spans := explained(again, again.cursor("a"))["data"]; spans.within(1, n+1) != n {
		t.Errorf("of numbers 1 to %d only %v are explained", n, spans)
	}
}

// TestACursorWaitsForTheNewsOfAGap: readings are refused, a reply goes first and leaves no room for the event that says
// so, and the power goes before the next commit.
func TestACursorWaitsForTheNewsOfAGap(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := idle(t, o)
	r.fill(meter("feeder-1"), 0, 10)
	for r.seal(everything) {
	}
	c := r.cursor("a")
	b, _ := c.Next(Backlog, 10, 1<<20)
	c.Reject(b, "no")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Append(ctx, field.Record{At: field.Stamp{Wall: wall}, Reply: make([]byte, MaxRecord-64)}); err != context.Canceled {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	if !r.sealNow(onTime) {
		t.Fatal("nothing sealed")
	}
	o.Dir = r.cut()
	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 1 })
	again.sealed(field.Events)
	spans := explained(again, again.cursor("a"))["data"]
	came := drain(again.cursor("a"), Backlog)
	for _, rec := range came {
		spans.add(rec.Seq, rec.Seq+1)
	}
	if spans.within(1, 11) != 10 {
		t.Errorf("of numbers 1 to 10 only %v are explained", spans)
	}
}

// TestACutAfterNumbersOfItsOwn: the folder could not be written until the numbers ran out, and the power goes when it
// can be again.
func TestACutAfterNumbersOfItsOwn(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	r := idle(t, o)
	const n = 10
	r.fill(meter("feeder-1"), 0, n) // in memory alone
	r.stall(errors.New("input/output error"), nil)
	obstacle := filepath.Join(o.Dir, identityFile+".new")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &r.streams[field.Readings].lease
	l.end = l.next
	r.renewLeases(time.Now())
	if l.epoch == r.w.ident.Epoch {
		t.Fatalf("%+v: numbers were leased", r.w.ident)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	r.w.leaseAt = time.Time{}
	r.renewLeases(time.Now())
	o.Dir = r.cut()

	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 1 })
	again.sealed(field.Events)
	if spans := explained(again, again.cursor("a"))["data"]; spans.within(1, n+1) != n {
		t.Errorf("of numbers 1 to %d, which were in memory alone, only %v are explained", n, spans)
	}
}

// TestACutAfterAStoreWasSetAside: what was in memory has numbers of the epoch that ended with the damaged store.
func TestACutAfterAStoreWasSetAside(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.Commit = time.Hour
	r := idle(t, o)
	const n = 10
	r.fill(meter("feeder-1"), 0, n)
	r.stall(errHeader, nil)
	corrupt(t, o.Dir, "MANIFEST")
	r.w.retryAt = time.Time{}
	r.heal(time.Now())
	if !r.usable || r.Epoch() != 2 {
		t.Fatalf("%+v", r.Stats())
	}
	o.Dir = r.cut()

	again := start(t, o, quick())
	again.wait("the skips", func() bool { return again.Stats().Destinations[0].Books[field.Events].Buffered >= 1 })
	again.sealed(field.Events)
	var spans ranges
	for _, e := range drain(again.cursor("a"), Events) {
		if m := e.Event.More; e.Event.Kind == "skip" && e.Event.Subject == "data" && m[2].Value.Bits() == 1 {
			spans.add(m[0].Value.Bits(), m[1].Value.Bits()+1)
		}
	}
	for b, ok := again.cursor("a").Next(Backlog, 100, 1<<20); ok; b, ok = again.cursor("a").Next(Backlog, 100, 1<<20) {
		if b.Epoch == 1 {
			spans.add(b.Records[0].Seq, b.Records[len(b.Records)-1].Seq+1)
		}
	}
	if spans.within(1, n+1) != n {
		t.Errorf("of numbers 1 to %d of the first epoch only %v came or are explained", n, spans)
	}
}
