package buffer

import (
	"context"
	"slices"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// The questions that a reviewer of the design asks, each answered by a test.

// idle opens a store whose Run does not go, so that a test can stand between the writer's steps.
func idle(t *testing.T, o Options) *running {
	t.Helper()
	tune := quick()
	tune.leaseLeast = 1 << 20 // nobody renews
	return idleWith(t, o, tune)
}

func idleWith(t *testing.T, o Options, tune tuning) *running {
	t.Helper()
	s, err := open(o, tune)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Store: s, t: t, done: make(chan error, 1)}
	r.stop = func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.done <- s.Run(ctx)
	}
	t.Cleanup(func() { r.end() })
	return r
}

func TestAcknowledgedWhileItIsSealed(t *testing.T) {
	dir := t.TempDir()
	r := idle(t, testOptions(dir, "a", "b"))
	r.fill(meter("feeder-1"), 0, 30)
	a := r.cursor("a")
	first, _ := a.Next(Live, 10, 1<<20)
	flying, _ := a.Next(Live, 10, 1<<20)

	r.mu.Lock()
	parcels := r.gather(time.Now(), everything)
	r.mu.Unlock()
	a.Ack(first) // between gather and commit
	r.balanced()
	if !r.write(r.flash, parcels, time.Now()) {
		t.Fatal("not committed")
	}
	r.balanced()

	// 1-10 are acknowledged, 11-20 in flight, 21-30 wait.
	if b, ok := a.Next(Backlog, 100, 1<<20); !ok || seqs(b.Records) != "21-30" {
		t.Fatalf("%+v", b)
	}
	a.Ack(flying)
	a.Rewind()
	if b, ok := a.Next(Backlog, 100, 1<<20); !ok || seqs(b.Records) != "21-30" {
		t.Fatalf("after the rewind: %+v", b)
	}
	if b, _ := r.cursor("b").Next(Backlog, 100, 1<<20); seqs(b.Records) != "1-30" {
		t.Fatalf("b: %s", seqs(b.Records))
	}
	if got := r.Stats().Destinations[0].Books[field.Readings]; got.Delivered != 20 || got.Buffered != 10 {
		t.Errorf("%+v", got)
	}
}

func TestStopWhileABatchIsInFlight(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "a")
	o.Commit = time.Minute
	r := start(t, o, quick())
	r.fill(meter("feeder-1"), 0, 20)
	c := r.cursor("a")
	b, ok := c.Next(Live, 15, 1<<20)
	if !ok {
		t.Fatal("nothing to send")
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	c.Ack(b) // too late to be kept, and harmless
	if err := r.Append(context.Background(), event(1)); err != ErrClosed {
		t.Fatalf("append to a closed store: %v", err)
	}
	r = start(t, o, quick())
	if got := seqs(drain(r.cursor("a"), Backlog)); got != "1-20" {
		t.Errorf("in flight at the stop, so offered again: %s", got)
	}
	if n := len(r.Ledger(0)); n != 0 {
		t.Errorf("%d losses", n)
	}
}

func TestClockStepsBetweenAppendAndDeadline(t *testing.T) {
	r := start(t, testOptions(t.TempDir(), "a"), quick())
	g := meter("feeder-1")
	for n, step := range []int64{0, -1e12, +1e12, -5e8, 0} {
		rec := reading(g, n)
		rec.At.Wall += step
		if err := r.Append(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
	}
	r.sealed(field.Readings)
	got := drain(r.cursor("a"), Backlog)
	if seqs(got) != "1-5" || got[1].At.Wall != wall+1000-1e12 {
		t.Errorf("%s, %+v", seqs(got), got)
	}
}

func TestADestinationIsNamedNoMore(t *testing.T) {
	dir := t.TempDir()
	r := start(t, testOptions(dir, "a", "gone"), quick())
	r.fill(meter("feeder-1"), 0, 50)
	r.sealed(field.Readings)
	drain(r.cursor("a"), Backlog)
	b, _ := r.cursor("gone").Next(Backlog, 20, 1<<20)
	r.cursor("gone").Ack(b)
	r.end()

	r = start(t, testOptions(dir, "a"), quick())
	if _, err := r.Cursor("gone"); err != ErrDestination {
		t.Fatal(err)
	}
	var l []Loss
	r.wait("the ledger's entry", func() bool { l = r.Ledger(0); return len(l) == 1 })
	if l[0].Destination != "gone" || l[0].Count != uint64(50-len(b.Records)) || l[0].Cause != Evicted {
		t.Errorf("%+v", l)
	}
	r.wait("the flash to be emptied", func() bool { return len(r.Backlog(0)) == 0 || len(drain(r.cursor("a"), Events)) > 0 })
	r.end()

	// When it comes back it is a new destination, and owed nothing before it.
	r = start(t, testOptions(dir, "a", "gone"), quick())
	if got := drain(r.cursor("gone"), Backlog); len(got) != 0 {
		t.Errorf("%s", seqs(got))
	}
	r.fill(meter("feeder-1"), 50, 51)
	r.sealed(field.Readings)
	if got := seqs(drain(r.cursor("gone"), Backlog)); got != "51" {
		t.Errorf("%s", got)
	}
	r.balanced()
}

func TestANewDestinationIsOwedNothingBeforeIt(t *testing.T) {
	dir := t.TempDir()
	r := start(t, testOptions(dir, "a"), quick())
	r.fill(meter("feeder-1"), 0, 40)
	r.sealed(field.Readings)
	r.end()
	r = start(t, testOptions(dir, "new", "a"), quick())
	r.fill(meter("feeder-1"), 40, 45)
	r.sealed(field.Readings)
	if got := seqs(drain(r.cursor("new"), Backlog)); got != "41-45" {
		t.Errorf("new: %s", got)
	}
	if got := seqs(drain(r.cursor("a"), Backlog)); got != "1-45" {
		t.Errorf("a: %s", got)
	}
	r.balanced()
}

func TestEpochChangesWithAHeadFull(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "a")
	o.Commit = time.Hour
	r := idle(t, o)
	g := meter("feeder-1")
	r.fill(g, 0, 10)
	c := r.cursor("a")
	flying, _ := c.Next(Live, 4, 1<<20)

	// The store on flash is lost under the running daemon: closed after a fault, and found damaged.
	f := r.flash
	r.stall(errHeader, nil)
	if f.db != nil {
		t.Fatal("not closed")
	}
	corrupt(t, dir, "MANIFEST")
	r.w.retryAt = time.Time{}
	r.heal(time.Now())
	if !r.usable || r.Epoch() != 2 {
		t.Fatalf("%+v", r.Stats())
	}
	r.fill(g, 10, 15)
	// What was named under the old epoch keeps its name, and is on flash now; the new one begins anew.
	b, _ := c.Next(Backlog, 100, 1<<20)
	if b.Epoch != 1 || seqs(b.Records) != "5-10" {
		t.Fatalf("%+v", b)
	}
	b, _ = c.Next(Live, 100, 1<<20)
	if b.Epoch != 2 || seqs(b.Records) != "1-5" {
		t.Fatalf("%+v", b)
	}
	c.Ack(flying)
	c.Rewind()
	for r.seal(everything) {
	}
	var names []string
	for {
		b, ok := c.Next(Backlog, 100, 1<<20)
		if !ok {
			break
		}
		names = append(names, seqs(b.Records))
		c.Ack(b)
	}
	if !slices.Equal(names, []string{"5-10", "1-5"}) {
		t.Errorf("sealed in two epochs: %q", names)
	}
	r.balanced()
}

func TestABucketIsGivenUpUnderAReader(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	g := meter("feeder-1")
	n := 0
	for len(r.streams[field.Readings].buckets) < 3 {
		r.fill(g, n, n+100)
		n += 100
		for r.seal(everything) {
		}
	}
	c := r.cursor("a")
	b, _ := c.Next(Backlog, 7, 1<<20)
	later, _ := c.Next(Backlog, 7, 1<<20)
	c.Ack(b)
	st := r.streams[field.Readings]
	first := st.buckets[0]
	end := first.end
	if !r.discard(st, first, Evicted) {
		t.Fatal("not dropped")
	}
	r.balanced()
	c.Ack(later) // of records that are declared lost: changes nothing
	r.balanced()
	if got := r.Stats().Destinations[0].Books[field.Readings]; got.Delivered != 7 || got.ByCause[Evicted] != end-1-7 {
		t.Errorf("%+v", got)
	}
	got := drain(c, Backlog)
	if got[0].Seq != end || got[len(got)-1].Seq != uint64(n) {
		t.Errorf("%s, the first bucket ended before %d", seqs(got), end)
	}
	losses := r.Ledger(0)
	if len(losses) != 1 || losses[0].From != 8 || losses[0].To != end-1 || losses[0].Count != end-8 {
		t.Errorf("%+v", losses)
	}
}

func TestTwoDestinationsOneAWeekBehind(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "live", "behind"))
	live, behind := r.cursor("live"), r.cursor("behind")
	g := meter("feeder-1")
	for n := 0; n < 3000; n += 10 {
		r.fill(g, n, n+10)
		b, ok := live.Next(Live, 100, 1<<20)
		if !ok || len(b.Records) != 10 {
			t.Fatalf("%+v", b)
		}
		live.Ack(b)
		for r.seal(everything) {
		}
	}
	if b, ok := live.Next(Backlog, 100, 1<<20); ok {
		t.Fatalf("blocks that owe it nothing were offered: %+v", b)
	}
	if n := r.flash.decoded.Load(); n != 0 {
		t.Errorf("%d blocks decoded for a destination that they owe nothing", n)
	}
	var blocks uint64
	for _, b := range r.streams[field.Readings].buckets {
		blocks += b.blocks
	}
	if got := seqs(drain(behind, Backlog)); got != "1-3000" {
		t.Errorf("%s", got)
	}
	// Each block once, for the one that is behind; those sealed last were still in memory.
	if n := r.flash.decoded.Load(); n > blocks {
		t.Errorf("%d blocks decoded of %d", n, blocks)
	}
	r.balanced()
}

func TestTwoDestinationsSideBySideShareTheDecoding(t *testing.T) {
	dir := t.TempDir()
	r := idle(t, testOptions(dir, "a", "b"))
	g := meter("feeder-1")
	for n := 0; n < 2000; n += 100 {
		r.fill(g, n, n+100)
		for r.seal(everything) {
		}
	}
	a, b := r.cursor("a"), r.cursor("b")
	for {
		x, ok := a.Next(Backlog, 50, 1<<20)
		y, ok2 := b.Next(Backlog, 50, 1<<20)
		if !ok && !ok2 {
			break
		}
		if seqs(x.Records) != seqs(y.Records) {
			t.Fatalf("%s, %s", seqs(x.Records), seqs(y.Records))
		}
		a.Ack(x)
		b.Ack(y)
	}
	if n := r.flash.decoded.Load(); n > 20 {
		t.Errorf("20 blocks were decoded %d times for two", n)
	}
}

func TestEventsAreDurableBeforeTheyLeave(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	done := make(chan error, 2)
	for n := range 2 {
		go func() { done <- r.Append(context.Background(), event(n), reply(n)) }()
	}
	r.wait("both to be taken", func() bool { return r.Stats().HeadRecords == 4 })
	c := r.cursor("a")
	for _, lane := range Lanes {
		if b, ok := c.Next(lane, 10, 1<<20); ok {
			t.Fatalf("left before it was durable: %+v", b)
		}
	}
	select {
	case err := <-done:
		t.Fatal("returned before it was durable:", err)
	default:
	}
	commits := r.Stats().Commits
	if !r.sealNow(urgent) {
		t.Fatal("not sealed")
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Stats().Commits - commits; n != 1 {
		t.Errorf("two waiters cost %d commits", n)
	}
	if got := seqs(drain(c, Events)); got != "1-2" {
		t.Error(got)
	}
	if got := seqs(drain(c, Replies)); got != "1-2" {
		t.Error(got)
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Append(ctx, event(1)); err != context.Canceled {
		t.Fatal(err)
	}
	r.sealNow(urgent)
	if got := seqs(drain(r.cursor("a"), Events)); got != "1" {
		t.Errorf("taken all the same: %q", got)
	}
}
