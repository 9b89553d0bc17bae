package buffer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// quick is a tuning for tests: everything soon, buckets small.
func quick() tuning {
	t := defaultTuning()
	t.gather = time.Millisecond
	t.cursors = 50 * time.Millisecond
	t.retry = 100 * time.Millisecond
	t.lock = time.Millisecond
	t.house = 50 * time.Millisecond
	t.bucketBytes = 16 << 10
	t.idleBytes = 1
	t.freeWait = 20 * time.Millisecond
	t.leaseLeast = 500
	return t
}

// running is a store with its Run going.
type running struct {
	*Store
	t    *testing.T
	stop context.CancelFunc
	done chan error
	once bool
}

func testOptions(dir string, destinations ...string) Options {
	return Options{Dir: dir, Commit: 20 * time.Millisecond, Destinations: destinations, Limit: 64 << 20, Reserve: 1 << 20,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func start(t *testing.T, o Options, tune tuning) *running {
	t.Helper()
	s, err := open(o, tune)
	if err != nil {
		t.Fatal(err)
	}
	return keep(t, s)
}

func keep(t *testing.T, s *Store) *running {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Store: s, t: t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() { r.end() })
	return r
}

// end stops the store cleanly and gives what Run returned.
func (r *running) end() error {
	if r.once {
		return nil
	}
	r.once = true
	r.stop()
	return <-r.done
}

// meter is the shape of the test readings.
func meter(device string) *field.Group {
	g := &field.Group{Device: device, Name: field.MainGroup}
	for i := range 10 {
		g.Points = append(g.Points, field.Point{Name: fmt.Sprintf("v%d", i), Kind: field.KindFloat32, Unit: "V"})
	}
	return g
}

var wall = int64(1763925256000)

// reading makes the n-th record of a device.
func reading(g *field.Group, n int) field.Record {
	r := field.Record{At: field.Stamp{Wall: wall + int64(n)*1000, Mono: int64(n) * 1000, Boot: 1}, Group: g}
	for p := range g.Points {
		r.Values = append(r.Values, field.Float32(float32(23000+n%97+p)/100))
	}
	return r
}

func event(n int) field.Record {
	return field.Record{At: field.Stamp{Wall: wall}, Event: &field.Event{Kind: "change", Subject: "pump-1/running",
		More: []field.Member{{Name: "n", Value: field.Int(int64(n))}}}}
}

func reply(n int) field.Record {
	return field.Record{At: field.Stamp{Wall: wall}, Reply: []byte(fmt.Sprintf(`{"id":"%d"}`, n))}
}

// fill appends readings from..to-1.
func (r *running) fill(g *field.Group, from, to int) {
	r.t.Helper()
	for n := from; n < to; n++ {
		if err := r.Append(context.Background(), reading(g, n)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// cursor gives a destination's cursor.
func (r *running) cursor(name string) *Cursor {
	r.t.Helper()
	c, err := r.Cursor(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// wait polls until ok; the deadline is generous, for a slow machine.
func (r *running) wait(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within 2 minutes; %+v", what, r.Stats())
		}
	}
}

// sealed waits until nothing of the class is in the head.
func (r *running) sealed(c field.Class) {
	r.t.Helper()
	r.wait("sealing", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.streams[c].head.entries) == 0
	})
}

// balanced fails the test unless the books add up, and match what the store really holds.
func (r *running) balanced() {
	r.t.Helper()
	if err := balance(r.Stats()); err != nil {
		r.t.Fatal(err)
	}
}

func balance(st Stats) error {
	for _, d := range st.Destinations {
		for c, b := range d.Books {
			if b.Taken != b.Delivered+b.Buffered+b.Lost {
				return fmt.Errorf("%s, %s: taken %d ≠ delivered %d + buffered %d + lost %d", d.Name, field.Class(c), b.Taken, b.Delivered, b.Buffered, b.Lost)
			}
		}
	}
	return nil
}

// drain takes and acknowledges everything of a lane until there is no more, and gives it.
func drain(c *Cursor, lane Lane) []field.Record {
	var all []field.Record
	for {
		b, ok := c.Next(lane, 100, 1<<16)
		if !ok {
			return all
		}
		all = append(all, b.Records...)
		c.Ack(b)
	}
}

func seqs(rs []field.Record) string {
	var b strings.Builder
	for i := 0; i < len(rs); {
		j := i
		for j+1 < len(rs) && rs[j+1].Seq == rs[j].Seq+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if fmt.Fprintf(&b, "%d", rs[i].Seq); j > i {
			fmt.Fprintf(&b, "-%d", rs[j].Seq)
		}
		i = j + 1
	}
	return b.String()
}
