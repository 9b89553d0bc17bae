package uplink

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/wan"
)

// openStore gives a real store that runs until the test's end, and the cursor of its one destination.
func openStore(t testing.TB, commit time.Duration) (*buffer.Store, *buffer.Cursor) {
	t.Helper()
	s, err := buffer.Open(buffer.Options{
		Dir: t.TempDir(), Commit: commit, Destinations: []string{"platform"}, Limit: 64 << 20, Reserve: 1 << 20,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	running(t, "the store", s.Run)
	c, err := s.Cursor("platform")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// running runs f until the test's end.
func running(t testing.TB, what string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
}

func unnumbered(n int) []field.Record {
	r := readings(1, uint64(n))
	for i := range r {
		r[i].Seq = 0
	}
	return r
}

// TestCursor holds the real cursor against the same contract as the tests' own source.
func TestCursor(t *testing.T) {
	s, c := openStore(t, time.Hour)
	if err := s.Append(context.Background(), unnumbered(10)...); err != nil {
		t.Fatal(err)
	}
	testSource(t, c)
}

// TestOutages: the real store, a broker and a link that fail in every way while readings keep coming. All of them are
// at the broker at the end, what came twice was in flight, and the store is empty.
func TestOutages(t *testing.T) {
	t.Parallel()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	running(t, "the broker", b.Run)
	link, err := wan.New(b.Address())
	if err != nil {
		t.Fatal(err)
	}
	running(t, "the link", link.Run)

	var mu sync.Mutex
	arrived := make(map[uint64]int)
	if err := b.Tap("gw/gw1/data", func(m broker.Message) {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range seqsOf(m.Payload) {
			arrived[s]++
		}
	}); err != nil {
		t.Fatal(err)
	}
	store, cursor := openStore(t, 20*time.Millisecond)
	u := start(t, cursor, []string{"mqtt://" + link.Address()}, func(o *Options) { o.AckTimeout = 300 * time.Millisecond })

	faults := []struct {
		name        string
		begin, heal func()
	}{
		{"the broker is away", b.Down, func() {
			if err := b.Up(); err != nil {
				t.Error(err)
			}
		}},
		{"the broker forgets", func() {
			if err := b.Restart(false); err != nil {
				t.Error(err)
			}
		}, func() {}},
		{"refused", func() { b.Set(broker.Faults{Refuse: 3}); link.Reset() }, func() { b.Set(broker.Faults{}) }},
		{"swallowed", func() { b.Set(broker.Faults{Swallow: true}) }, func() { b.Set(broker.Faults{}) }},
		{"never acknowledged", func() { b.Set(broker.Faults{Mute: true}) }, func() { b.Set(broker.Faults{}) }},
		{"cut", link.Cut, link.Restore},
		{"black hole", link.BlackHole, link.Restore},
		{"half closed", func() { link.HalfClose(wan.Up) }, func() {}},
	}
	var n int
	for _, f := range faults {
		for phase := range 2 {
			for range 20 {
				if err := store.Append(context.Background(), unnumbered(20)...); err != nil {
					t.Fatal(err)
				}
				n += 20
				time.Sleep(5 * time.Millisecond) // the devices' pace
			}
			if phase == 0 {
				f.begin()
			}
		}
		f.heal()
		waitFor(t, "a session after: "+f.name, func() bool { return u.Stats().Connected })
	}
	count := func() (distinct, repeats int) {
		mu.Lock()
		defer mu.Unlock()
		for _, times := range arrived {
			repeats += times - 1
		}
		return len(arrived), repeats
	}
	waitFor(t, "everything at the broker", func() bool { d, _ := count(); return d == n })
	books := func() buffer.Books { return store.Stats().Destinations[0].Books[field.Readings] }
	waitFor(t, "everything acknowledged", func() bool { return books().Buffered == 0 })
	for s := range uint64(n) {
		if arrived[s+1] == 0 {
			t.Fatalf("seq %d is missing", s+1)
		}
	}
	_, repeats := count()
	s := u.Stats()
	t.Logf("%d records, %d repeated, %d sessions, %d attempts", n, repeats, s.Sessions, s.Attempts)
	if uint64(repeats) > s.Repeats {
		t.Errorf("%d repeats at the broker, only %d records were in flight when connections ended", repeats, s.Repeats)
	}
	if got := books(); got.Delivered != uint64(n) || got.Lost != 0 {
		t.Errorf("the books do not balance: %+v", got)
	}
}
