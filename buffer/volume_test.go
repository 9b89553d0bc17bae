package buffer

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/testbench/volume"
)

var (
	fullRounds = flag.Int("full-disks", 1, "how many times the disk is filled in the test of full disks")
	fullPace   = flag.Int("full-pace", 16, "MiB a second at which the last of it is filled; 0 for as fast as it goes")
)

// witness takes everything that a destination is given, and what it is told is lost.
type witness struct {
	mu   sync.Mutex
	came map[uint32]ranges // sequence numbers, by epoch
	lost map[uint32]ranges // those that a loss or a skip names
	n    uint64            // readings
}

func newWitness() *witness { return &witness{came: map[uint32]ranges{}, lost: map[uint32]ranges{}} }

func add(to map[uint32]ranges, epoch uint32, from, end uint64) {
	r := to[epoch]
	r.add(from, end)
	to[epoch] = r
}

func (w *witness) take(c *Cursor, lanes ...Lane) (any bool) {
	for _, lane := range lanes {
		for {
			b, ok := c.Next(lane, 200, 1<<18)
			if !ok {
				break
			}
			any = true
			w.mu.Lock()
			for _, r := range b.Records {
				switch {
				case r.Group != nil:
					if seen := w.came[b.Epoch]; !seen.has(r.Seq) {
						w.n++
					}
					add(w.came, b.Epoch, r.Seq, r.Seq+1)
				case r.Event != nil && r.Event.Subject == "data":
					m := map[string]uint64{}
					for _, v := range r.Event.More {
						m[v.Name] = v.Value.Bits()
					}
					add(w.lost, uint32(m["of_epoch"]), m["from_seq"], m["to_seq"]+1)
				}
			}
			w.mu.Unlock()
			c.Ack(b)
		}
	}
	return any
}

// unexplained lists numbers, up to the last that came, that neither came nor stand in a loss.
func (w *witness) unexplained() []string {
	var out []string
	for epoch, came := range w.came {
		lost := w.lost[epoch]
		for seq := uint64(1); seq < came[len(came)-1].to; seq++ {
			if !came.has(seq) && !lost.has(seq) {
				out = append(out, fmt.Sprintf("%d/%d", epoch, seq))
			}
		}
	}
	return out
}

// TestADiskIsFilledFromOutside fills a small file system to its last byte, faster than most flash is, while readings come,
// Badger's compactors work, one destination keeps up and the other is away; and gives the space back; several times. The
// process lives, live goes on, and every reading comes or is declared lost. It may die, as docs/performance.md says, when
// the disk is filled whole within the milliseconds in which Badger writes a table through a mapped file.
func TestADiskIsFilledFromOutside(t *testing.T) {
	t.Parallel()
	if !volume.Own(t, "SIGBUS", "badger/v4/table.CreateTable") {
		return
	}
	v := volume.Ext4(t, 160<<20)
	o := testOptions(v.Dir+"/buffer", "a", "away")
	o.Limit, o.Reserve, o.HeadLimit = 48<<20, 32<<20, 512<<10
	tune := quick()
	tune.bucketBytes = 256 << 10
	tune.house = 200 * time.Millisecond
	r := start(t, o, tune)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	w := newWitness()
	c := r.cursor("a")
	n := 0
	pour := func(records int) {
		for range records {
			rec := bulky(n, 1000+rng.IntN(3000))
			if err := r.Append(context.Background(), rec); err != nil {
				t.Fatal(err)
			}
			n++
		}
		w.take(c, Live, Events, Backlog)
		r.wait("the flash to keep up", func() bool { st := r.Stats(); return !st.Durable || st.HeadBytes < o.HeadLimit/2 })
	}
	for round := range *fullRounds {
		for range 30 + rng.IntN(100) {
			pour(20)
		}
		piece := []int{64 << 10, 256 << 10, 1 << 20}[rng.IntN(3)]
		filled := make(chan struct{})
		go func() {
			defer close(filled)
			if err := v.Fill(piece, int64(*fullPace)<<20); err != nil {
				t.Error(err)
			}
		}()
		for done := false; !done; {
			select {
			case <-filled:
				done = true
			default:
				pour(20)
			}
		}
		r.wait("the store to notice", func() bool { pour(1); return !r.Stats().Durable })
		if st := r.Stats(); !strings.Contains(st.Trouble, "full") {
			t.Errorf("round %d: %q", round, st.Trouble)
		}
		before := w.n
		for range 50 {
			pour(20) // more than the head takes
		}
		if w.n-before < 900 {
			t.Errorf("round %d: only %d of 1000 readings came while the disk was full", round, w.n-before)
		}
		r.balanced()
		if err := v.Empty(); err != nil {
			t.Fatal(err)
		}
		r.wait("healing", func() bool { return r.Stats().Durable })
	}
	away := newWitness()
	r.wait("everything", func() bool {
		w.take(c, Live, Events, Backlog)
		away.take(r.cursor("away"), Events, Backlog, Live)
		d := r.Stats().Destinations
		return d[0].Backlog() == 0 && d[1].Backlog() == 0
	})
	r.balanced()
	for name, w := range map[string]*witness{"a": w, "away": away} {
		if gaps := w.unexplained(); len(gaps) > 0 {
			t.Errorf("%s: %d readings are missing without a word: %v", name, len(gaps), gaps[:min(len(gaps), 20)])
		}
	}
	books := r.Stats().Destinations[1].Books[field.Readings]
	if away.n+books.Lost != uint64(n) || books.Lost == 0 {
		t.Errorf("%d came of %d: %+v", away.n, n, books)
	}
	t.Logf("%+v", books)
	t.Logf("%d readings, disk filled %d times; the one that was away got %d and was told of %d that are lost", n, *fullRounds,
		away.n, books.Lost)
}

// TestADiskGoesReadOnly breaks the file system under the store, repairs it, and mounts it at the same place. Live goes
// on, the store ends in time also while it is broken, and after the repair everything is there.
func TestADiskGoesReadOnly(t *testing.T) {
	t.Parallel()
	if !volume.Own(t) {
		return
	}
	for _, repaired := range []bool{true, false} {
		t.Run(fmt.Sprint("repaired ", repaired), func(t *testing.T) {
			v := volume.Ext4(t, 128<<20)
			o := testOptions(v.Dir+"/buffer", "a")
			o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
			r := start(t, o, quick())
			g := meter("feeder-1")
			r.fill(g, 0, 2000)
			r.sealed(field.Readings)
			v.Break(t)
			r.fill(g, 2000, 2100)
			r.wait("the store to notice", func() bool { return !r.Stats().Durable })
			t.Log(r.Stats().Trouble)
			c := r.cursor("a")
			w := newWitness()
			if !w.take(c, Live) || w.n != 100 {
				t.Errorf("%d readings came live", w.n)
			}
			told := false
			for _, e := range drain(c, Events) {
				told = told || e.Event.Kind == "store"
			}
			if !told {
				t.Error("no event tells of it")
			}
			r.balanced()
			if repaired {
				if err := v.Repair(); err != nil {
					t.Fatal(err)
				}
				r.wait("healing", func() bool { return r.Stats().Durable })
				r.fill(g, 2100, 2200)
				r.sealed(field.Readings)
				w.take(c, Backlog)
				if gaps := w.unexplained(); len(gaps) > 0 || w.n != 2200 {
					t.Errorf("%d came; missing: %v", w.n, gaps)
				}
				r.balanced()
			}
			began := time.Now()
			err := r.end()
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s to stop", took)
			}
			if repaired && err != nil {
				t.Error(err)
			}
		})
	}
}
