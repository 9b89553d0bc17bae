package buffer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// secondly appends one record of each group a second, and seals every so many seconds.
func secondly(r *running, groups []*field.Group, from, to, every int) {
	r.t.Helper()
	for n := from; n < to; n++ {
		for _, g := range groups {
			if err := r.Append(context.Background(), reading(g, n)); err != nil {
				r.t.Fatal(err)
			}
		}
		if n%every == every-1 {
			for r.seal(everything) {
			}
		}
	}
}

// closeLast makes the last bucket of readings a closed one.
func (r *running) closeLast() {
	b := r.streams[field.Readings].last()
	b.closing = true
	if err := r.Append(context.Background(), reading(meter("feeder-9"), 0)); err != nil {
		r.t.Fatal(err)
	}
	for r.seal(everything) {
	}
	b.closing = false
}

func thinOptions(dir string, destinations ...string) Options {
	o := testOptions(dir, destinations...)
	o.Thin = []time.Duration{10 * time.Second, time.Minute}
	return o
}

// told makes the losses that were declared part of the ledger.
func (r *running) told() []Loss {
	r.flushLosses()
	return r.Ledger(0)
}

func TestThinningKeepsTheLastOfEachStep(t *testing.T) {
	dir := t.TempDir()
	r := idle(t, thinOptions(dir, "a", "b"))
	groups := []*field.Group{meter("feeder-1"), meter("feeder-2")}
	const seconds = 600
	secondly(r, groups, 0, seconds, 20)
	r.closeLast()
	before := r.Stats()
	for r.thin() {
	}
	r.balanced()
	want := map[int64]bool{} // the last of each minute, and of each bucket's part of one
	for n := int64(59); n < seconds; n += 60 {
		want[n] = true
	}
	got := drain(r.cursor("a"), Backlog)
	last := map[string]int64{}
	thinned := 0
	for _, rec := range got[:len(got)-1] {
		n := (rec.At.Wall - wall) / 1000
		if plain := reading(rec.Group, int(n)); !slices.Equal(rec.Values, plain.Values) || rec.At != plain.At {
			t.Fatalf("%+v became %+v", plain, rec)
		}
		if n <= last[rec.Group.Device] {
			t.Errorf("%s: second %d behind %d", rec.Group.Device, n, last[rec.Group.Device])
		}
		last[rec.Group.Device] = n
		thinned++
	}
	if thinned > 3*2*seconds/60 || thinned < 2*seconds/60 {
		t.Errorf("%d records of %d are left", thinned, 2*seconds)
	}
	if after := r.Stats(); after.Destinations[0].Books[field.Readings].ByCause[Thinned]+uint64(len(got)) != before.Destinations[0].Books[field.Readings].Taken {
		t.Errorf("%+v", after.Destinations[0])
	}
	var declared uint64
	for _, l := range r.told() {
		if l.Cause != Thinned || l.Destination != "" || l.Class != "readings" {
			t.Errorf("%+v", l)
		}
		declared += l.Count
	}
	if lost := r.Stats().Destinations[1].Books[field.Readings].Lost; declared != lost {
		t.Errorf("%d declared, %d in the books", declared, lost)
	}
	events := drain(r.cursor("a"), Events)
	if len(events) == 0 || events[0].Event.More[0].Value.AsText() != "thinned" {
		t.Errorf("%+v", events)
	}
	r.balanced()

	// The other destination finds the same after a restart.
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r = idle(t, thinOptions(dir, "a", "b"))
	if b := drain(r.cursor("b"), Backlog); seqs(b) != seqs(got) {
		t.Errorf("b was left %s, a %s", seqs(b), seqs(got))
	}
	r.balanced()
}

// TestThinningSpeaksForWhatGoes thins records that tell of changes only: what stays must tell every last value.
func TestThinningSpeaksForWhatGoes(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.Thin = []time.Duration{time.Hour}
	r := idle(t, o)
	g := meter("feeder-1")
	final := make([]field.Value, len(g.Points))
	for n := range 200 {
		rec := reading(g, n)
		rec.At.Wall = wall - wall%3600e3 + int64(n)*1000
		rec.Quality = make([]field.Quality, len(g.Points))
		for p := range rec.Values {
			if p != n%len(g.Points) {
				rec.Values[p], rec.Quality[p] = field.Value{}, field.Absent
			} else {
				final[p] = rec.Values[p]
			}
		}
		if err := r.Append(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for r.seal(everything) {
	}
	r.closeLast()
	for r.thin() {
	}
	got := drain(r.cursor("a"), Backlog)
	if len(got) != 2 || !slices.Equal(got[0].Values, final) || got[0].Quality != nil {
		t.Errorf("%+v", got)
	}
	r.balanced()
}

// TestWhatCannotBeRewrittenNowIsRewrittenLater: while the disk is full nothing is thinned or joined.
func TestWhatCannotBeRewrittenNowIsRewrittenLater(t *testing.T) {
	for name, rewrite := range map[string]func(*running){
		"thinning": func(r *running) { r.thin() },
		"joining":  func(r *running) { r.join() },
	} {
		t.Run(name, func(t *testing.T) {
			r := idle(t, thinOptions(t.TempDir(), "a"))
			secondly(r, []*field.Group{meter("feeder-1")}, 0, 300, 1)
			r.closeLast()
			reserve := r.opt.Reserve
			r.opt.Reserve = 1 << 60
			for range 10 {
				rewrite(r)
			}
			r.opt.Reserve = reserve
			rewrite(r)
			if !r.streams[field.Readings].buckets[0].rewritten {
				t.Error("it was given up for good")
			}
			r.balanced()
		})
	}
}

func TestJoiningLosesNothingAndSavesMuch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := idle(t, testOptions(dir, "a", "b"))
	g := meter("feeder-1")
	secondly(r, []*field.Group{g}, 0, 1000, 1)
	r.closeLast()
	var before, after int64
	for _, b := range r.streams[field.Readings].buckets {
		before += b.bytes
	}
	head, _ := r.cursor("b").Next(Backlog, 5, 1<<20) // b stands in the first bucket, which stays as it is
	n := len(r.streams[field.Readings].buckets)
	for range n {
		r.join()
		r.balanced()
	}
	for _, b := range r.streams[field.Readings].buckets {
		after += b.bytes
	}
	t.Logf("%d buckets of %d bytes became %d of %d", n, before, len(r.streams[field.Readings].buckets), after)
	if after*2 > before {
		t.Errorf("%d bytes became %d", before, after)
	}
	if got := seqs(drain(r.cursor("a"), Backlog)); got != "1-1001" {
		t.Error(got)
	}
	r.cursor("b").Ack(head)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r = idle(t, testOptions(dir, "a", "b"))
	if got := seqs(drain(r.cursor("b"), Backlog)); got != "6-1001" {
		t.Error(got)
	}
	if l := r.told(); len(l) > 0 {
		t.Errorf("%+v", l)
	}
	r.balanced()
}

// TestAReaderComesWhileItIsRewritten begins a bucket at each step of its rewrite: either the rewrite gives up, or the
// reader gets the new bucket; never some of both.
func TestAReaderComesWhileItIsRewritten(t *testing.T) {
	for _, step := range []string{"written", "replaced", "summed up"} {
		t.Run(step, func(t *testing.T) {
			o := thinOptions(t.TempDir(), "a")
			r := idle(t, o)
			secondly(r, []*field.Group{meter("feeder-1")}, 0, 300, 20)
			r.closeLast()
			c := r.cursor("a")
			var begun *Batch
			r.tune.look = func(now string) {
				if now == step && begun == nil {
					begun, _ = c.Next(Backlog, 3, 1<<20)
				}
			}
			r.thin()
			if begun == nil {
				t.Fatal("the step never came")
			}
			c.Ack(begun)
			r.balanced()
			rest := drain(c, Backlog)
			b := r.Stats().Destinations[0].Books[field.Readings]
			if n := uint64(len(begun.Records) + len(rest)); b.Delivered != n || b.Lost != 301-n || b.ByCause[Thinned] != b.Lost {
				t.Errorf("%d came; %+v", n, b)
			}
			if gaveUp := begun.Records[1].Seq == 2; gaveUp != (step == "written") {
				t.Errorf("the reader was given %s", seqs(begun.Records))
			}
		})
	}
}

// TestACutWhileItIsRewritten copies the folder at each step, as a kill leaves it, and opens the copy: all is there, as it
// was or as it became, and what is not there is declared.
func TestACutWhileItIsRewritten(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"written", "replaced", "summed up", "done"} {
		for _, thin := range []bool{true, false} {
			t.Run(fmt.Sprint(step, thin), func(t *testing.T) {
				r := idle(t, thinOptions(t.TempDir(), "a"))
				secondly(r, []*field.Group{meter("feeder-1")}, 0, 300, 2)
				r.closeLast()
				image := ""
				taken := false
				look := func(now string) {
					if now == step && !taken {
						taken = true
						image = leftOf(t, r.opt.Dir)
					}
				}
				r.tune.look = look
				if thin {
					r.thin()
				} else {
					r.join()
				}
				look("done")
				if !taken {
					t.Fatal("the step never came")
				}
				survivor := idle(t, thinOptions(image, "a"))
				survivor.finishRewrites()
				came := drain(survivor.cursor("a"), Backlog)
				whole := step == "written" || step == "replaced" || !thin
				if whole && seqs(came) != "1-301" {
					t.Errorf("%s came", seqs(came))
				}
				if !whole {
					missing := 301 - uint64(len(came))
					var declared uint64
					for _, e := range drain(survivor.cursor("a"), Events) {
						if e.Event.Kind == "loss" && e.Event.More[0].Value.AsText() == "thinned" {
							declared += e.Event.More[3].Value.Bits()
						}
					}
					if missing == 0 || declared != missing {
						t.Errorf("%d are missing, %d declared", missing, declared)
					}
				}
				survivor.balanced()
				survivor.free()
				if left := len(survivor.streams[field.Readings].buckets); left > 1 {
					t.Errorf("%d buckets are left", left)
				}
				files, _ := filepath.Glob(filepath.Join(image, asidePrefix+"*"))
				if len(files) > 0 {
					t.Errorf("the store was taken for damaged")
				}
			})
		}
	}
}

// TestRewritingAtRandom mixes rewriting with all that readers do, restarts among it. Each record is delivered or
// thinned out, once, for each destination.
func TestRewritingAtRandom(t *testing.T) {
	t.Parallel()
	for round := range max(1, *modelRounds/2) {
		seed := uint64(time.Now().UnixNano()) + uint64(round)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			dir := t.TempDir()
			tune := quick()
			tune.bucketBytes, tune.joinBlocks = int64(1+rng.IntN(8))<<10, uint64(2+rng.IntN(8))
			tune.leaseLeast = 1 << 20
			reopen := func() *running { return idleWith(t, thinOptions(dir, "a", "b"), tune) }
			r := reopen()
			groups := []*field.Group{meter("feeder-1"), meter("feeder-2")}
			delivered := map[string]map[uint64]int{"a": {}, "b": {}}
			thinned := map[string]uint64{}
			out := map[string][]*Batch{}
			n := 0
			for range 100 {
				name := []string{"a", "a", "b"}[rng.IntN(3)]
				switch k := rng.IntN(100); {
				case k < 40:
					to := n + 1 + rng.IntN(30)
					secondly(r, groups, n, to, 1+rng.IntN(5))
					n = to
				case k < 55:
					if b, ok := r.cursor(name).Next(Backlog, 1+rng.IntN(40), 1<<16); ok {
						out[name] = append(out[name], b)
					}
				case k < 65:
					if bs := out[name]; len(bs) > 0 {
						i := rng.IntN(len(bs))
						r.cursor(name).Ack(bs[i])
						for _, rec := range bs[i].Records {
							delivered[name][rec.Seq]++
						}
						out[name] = slices.Delete(bs, i, i+1)
					}
				case k < 70:
					r.cursor(name).Rewind()
					out[name] = nil
				case k < 85:
					r.join()
				case k < 95:
					r.thin()
				case k < 97:
					for _, d := range r.Stats().Destinations {
						thinned[d.Name] += d.Books[field.Readings].ByCause[Thinned]
					}
					if err := r.end(); err != nil {
						t.Fatal(err)
					}
					out = map[string][]*Batch{}
					r = reopen()
				default:
					r.free()
				}
				r.balanced()
			}
			for r.seal(everything) {
			}
			for _, d := range r.Stats().Destinations {
				r.cursor(d.Name).Rewind()
				for _, rec := range drain(r.cursor(d.Name), Backlog) {
					delivered[d.Name][rec.Seq]++
				}
				if got := uint64(len(delivered[d.Name])) + thinned[d.Name] + d.Books[field.Readings].ByCause[Thinned]; got != uint64(2*n) {
					t.Errorf("%s: %d delivered and thinned out, of %d: %+v", d.Name, got, 2*n, d.Books[field.Readings])
				}
				for seq, times := range delivered[d.Name] {
					if times > 1 {
						t.Fatalf("%s was given %d %d times", d.Name, seq, times)
					}
				}
			}
			for _, l := range r.told() {
				if l.Cause != Thinned {
					t.Errorf("%+v", l)
				}
			}
		})
	}
}
