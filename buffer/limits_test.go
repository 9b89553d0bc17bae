package buffer

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgegateway/adapters/field"
)

var noise = &field.Group{Device: "noise", Name: field.MainGroup, Points: []field.Point{{Name: "x", Kind: field.KindString}}}

// bulky is a reading that no compression makes smaller.
func bulky(n, size int) field.Record {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return field.Record{At: field.Stamp{Wall: wall + int64(n)}, Group: noise, Values: []field.Value{field.Text(string(b))}}
}

// TestTheLimitHoldsAtEveryMoment fills the store with three times its limit and looks at the disk all the while.
// Readings go first, the oldest first, every one of them is declared, and events and replies stay.
func TestTheLimitHoldsAtEveryMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(dir, "a")
	o.Limit = MinLimit
	tune := quick()
	tune.bucketBytes = 512 << 10
	r := start(t, o, tune)
	if err := r.Append(context.Background(), event(1), reply(1)); err != nil {
		t.Fatal(err)
	}
	most := watchUsage(dir)
	const n = 3 * MinLimit / 20000
	for i := range n {
		if err := r.Append(context.Background(), bulky(i, 20000)); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			r.sealed(field.Readings)
			r.balanced()
		}
	}
	r.sealed(field.Readings)
	if got := most(); got > o.Limit {
		t.Errorf("the folder took %d bytes, the limit is %d", got, o.Limit)
	} else {
		t.Logf("at most %.1f of %d MiB", float64(got)/(1<<20), o.Limit>>20)
	}
	c := r.cursor("a")
	// Buckets may be given up while it runs: of a batch that was under way then, only what the books call delivered came.
	var got []field.Record
	delivered := func() uint64 { return r.Stats().Destinations[0].Books[field.Readings].Delivered }
	for {
		b, ok := c.Next(Backlog, 100, 1<<16)
		if !ok {
			break
		}
		before := delivered()
		c.Ack(b)
		got = append(got, b.Records[len(b.Records)-int(delivered()-before):]...)
	}
	if len(drain(c, Replies)) != 1 {
		t.Error("the reply is gone")
	}
	r.wait("every loss to be told", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.losses) == 0 })
	r.sealed(field.Events)
	st := r.Stats()
	lost := st.Destinations[0].Books[field.Readings].ByCause[Evicted]
	if lost == 0 || st.Destinations[0].Books[field.Events].Lost+st.Destinations[0].Books[field.Replies].Lost > 0 {
		t.Fatalf("%+v", st.Destinations[0])
	}
	came := map[uint64]bool{}
	for _, rec := range got {
		came[rec.Seq] = true
	}
	if uint64(len(came))+lost != n || !came[n] {
		t.Errorf("%d lost, %s came", lost, seqs(got))
	}
	var declared, last uint64
	for _, e := range drain(c, Events) {
		if e.Event.Kind == "loss" && e.Event.Subject == "data" {
			from, to, count := e.Event.More[1].Value.Bits(), e.Event.More[2].Value.Bits(), e.Event.More[3].Value.Bits()
			if from <= last || to-from+1 != count {
				t.Errorf("a loss of %d-%d, %d records, behind %d: not the oldest first", from, to, count, last)
			}
			for seq := from; seq <= to; seq++ {
				if came[seq] {
					t.Errorf("%d came, and is declared lost", seq)
				}
			}
			declared, last = declared+count, to
		}
	}
	if declared != lost {
		t.Errorf("events declare %d readings lost, the books %d", declared, lost)
	}
	r.balanced()
	r.wait("the disk to be free", func() bool { return usage(dir) < 1<<20+o.ballast()+256<<10 })
}

// watchUsage looks at a folder's size all the time, until it is asked for the most that it saw.
func watchUsage(dir string) func() int64 {
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var n int64
		for {
			select {
			case <-stop:
				most <- n
				return
			case <-time.After(5 * time.Millisecond):
				n = max(n, usage(dir))
			}
		}
	}()
	return func() int64 { close(stop); return <-most }
}

// TestTheLimitHoldsWhileReadingsAreThinned fills the store with three times its limit while somebody drains it at a
// tenth of the pace. Old readings are thinned out and none has to be given up, and what came and what was thinned
// are all that was taken.
func TestTheLimitHoldsWhileReadingsAreThinned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(dir, "a", "away")
	o.Limit = MinLimit
	o.Thin = []time.Duration{5 * time.Second, time.Minute}
	tune := quick()
	tune.bucketBytes = 512 << 10
	r := start(t, o, tune)
	most := watchUsage(dir)
	c := r.cursor("a")
	const n = 3 * MinLimit / 20000
	came := map[uint64]bool{}
	take := func(max int) bool {
		b, ok := c.Next(Backlog, max, 1<<20)
		for _, rec := range b.Records {
			came[rec.Seq] = true
		}
		c.Ack(b)
		return ok
	}
	for i := range n {
		rec := bulky(i, 20000)
		rec.At.Wall = wall + int64(i)*1000
		if err := r.Append(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			r.sealed(field.Readings)
			take(5)
			r.balanced()
		}
	}
	r.sealed(field.Readings)
	if got := most(); got > o.Limit {
		t.Errorf("the folder took %d bytes, the limit is %d", got, o.Limit)
	} else {
		t.Logf("at most %.1f of %d MiB", float64(got)/(1<<20), o.Limit>>20)
	}
	for take(1000) {
	}
	for _, d := range r.Stats().Destinations {
		b := d.Books[field.Readings]
		if b.ByCause[Thinned] == 0 || b.Lost != b.ByCause[Thinned] {
			t.Errorf("%s: %+v", d.Name, b)
		}
		if d.Name == "a" && uint64(len(came))+b.Lost != n {
			t.Errorf("%d came, %d were thinned out, of %d", len(came), b.Lost, n)
		}
	}
	r.balanced()
}

func TestAgeLimit(t *testing.T) {
	for _, c := range []struct {
		name    string
		stamp   field.Stamp // of the clock when the limit is judged
		record  field.Trust
		expires bool
	}{
		{"a synchronised clock", field.Stamp{Wall: wall + 7200e3}, field.Synchronised, true},
		{"not yet old enough", field.Stamp{Wall: wall + 3500e3}, field.Synchronised, false},
		{"an unsynchronised clock stepped forward", field.Stamp{Wall: wall + 1e12, Trust: field.Estimated}, field.Synchronised, false},
		{"records of an unsynchronised clock", field.Stamp{Wall: wall + 7200e3}, field.Estimated, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			o := testOptions(dir, "a")
			r := start(t, o, quick())
			rec := reading(meter("feeder-1"), 0)
			rec.At.Trust = c.record
			if err := r.Append(context.Background(), rec, rec, event(1)); err != nil {
				t.Fatal(err)
			}
			r.sealed(field.Readings)
			r.end() // what this process filled is also judged by the monotonic clock
			o.Keep = time.Hour
			o.Now = func() field.Stamp { return c.stamp }
			s, err := open(o, quick())
			if err != nil {
				t.Fatal(err)
			}
			s.expire(time.Now())
			r = keep(t, s)
			r.balanced()
			b := r.Stats().Destinations[0].Books[field.Readings]
			if got := b.ByCause[Expired] == 2; got != c.expires {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestAClassHasAnAgeLimitOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir, "a")
	r := start(t, o, quick())
	if err := r.Append(context.Background(), reading(meter("feeder-1"), 0), event(1), reply(1)); err != nil {
		t.Fatal(err)
	}
	r.sealed(field.Readings)
	r.end()
	o.Keep, o.KeepOf = time.Hour, map[field.Class]time.Duration{field.Events: 24 * time.Hour, field.Replies: 0}
	for hours, want := range map[int64][3]uint64{ // that expired, by class
		2:   {field.Readings: 1},
		100: {field.Readings: 1, field.Events: 1},
	} {
		o.Dir = t.TempDir()
		if err := os.CopyFS(o.Dir, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		o.Now = func() field.Stamp { return field.Stamp{Wall: wall + hours*3600e3} }
		s := idle(t, o)
		s.expire(time.Now())
		for c, b := range s.Stats().Destinations[0].Books {
			if b.ByCause[Expired] != want[c] {
				t.Errorf("after %d h: %s: %+v", hours, field.Class(c), b)
			}
		}
		s.balanced()
	}
}

func TestAForwardStepExpiresNothingThatThisProcessTook(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.Keep = time.Hour
	o.Now = func() field.Stamp { return field.Stamp{Wall: wall + 1e12} }
	r := start(t, o, quick())
	r.fill(meter("feeder-1"), 0, 10)
	r.sealed(field.Readings)
	r.expireAndStop()
	if b := r.Stats().Destinations[0].Books[field.Readings]; b.Lost != 0 {
		t.Errorf("%+v", b)
	}
}

// expireAndStop stops the writer and judges the age limit in its place.
func (r *running) expireAndStop() {
	r.end()
	r.expire(time.Now())
}

func TestMemoryAloneGivesUpReadingsThenEventsThenReplies(t *testing.T) {
	o := testOptions("", "a", "b")
	o.HeadLimit = 40 << 10
	r := start(t, o, quick())
	ctx := context.Background()
	for n := range 20 {
		if err := r.Append(ctx, event(n), reply(n)); err != nil {
			t.Fatal(err)
		}
	}
	g := meter("feeder-1")
	r.fill(g, 0, 300)
	st := r.Stats()
	b := st.Destinations[0].Books
	if b[field.Readings].ByCause[Evicted] == 0 || b[field.Events].Lost+b[field.Replies].Lost > 0 || st.HeadBytes > o.HeadLimit {
		t.Fatalf("%+v", st)
	}
	r.balanced()
	c := r.cursor("a")
	lost := b[field.Readings].Lost
	batch, _ := c.Next(Live, 1000, 1<<20)
	if batch.Records[0].Seq != lost+1 || batch.Records[len(batch.Records)-1].Seq != 300 {
		t.Errorf("%s after %d lost", seqs(batch.Records), lost)
	}
	for n := range 500 {
		if err := r.Append(ctx, event(n)); err != nil {
			t.Fatal(err)
		}
	}
	st = r.Stats()
	b = st.Destinations[1].Books
	if b[field.Readings].Buffered != 0 || b[field.Events].Lost == 0 || b[field.Replies].Lost != 0 {
		t.Errorf("%+v", st)
	}
	c.Ack(batch) // of records that were given up meanwhile
	r.balanced()
	r.wait("the loss to be told", func() bool {
		for _, e := range drain(c, Events) {
			if e.Event.Kind == "loss" {
				return true
			}
		}
		return false
	})
	r.balanced()
}

// TestDiskFull takes the file system's free space away below the store's reserve, and gives it back.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	const margin, hog = 512 << 20, 1 << 30
	n, err := free(dir)
	if err != nil || n < 4*hog {
		t.Skipf("needs 4 GiB of disk: %d, %v", n, err)
	}
	o := testOptions(dir, "a")
	o.Reserve = n - margin
	r := start(t, o, quick())
	g := meter("feeder-1")
	r.fill(g, 0, 10)
	r.sealed(field.Readings)
	if !r.Stats().Durable {
		t.Fatalf("%+v", r.Stats())
	}
	name := filepath.Join(t.TempDir(), "hog")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, hog); err != nil {
		t.Skip("no fallocate here: ", err)
	}
	r.fill(g, 10, 20)
	r.wait("the store to notice", func() bool { return !r.Stats().Durable })
	if st := r.Stats(); !strings.Contains(st.Trouble, "disk is full") {
		t.Errorf("%q", st.Trouble)
	}
	// It goes on: live from memory, backlog still from flash, events without waiting for what cannot be.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.Append(ctx, event(1)); err != nil {
		t.Fatal(err)
	}
	c := r.cursor("a")
	if got := seqs(drain(c, Backlog)); got != "1-10" {
		t.Errorf("backlog: %s", got)
	}
	live, ok := c.Next(Live, 5, 1<<20)
	if !ok || seqs(live.Records) != "11-15" {
		t.Errorf("live: %+v", live)
	}
	kinds := map[string]bool{}
	for _, e := range drain(c, Events) {
		kinds[e.Event.Kind] = true
	}
	if !kinds["change"] || !kinds["store"] {
		t.Errorf("%v", kinds)
	}
	r.balanced()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r.wait("healing", func() bool { return r.Stats().Durable })
	r.sealed(field.Readings)
	c.Ack(live)
	if got := seqs(drain(c, Backlog)); got != "16-20" {
		t.Errorf("backlog: %s", got)
	}
	r.balanced()
}

func TestDropIsDeclared(t *testing.T) {
	r := start(t, testOptions(t.TempDir(), "a", "b"), quick())
	g := meter("feeder-1")
	r.fill(g, 0, 100)
	r.sealed(field.Readings)
	inFlight, _ := r.cursor("a").Next(Backlog, 10, 1<<20)
	n, err := r.Drop("a", "by the operator")
	if err != nil || n != 100 {
		t.Fatalf("%d, %v", n, err)
	}
	r.cursor("a").Ack(inFlight)
	r.balanced()
	if got := drain(r.cursor("a"), Backlog); len(got) > 0 {
		t.Errorf("%s", seqs(got))
	}
	if got := seqs(drain(r.cursor("b"), Backlog)); got != "1-100" {
		t.Errorf("%s", got)
	}
	r.wait("the ledger", func() bool { return len(r.Ledger(0)) > 0 })
	var count uint64
	for _, l := range r.Ledger(0) {
		if l.Destination != "a" {
			t.Errorf("%+v", l)
		}
		count += l.Count
	}
	if count != 100 {
		t.Errorf("the ledger shows %d", count)
	}
	if _, err := r.Drop("nobody", ""); err != ErrDestination {
		t.Error(err)
	}
}

func TestExportTakesNothing(t *testing.T) {
	o := testOptions(t.TempDir(), "a", "b")
	r := start(t, o, quick())
	g := meter("feeder-1")
	r.fill(g, 0, 200)
	r.sealed(field.Readings)
	c := r.cursor("a")
	b, _ := c.Next(Backlog, 50, 1<<20)
	c.Ack(b)
	r.mu.Lock()
	r.opt.Commit = time.Hour // what comes now stays in memory
	r.mu.Unlock()
	r.fill(g, 200, 210)
	for range 2 {
		for who, want := range map[string]string{"a": "51-210", "b": "1-210", "": "1-210"} {
			var got []field.Record
			err := r.Export(context.Background(), who, func(epoch uint32, rec field.Record) error {
				got = append(got, rec)
				return nil
			})
			if err != nil || seqs(got) != want {
				t.Errorf("%q: %s, %v", who, seqs(got), err)
			}
		}
	}
	r.balanced()
}

func TestTheLedgerSurvives(t *testing.T) {
	dir := t.TempDir()
	r := start(t, testOptions(dir, "a"), quick())
	r.fill(meter("feeder-1"), 0, 5)
	r.sealed(field.Readings)
	if _, err := r.Drop("", "test"); err != nil {
		t.Fatal(err)
	}
	r.end()
	r = start(t, testOptions(dir, "a"), quick())
	if l := r.Ledger(10); len(l) != 1 || l[0].Count != 5 || l[0].Class != "readings" {
		t.Errorf("%+v", l)
	}
	if e := drain(r.cursor("a"), Events); len(e) != 1 || e[0].Event.Kind != "loss" {
		t.Errorf("%+v", e)
	}
}
