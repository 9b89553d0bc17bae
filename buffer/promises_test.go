package buffer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

func TestDurableFirst(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	o.DurableFirst = true
	r := start(t, o, quick())
	r.fill(meter("feeder-1"), 0, 3)
	c := r.cursor("a")
	if b, ok := c.Next(Live, 10, 1<<20); ok {
		t.Fatalf("on the live lane: %+v", b)
	}
	b, ok := c.Next(Backlog, 10, 1<<20)
	if !ok || b.Backfill || seqs(b.Records) != "1-3" {
		t.Fatalf("left as soon as it was durable, so it is no backfill: %+v", b)
	}
}

func TestOneBadRecordBlocksNobody(t *testing.T) {
	r := start(t, testOptions(t.TempDir(), "a", "b"), quick())
	g := meter("feeder-1")
	r.fill(g, 0, 10)
	r.sealed(field.Readings)
	c := r.cursor("a")
	one, _ := c.Next(Backlog, 1, 1)
	c.Reject(one, "payload refused: 413")
	if got := seqs(drain(c, Backlog)); got != "2-10" {
		t.Fatal(got)
	}
	var told []field.Record
	r.wait("the event", func() bool { told = append(told, drain(c, Events)...); return len(told) > 0 })
	ev := told[0].Event
	if ev.Kind != "loss" || ev.Subject != "data" || ev.More[0].Value.AsText() != "poison" || ev.More[3].Value != field.Uint(1) {
		t.Errorf("%+v", ev)
	}
	if m := ev.More[len(ev.More)-1]; m.Name != "destination" || m.Value.AsText() != "a" {
		t.Errorf("%+v", m)
	}
	r.balanced()
}

// TestALossIsNotToldIntoTheBucketThatIsFreed rejects the only event of the only bucket: the bucket is free to go, and
// the event that tells of the loss must not go with it.
func TestALossIsNotToldIntoTheBucketThatIsFreed(t *testing.T) {
	dir := t.TempDir()
	r := idle(t, testOptions(dir, "a"))
	go r.Append(context.Background(), event(1))
	r.wait("the event to be taken", func() bool { return r.Stats().HeadRecords == 1 })
	r.sealNow(urgent)
	c := r.cursor("a")
	b, _ := c.Next(Events, 1, 1)
	c.Reject(b, "refused")
	r.free()
	if n := r.Stats().Destinations[0].Books[field.Events].Buffered; n != 1 {
		t.Fatalf("%d events wait; %+v", n, r.Stats())
	}
	if got := drain(c, Events); len(got) != 1 || got[0].Event.Kind != "loss" {
		t.Errorf("%+v", got)
	}
	r.balanced()
}

func TestMalformedAndOversizedRecordsAreRefused(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	for name, rec := range map[string]field.Record{
		"nothing in it":  {},
		"too few values": {Group: meter("x"), Values: []field.Value{field.Int(1)}},
		"too large":      {Reply: make([]byte, MaxRecord)},
	} {
		if err := r.Append(context.Background(), reading(meter("x"), 1), rec); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if n := r.Stats().Taken; n != 0 {
		t.Errorf("%d records taken of refused appends", n)
	}
}

// TestALossIsDeclaredWithTheBooks: no commit may see a record refused and no loss of it.
func TestALossIsDeclaredWithTheBooks(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	r.fill(meter("feeder-1"), 0, 5000)
	c := r.cursor("a")
	over := make(chan struct{})
	go func() {
		defer close(over)
		for b, ok := c.Next(Live, 1, 1); ok; b, ok = c.Next(Live, 1, 1) {
			c.Reject(b, "no")
		}
	}()
	var wrong atomic.Uint64
	var lookers sync.WaitGroup
	for range 4 {
		lookers.Go(func() {
			for {
				r.mu.Lock()
				declared := uint64(0)
				for _, l := range r.losses {
					declared += l.count
				}
				if r.dests[0].tracks[field.Readings].books.lost[Poison] != declared {
					wrong.Add(1)
				}
				r.mu.Unlock()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	lookers.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d times a rejected record was seen of which no loss was declared", n)
	}
}

// TestACommitThatFailedAndStandsCostsNothing: the sync of a commit fails, Badger writes what was in it all the same when it
// is closed, and a part of it is acknowledged from memory before the store is usable again.
func TestACommitThatFailedAndStandsCostsNothing(t *testing.T) {
	r := idle(t, testOptions(t.TempDir(), "a"))
	g := meter("feeder-1")
	seal := func() {
		for r.seal(everything) {
		}
	}
	r.fill(g, 0, 10)
	seal()
	r.fill(g, 10, 20)
	now := time.Now()
	r.mu.Lock()
	parcels := r.gather(now, everything)
	r.mu.Unlock()
	p := parcels[0]
	value, _, err := r.encode(r.flash, p)
	if err == nil {
		err = r.flash.commit([]change{{blockKey(field.Readings, r.place(p, p.st.last(), len(value), now).id, p.end), value}})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.stall(errors.New("input/output error"), parcels)
	c := r.cursor("a")
	b, _ := c.Next(Live, 5, 1<<20)
	c.Ack(b)
	r.w.retryAt = time.Time{}
	r.heal(time.Now())
	if !r.usable {
		t.Fatalf("%+v", r.Stats())
	}
	r.fill(g, 20, 30)
	seal()
	r.flash.cache = blockCache{} // others were read meanwhile
	var came ranges
	for {
		b, ok := c.Next(Backlog, 1, 1<<20)
		if !ok {
			break
		}
		came.add(b.Records[0].Seq, b.Records[0].Seq+1)
		c.Ack(b)
	}
	came.add(b.Records[0].Seq, b.Records[4].Seq+1)
	if came.within(1, 31) != 30 {
		t.Errorf("of numbers 1 to 30 %v came", came)
	}
	r.balanced()
}
