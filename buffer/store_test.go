package buffer

import (
	"context"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

func TestAcknowledgedInTheHeadNeverTouchesTheFlash(t *testing.T) {
	o := testOptions(t.TempDir(), "platform")
	o.Commit = time.Minute
	r := start(t, o, defaultTuning())
	c, g := r.cursor("platform"), meter("feeder-1")
	before := r.Stats().Commits
	for n := range 5000 {
		r.fill(g, n, n+1)
		var b *Batch
		ok := false
		r.wait("a number", func() bool { b, ok = c.Next(Live, 100, 1<<16); return ok })
		if !ok || b.Backfill || b.Records[0].Seq != uint64(n+1) {
			t.Fatalf("record %d: %+v %v", n, b, ok)
		}
		c.Ack(b)
	}
	r.balanced()
	st := r.Stats()
	if b := st.Destinations[0].Books[field.Readings]; b.Delivered != 5000 || b.Buffered != 0 {
		t.Errorf("%+v", b)
	}
	// 5,000 records need a few leases, nothing else.
	if n := st.Commits - before; n > 4 {
		t.Errorf("%d commits while everything was acknowledged at once", n)
	}
}

func TestOutageThenDrainThenEmpty(t *testing.T) {
	r := start(t, testOptions(t.TempDir(), "platform"), quick())
	g := meter("feeder-1")
	r.fill(g, 0, 2000)
	r.sealed(field.Readings)
	r.balanced()
	c := r.cursor("platform")
	if _, ok := c.Next(Live, 10, 1000); ok {
		t.Fatal("sealed records on the live lane")
	}
	got := drain(c, Backlog)
	if s := seqs(got); s != "1-2000" {
		t.Fatal(s)
	}
	for i, rec := range got {
		want := reading(g, i)
		if rec.At != want.At || rec.Group.Device != "feeder-1" || rec.Values[3] != want.Values[3] {
			t.Fatalf("record %d: %+v", i, rec)
		}
	}
	r.balanced()
	r.wait("emptying", func() bool { return len(r.Backlog(0)) == 0 && r.Stats().BlockRecords == 0 })
}

func TestRestartOffersWhatIsOwed(t *testing.T) {
	dir := t.TempDir()
	r := start(t, testOptions(dir, "platform", "other"), quick())
	g := meter("feeder-1")
	r.fill(g, 0, 300)
	r.sealed(field.Readings)
	c := r.cursor("platform")
	b, _ := c.Next(Backlog, 120, 1<<20)
	c.Ack(b)
	n := len(b.Records)
	r.fill(g, 300, 310)
	if err := r.Append(context.Background(), event(1), reply(1)); err != nil {
		t.Fatal(err)
	}
	if err := r.AppendFor(context.Background(), "other", reply(2)); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r = start(t, testOptions(dir, "platform", "other"), quick())
	r.balanced()
	c = r.cursor("platform")
	if e := drain(c, Events); len(e) != 1 || e[0].Event.Kind != "change" {
		t.Errorf("events: %+v", e)
	}
	if e := drain(c, Replies); len(e) != 1 || string(e[0].Reply) != `{"id":"1"}` {
		t.Errorf("replies: %+v", e)
	}
	if e := drain(r.cursor("other"), Replies); len(e) != 2 || string(e[1].Reply) != `{"id":"2"}` {
		t.Errorf("replies of the other: %+v", e)
	}
	got := drain(c, Backlog)
	if len(got) != 310-n || got[0].Seq != uint64(n+1) || got[len(got)-1].Seq != 310 {
		t.Errorf("after the restart: %s", seqs(got))
	}
	r.fill(g, 310, 311)
	if b, ok := c.Next(Live, 1, 1); !ok || b.Records[0].Seq != 311 {
		t.Errorf("the next number after a clean stop: %+v", b)
	}
	r.balanced()
}
