package buffer

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

var modelRounds = flag.Int("rounds", 4, "rounds of the random tests; more for a longer search")

// model is what a store is compared with: for each destination and class, which numbers were given and how each was
// settled.
type model struct {
	given   map[field.Class]uint64 // highest number
	settled map[string]map[string]string
	only    map[uint64]string // by number of the reply: to whom alone it is owed; "" for both
}

// owed says that a destination is to get a record.
func (m *model) owed(name string, c field.Class, seq uint64) bool {
	return c != field.Replies || m.only[seq] == "" || m.only[seq] == name
}

func key(c field.Class, epoch uint32, seq uint64) string {
	return fmt.Sprintf("%s %d %d", c, epoch, seq)
}

// TestBooksBalanceAtRandom does everything a store can live through without a fault, in random order, with two
// destinations of which one is often away, and compares it with a model: the books balance at every moment, no record
// is acknowledged under two numbers, order holds, and at the end everybody has everything
// that is for them.
func TestBooksBalanceAtRandom(t *testing.T) {
	t.Parallel()
	for round := range *modelRounds {
		seed := uint64(time.Now().UnixNano()) + uint64(round)
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomLife(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func randomLife(t *testing.T, rng *rand.Rand) {
	dir := t.TempDir()
	o := testOptions(dir, "a", "b")
	o.Commit = time.Duration(1+rng.IntN(30)) * time.Millisecond
	o.DurableFirst = rng.IntN(4) == 0
	tune := quick()
	tune.bucketBytes = int64(1+rng.IntN(8)) << 10
	tune.joinBlocks = uint64(2 + rng.IntN(20))
	tune.idleBytes = int64(rng.IntN(4)) << 10
	r := start(t, o, tune)
	groups := []*field.Group{meter("feeder-1"), meter("feeder-2")}
	m := model{given: map[field.Class]uint64{}, settled: map[string]map[string]string{"a": {}, "b": {}}, only: map[uint64]string{}}
	out := map[string][]*Batch{}
	at := map[field.Class]int{}
	for range 600 {
		switch k := rng.IntN(100); {
		case k < 40:
			var rs []field.Record
			to := []string{"", "a", "b"}[rng.IntN(3)]
			for range 1 + rng.IntN(5) {
				switch rng.IntN(12) {
				case 0:
					rs = append(rs, event(at[field.Events]))
					at[field.Events]++
				case 1:
					rs = append(rs, reply(at[field.Replies]))
					at[field.Replies]++
					m.only[uint64(at[field.Replies])] = to
				default:
					rs = append(rs, reading(groups[rng.IntN(2)], at[field.Readings]))
					at[field.Readings]++
				}
			}
			if err := r.AppendFor(context.Background(), to, rs...); err != nil {
				t.Fatal(err)
			}
		case k < 75:
			name := []string{"a", "a", "a", "b"}[rng.IntN(4)]
			lane := Lanes[rng.IntN(len(Lanes))]
			if b, ok := r.cursor(name).Next(lane, 1+rng.IntN(40), 1+rng.IntN(8000)); ok {
				m.check(t, name, b)
				out[name] = append(out[name], b)
			}
		case k < 92:
			name := []string{"a", "b"}[rng.IntN(2)]
			if n := len(out[name]); n > 0 {
				i := rng.IntN(n)
				if rng.IntN(30) == 0 {
					m.settle(name, out[name][i], "poison")
					r.cursor(name).Reject(out[name][i], "test")
				} else {
					m.settle(name, out[name][i], "delivered")
					r.cursor(name).Ack(out[name][i])
				}
				if rng.IntN(10) > 0 { // else it is acknowledged twice
					out[name] = append(out[name][:i], out[name][i+1:]...)
				}
			}
		case k < 95:
			name := []string{"a", "b"}[rng.IntN(2)]
			r.cursor(name).Rewind()
			if rng.IntN(2) == 0 {
				out[name] = nil
			}
		case k < 96:
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		default:
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			before := r.Stats().Destinations
			r = start(t, o, tune)
			for i, d := range r.Stats().Destinations {
				for _, c := range field.Classes {
					if n, found := before[i].Books[c].Buffered, d.Books[c].Found; n != found {
						t.Fatalf("%s: %d %s waited at the stop, %d were found", d.Name, n, c, found)
					}
				}
			}
			out = map[string][]*Batch{}
		}
		r.balanced()
	}
	// The events that tell of rejected records come a moment later, and are to be delivered too.
	r.wait("losses to be told", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.losses) == 0 && len(r.streams[field.Events].head.entries) == 0
	})
	for _, name := range []string{"a", "b"} {
		c := r.cursor(name)
		c.Rewind()
		r.wait("everything to be delivered", func() bool {
			for _, lane := range Lanes {
				for {
					b, ok := c.Next(lane, 50, 1<<16)
					if !ok {
						break
					}
					m.check(t, name, b)
					m.settle(name, b, "delivered")
					c.Ack(b)
				}
			}
			for _, d := range r.Stats().Destinations {
				if d.Name == name {
					return d.Backlog() == 0
				}
			}
			return false
		})
	}
	r.balanced()
	for _, c := range field.Classes {
		for seq := uint64(1); seq <= m.given[c]; seq++ {
			for name, settled := range m.settled {
				if m.owed(name, c, seq) && settled[key(c, 1, seq)] == "" {
					t.Errorf("%s: %s %d was never offered", name, c, seq)
				}
			}
		}
	}
	for _, c := range []field.Class{field.Readings, field.Replies} {
		if n := int(m.given[c]); n != at[c] {
			t.Errorf("%d %s were numbered, %d appended", n, c, at[c])
		}
	}
	r.wait("the flash to be emptied", func() bool { return r.Stats().BlockRecords == 0 && len(r.Backlog(0)) == 0 })
	for _, l := range r.Ledger(0) {
		if l.Cause != Poison {
			t.Errorf("the ledger shows a loss that nobody caused: %+v", l)
		}
	}
}

// check looks at what was offered.
func (m *model) check(t *testing.T, name string, b *Batch) {
	t.Helper()
	if b.Epoch != 1 {
		t.Fatalf("epoch %d", b.Epoch)
	}
	last := uint64(0)
	for _, rec := range b.Records {
		if rec.Class() != b.Class || rec.Seq <= last {
			t.Fatalf("%s was offered %s %d behind %d", name, rec.Class(), rec.Seq, last)
		}
		if !m.owed(name, b.Class, rec.Seq) {
			t.Fatalf("%s was offered %s %d, which is not for it", name, rec.Class(), rec.Seq)
		}
		last = rec.Seq
		m.given[b.Class] = max(m.given[b.Class], rec.Seq)
		if how := m.settled[name][key(b.Class, b.Epoch, rec.Seq)]; how != "" {
			t.Fatalf("%s was offered %s %d again, which was %s", name, rec.Class(), rec.Seq, how)
		}
	}
}

func (m *model) settle(name string, b *Batch, how string) {
	for _, rec := range b.Records {
		m.settled[name][key(b.Class, b.Epoch, rec.Seq)] = how
	}
}
