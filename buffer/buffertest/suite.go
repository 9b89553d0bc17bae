// Package buffertest is the suite that every kind of store passes: the one on flash and the one in memory alone keep
// the same promises, but for durability. It uses what buffer exports, and nothing else.
package buffertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// Open makes the options of a fresh store for one test: where it lives is all that they say.
type Open func(t *testing.T) buffer.Options

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"numbers rise by one in each class":        numbers,
		"an acknowledgement in any order":          anyOrder,
		"a rewind offers again, in order":          rewind,
		"a rejected batch is lost to one alone":    reject,
		"destinations do not wait for one another": apart,
		"a reply for one destination alone":        forOne,
		"limits of a batch":                        limits,
		"equal shapes are one pointer":             shapes,
		"what is malformed is refused":             malformed,
		"after the end":                            ended,
		"many at once":                             many,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, open) })
	}
}

// store is a store with its Run going.
type store struct {
	*buffer.Store
	t    *testing.T
	stop func()
}

func start(t *testing.T, open Open, destinations ...string) *store {
	t.Helper()
	o := open(t)
	o.Destinations = destinations
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s, err := buffer.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	st := &store{Store: s, t: t, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})}
	t.Cleanup(st.stop)
	return st
}

func (s *store) cursor(name string) *buffer.Cursor {
	s.t.Helper()
	c, err := s.Cursor(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *store) add(records ...field.Record) {
	s.t.Helper()
	if err := s.Append(context.Background(), records...); err != nil {
		s.t.Fatal(err)
	}
	s.balanced()
}

func (s *store) balanced() {
	s.t.Helper()
	for _, d := range s.Stats().Destinations {
		for c, b := range d.Books {
			if b.Taken != b.Delivered+b.Buffered+b.Lost {
				s.t.Fatalf("%s, %s: %+v", d.Name, field.Class(c), b)
			}
		}
	}
}

// next waits for n readings on either lane, live first, as an uplink takes them.
func (s *store) next(c *buffer.Cursor, n, atMost int) []*buffer.Batch {
	s.t.Helper()
	var list []*buffer.Batch
	for end := time.Now().Add(30 * time.Second); n > 0; {
		var b *buffer.Batch
		var ok bool
		for _, lane := range []buffer.Lane{buffer.Live, buffer.Backlog} {
			if b, ok = c.Next(lane, min(n, atMost), 1<<20); ok {
				break
			}
		}
		if ok {
			list = append(list, b)
			n -= len(b.Records)
			continue
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d readings did not come; %+v", n, s.Stats())
		}
		select {
		case <-c.Ready():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return list
}

// lane waits for one batch of a lane.
func (s *store) lane(c *buffer.Cursor, lane buffer.Lane, n int) *buffer.Batch {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if b, ok := c.Next(lane, n, 1<<20); ok {
			return b
		}
	}
	s.t.Fatalf("nothing on lane %d", lane)
	return nil
}

// shape is a fresh pointer each time: the store has to see that equal shapes are the same.
func shape() *field.Group {
	return &field.Group{Device: "pump-1", Name: field.MainGroup, Points: []field.Point{{Name: "level", Kind: field.KindInt, Unit: "m"}}}
}

func reading(n int) field.Record {
	return field.Record{At: field.Stamp{Wall: int64(n)}, Group: shape(), Values: []field.Value{field.Int(int64(n))}}
}

func readings(from, to int) (rs []field.Record) {
	for n := from; n < to; n++ {
		rs = append(rs, reading(n))
	}
	return rs
}

func event(n int) field.Record {
	return field.Record{At: field.Stamp{Wall: int64(n)}, Event: &field.Event{Kind: "change", Subject: "pump-1/running"}}
}

func reply(n int) field.Record { return field.Record{Reply: fmt.Append(nil, n)} }

// seqs checks that batches hold exactly the numbers from … to, in order.
func seqs(t *testing.T, list []*buffer.Batch, from, to uint64) {
	t.Helper()
	at := from
	for _, b := range list {
		for _, r := range b.Records {
			if r.Seq != at {
				t.Fatalf("number %d where %d was due", r.Seq, at)
			}
			at++
		}
	}
	if at != to+1 {
		t.Fatalf("the last was %d, not %d", at-1, to)
	}
}

func numbers(t *testing.T, open Open) {
	s := start(t, open, "a")
	for n := range 10 {
		s.add(reading(n), event(n), reply(n), reading(n))
	}
	c := s.cursor("a")
	seqs(t, s.next(c, 20, 7), 1, 20)
	for _, lane := range []buffer.Lane{buffer.Events, buffer.Replies} {
		var list []*buffer.Batch
		for n := 10; n > 0; {
			b := s.lane(c, lane, n)
			list = append(list, b)
			n -= len(b.Records)
		}
		seqs(t, list, 1, 10)
	}
}

func anyOrder(t *testing.T, open Open) {
	s := start(t, open, "a")
	s.add(readings(0, 30)...)
	c := s.cursor("a")
	list := s.next(c, 30, 5)
	for i := len(list) - 1; i >= 0; i -= 2 {
		c.Ack(list[i])
		s.balanced()
	}
	for i := len(list) - 2; i >= 0; i -= 2 {
		c.Ack(list[i])
		c.Ack(list[i]) // twice is once
		s.balanced()
	}
	if b := s.Stats().Destinations[0].Books[field.Readings]; b.Delivered != 30 || b.Buffered != 0 {
		t.Errorf("%+v", b)
	}
}

func rewind(t *testing.T, open Open) {
	s := start(t, open, "a")
	s.add(readings(0, 20)...)
	c := s.cursor("a")
	first := s.next(c, 10, 10)
	second := s.next(c, 10, 10)
	for _, b := range first {
		c.Ack(b)
	}
	c.Rewind()
	seqs(t, s.next(c, 10, 10), 11, 20)
	c.Rewind()
	for _, b := range second { // the acknowledgement was on its way
		c.Ack(b)
	}
	for _, lane := range buffer.Lanes {
		if b, ok := c.Next(lane, 100, 1<<20); ok {
			t.Errorf("%+v", b)
		}
	}
	s.balanced()
}

func reject(t *testing.T, open Open) {
	s := start(t, open, "a", "b")
	s.add(readings(0, 10)...)
	a, b := s.cursor("a"), s.cursor("b")
	list := s.next(a, 3, 3)
	for _, x := range list {
		a.Reject(x, "refused")
	}
	s.balanced()
	seqs(t, s.next(a, 7, 7), 4, 10)
	seqs(t, s.next(b, 10, 10), 1, 10)
	ev := s.lane(b, buffer.Events, 1).Records[0].Event
	if ev.Kind != "loss" || ev.Subject != "data" {
		t.Errorf("%+v", ev)
	}
	if l := s.Ledger(0); len(l) != 1 || l[0].Destination != "a" || l[0].Cause != buffer.Poison || l[0].From != 1 || l[0].To != 3 || l[0].Count != 3 {
		t.Errorf("%+v", l)
	}
	if got := s.Stats().Destinations[0].Books[field.Readings].ByCause[buffer.Poison]; got != 3 {
		t.Errorf("%d poisoned", got)
	}
}

func apart(t *testing.T, open Open) {
	s := start(t, open, "slow", "quick")
	slow, quick := s.cursor("slow"), s.cursor("quick")
	for n := 0; n < 100; n += 10 {
		s.add(readings(n, n+10)...)
		for _, b := range s.next(quick, 10, 10) {
			quick.Ack(b)
		}
	}
	if b := s.Stats().Destinations[1].Books[field.Readings]; b.Delivered != 100 || b.Buffered != 0 {
		t.Errorf("%+v", b)
	}
	seqs(t, s.next(slow, 100, 33), 1, 100)
	if _, err := s.Cursor("nobody"); !errors.Is(err, buffer.ErrDestination) {
		t.Error(err)
	}
}

func forOne(t *testing.T, open Open) {
	s := start(t, open, "a", "b")
	for n, to := range []string{"b", "a", "", "nobody"} {
		if err := s.AppendFor(context.Background(), to, reply(n), event(n), reading(n)); err != nil {
			t.Fatal(err)
		}
		s.balanced()
	}
	for name, want := range map[string]string{"a": "123", "b": "023"} {
		c := s.cursor(name)
		got := ""
		for len(got) < len(want) {
			b := s.lane(c, buffer.Replies, 10)
			for _, r := range b.Records {
				got += string(r.Reply)
			}
			c.Ack(b)
			s.balanced()
		}
		if b, more := c.Next(buffer.Replies, 10, 1<<20); got != want || more {
			t.Errorf("%s got the replies %s and %+v, not %s alone", name, got, b, want)
		}
		seqs(t, s.next(c, 4, 1), 1, 4)
		for n := 0; n < 4; {
			n += len(s.lane(c, buffer.Events, 4-n).Records)
		}
	}
	for _, d := range s.Stats().Destinations {
		if b := d.Books[field.Replies]; b.Taken != 3 || b.Delivered != 3 {
			t.Errorf("%s: %+v", d.Name, b)
		}
	}
}

func limits(t *testing.T, open Open) {
	s := start(t, open, "a")
	s.add(readings(0, 10)...)
	c := s.cursor("a")
	one := s.next(c, 1, 1)[0]
	if len(one.Records) != 1 || one.Bytes == 0 {
		t.Fatalf("%+v", one)
	}
	for _, lane := range []buffer.Lane{buffer.Live, buffer.Backlog} {
		if b, ok := c.Next(lane, 100, 2*one.Bytes); ok && len(b.Records) > 2 {
			t.Errorf("%d records in the bytes of two", len(b.Records))
		}
		if b, ok := c.Next(lane, 100, 1); ok && len(b.Records) != 1 {
			t.Errorf("%d records in one byte, not the one that may be too large", len(b.Records))
		}
	}
}

func shapes(t *testing.T, open Open) {
	s := start(t, open, "a")
	other := *shape()
	r := reading(1)
	r.Group = &other
	s.add(reading(0), r)
	list := s.next(s.cursor("a"), 2, 1)
	if list[0].Records[0].Group != list[1].Records[0].Group {
		t.Error("equal shapes are two pointers")
	}
}

func malformed(t *testing.T, open Open) {
	s := start(t, open, "a")
	if err := s.Append(context.Background(), reading(0), field.Record{Group: shape()}); err == nil {
		t.Error("taken without its values")
	}
	if n := s.Stats().Taken; n != 0 {
		t.Errorf("%d taken", n)
	}
}

func ended(t *testing.T, open Open) {
	s := start(t, open, "a")
	c := s.cursor("a")
	s.add(event(0))
	b := s.lane(c, buffer.Events, 1)
	c.Ack(b)
	s.stop()
	if err := s.Append(context.Background(), reading(0)); !errors.Is(err, buffer.ErrClosed) {
		t.Error(err)
	}
	c.Ack(b)
	c.Rewind()
	c.Next(buffer.Backlog, 1, 1)
	s.balanced()
}

// many has appenders and destinations at work at once: everybody gets everything, in order.
func many(t *testing.T, open Open) {
	s := start(t, open, "a", "b")
	const appenders, each = 4, 100
	var wg sync.WaitGroup
	for range appenders {
		wg.Go(func() {
			for n := range each {
				if err := s.Append(context.Background(), reading(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, name := range []string{"a", "b"} {
		wg.Go(func() {
			c := s.cursor(name)
			got := map[uint64]bool{}
			for len(got) < appenders*each && !t.Failed() {
				for _, b := range s.next(c, 1, 1) {
					for _, r := range b.Records {
						if got[r.Seq] {
							t.Errorf("%s got %d twice", name, r.Seq)
						}
						got[r.Seq] = true
					}
					c.Ack(b)
				}
			}
		})
	}
	for range 100 {
		s.balanced()
	}
	wg.Wait()
	s.balanced()
}
