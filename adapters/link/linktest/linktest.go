// Package linktest is the contract of link.Line as a suite of tests. Every kind of line runs it; what passes can be
// put where a Line is asked for. It promises to fail when an implementation takes old bytes for an answer, misses a
// cancellation, hangs in Close, or does not come back when its peer does. It is imported by tests only.
package linktest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/link"
)

// Peer is the far end of a line under test, as its device would see it. Receive and Send are called from one goroutine
// at a time, Vanish and Return while neither is.
type Peer interface {
	// Receive gives the next n bytes that the line sent, and waits for them at most 10 s.
	Receive(n int) ([]byte, error)
	// Send puts bytes on the line. It waits for the line to be open, at most 10 s.
	Send([]byte) error
	// Vanish takes the peer away: an adapter unplugged, a device server switched off.
	Vanish()
	// Return brings it back under the same name.
	Return()
}

// Fixture is one kind of line.
type Fixture struct {
	// New makes a line that was not yet used and its peer, and cleans both up when the test ends.
	New    func(t *testing.T) (link.Line, Peer)
	Stream bool // the line keeps what is left over, and leaves it to the framer
}

const (
	forever = time.Minute           // a wait that only a fault can exhaust
	brief   = 80 * time.Millisecond // a wait that is meant to end
	patient = 20 * time.Second      // what a slow machine may take
)

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	for _, c := range []struct {
		name string
		run  func(*bench)
	}{
		{"answer", answer},
		{"answers in turn", answersInTurn},
		{"long answer", longAnswer},
		{"timeout", timeout},
		{"garbage", garbage},
		{"garbage then answer", garbageThenAnswer},
		{"secret", secret},
		{"split answer", splitAnswer},
		{"late answer", lateAnswer},
		{"out of step", outOfStep},
		{"cancel", cancelled},
		{"cancelled before", cancelledBefore},
		{"same context again", sameContext},
		{"close under an exchange", closeUnder},
		{"vanish and return", vanish},
		{"vanish while idle", vanishIdle},
		{"broadcast", broadcast},
		{"listen", listen},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, p := f.New(t)
			c.run(&bench{t, l, p, f.Stream})
		})
	}
}

type bench struct {
	*testing.T
	line   link.Line
	peer   Peer
	stream bool
}

// Frames of the suite: 0xA5, id, length of the rest (two bytes, low first), the rest.
func frame(id byte, payload string) []byte {
	return append([]byte{0xA5, id, byte(len(payload)), byte(len(payload) >> 8)}, payload...)
}

func request(id byte) []byte { return frame(id, "") }

// framer finds the frame of id, and skips noise and others.
func framer(id byte) link.Framer {
	return func(got []byte) (answer []byte, skip, missing int, err error) {
		for i := 0; i < len(got); {
			b := got[i:]
			if b[0] != 0xA5 {
				i++
				continue
			}
			if len(b) < 4 {
				return nil, i, 4 - len(b), nil
			}
			n := 4 + int(b[2]) + int(b[3])<<8
			if len(b) < n {
				return nil, i, n - len(b), nil
			}
			if b[1] == id {
				return b[:n], i + n, 0, nil
			}
			i += n
		}
		return nil, 0, 1, nil
	}
}

// during runs what the peer does beside what the line does, and waits for both.
func (b *bench) during(peer func() error, line func()) {
	b.Helper()
	done := make(chan error, 1)
	go func() { done <- peer() }()
	line()
	if err := <-done; err != nil {
		b.Errorf("the peer: %v", err)
	}
}

// serve answers one request with the given chunks.
func (b *bench) serve(request []byte, chunks ...[]byte) func() error {
	return func() error {
		got, err := b.peer.Receive(len(request))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, request) {
			return errors.New("the request came as something else")
		}
		for i, c := range chunks {
			if i > 0 {
				time.Sleep(20 * time.Millisecond) // a pause within the answer is the case at hand
			}
			if err := b.peer.Send(c); err != nil {
				return err
			}
		}
		return nil
	}
}

func (b *bench) expect(ctx context.Context, id byte, payload string) {
	b.Helper()
	got, err := b.line.Exchange(ctx, request(id), forever, framer(id))
	if err != nil {
		b.Fatalf("exchange: %v", err)
	}
	if want := frame(id, payload); !bytes.Equal(got, want) {
		b.Fatalf("answer % x, want % x", got, want)
	}
}

// works proves that the line is of use.
func (b *bench) works(id byte) {
	b.Helper()
	b.during(b.serve(request(id), frame(id, "works")), func() { b.expect(b.Context(), id, "works") })
}

func answer(b *bench) { b.works(1) }

func answersInTurn(b *bench) {
	for id := byte(1); id <= 20; id++ {
		b.works(id)
	}
}

func longAnswer(b *bench) {
	long := string(bytes.Repeat([]byte("0123456789abcdef"), 200))
	b.during(b.serve(request(1), frame(1, long)), func() { b.expect(b.Context(), 1, long) })
	b.works(2)
}

func timeout(b *bench) {
	b.works(1)
	b.during(b.serve(request(2)), func() {
		began := time.Now()
		_, err := b.line.Exchange(b.Context(), request(2), brief, framer(2))
		if !errors.Is(err, link.ErrTimeout) {
			b.Fatalf("no answer gave %v, want ErrTimeout", err)
		}
		if d := time.Since(began); d < brief {
			b.Errorf("gave up after %v, wait was %v", d, brief)
		}
	})
	b.works(3)
}

func garbage(b *bench) {
	b.works(1)
	noise := []byte{0x00, 0x13, 0x37}
	b.during(b.serve(request(2), noise), func() {
		_, err := b.line.Exchange(b.Context(), request(2), brief, framer(2))
		var g *link.GarbageError
		if !errors.As(err, &g) {
			b.Fatalf("noise gave %v, want a GarbageError", err)
		}
		if g.N != len(noise) || !bytes.Equal(g.Got, noise) {
			b.Errorf("noise % x was reported as %d bytes % x", noise, g.N, g.Got)
		}
	})
	b.works(3)
}

// secret: what comes after a request with a secret may be its echo, and no error shows it.
func secret(b *bench) {
	b.during(b.serve(request(4), request(4)), func() {
		_, err := b.line.Exchange(link.WithSecret(b.Context(), link.Span{From: 1, To: 2}), request(4), brief, framer(5))
		var g *link.GarbageError
		if !errors.As(err, &g) {
			b.Fatalf("an echo gave %v, want a GarbageError", err)
		}
		if g.N != len(request(4)) || g.Got != nil || strings.Contains(err.Error(), "a5") {
			b.Errorf("an echo was reported as %d bytes % x: %v", g.N, g.Got, err)
		}
	})
	garbage(b)
}

func garbageThenAnswer(b *bench) {
	b.during(b.serve(request(1), []byte{0x00, 0xFF, 0x13}, frame(1, "clean")), func() { b.expect(b.Context(), 1, "clean") })
	b.works(2)
}

func splitAnswer(b *bench) {
	f := frame(1, "in three pieces")
	b.during(b.serve(request(1), f[:1], f[1:6], f[6:]), func() { b.expect(b.Context(), 1, "in three pieces") })
}

// lateAnswer: what came before a request was sent is not its answer. On a stream only the framer can tell, by the id.
func lateAnswer(b *bench) {
	id := byte(1)
	b.during(b.serve(request(id)), func() {
		if _, err := b.line.Exchange(b.Context(), request(id), brief, framer(id)); !errors.Is(err, link.ErrTimeout) {
			b.Fatalf("no answer gave %v, want ErrTimeout", err)
		}
	})
	if err := b.peer.Send(frame(id, "late")); err != nil {
		b.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the system has to bring it across; there is no sign when it has
	if b.stream {
		id++
	}
	b.works(id)
}

func outOfStep(b *bench) {
	cause := errors.New("impossible length")
	b.during(b.serve(request(1), frame(1, "x")), func() {
		_, err := b.line.Exchange(b.Context(), request(1), forever, func([]byte) ([]byte, int, int, error) { return nil, 0, 0, cause })
		var g *link.GarbageError
		if !errors.As(err, &g) || !errors.Is(err, cause) {
			b.Fatalf("a framer's error gave %v, want a GarbageError that wraps it", err)
		}
	})
	b.works(2)
}

func cancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	began := time.Now()
	b.during(func() error {
		_, err := b.peer.Receive(len(request(1)))
		cancel()
		return err
	}, func() {
		if _, err := b.line.Exchange(ctx, request(1), forever, framer(1)); !errors.Is(err, context.Canceled) {
			b.Fatalf("cancelling gave %v", err)
		}
	})
	if d := time.Since(began); d > patient {
		b.Errorf("cancelling took %v", d)
	}
	b.works(2)

	ctx, cancel = context.WithTimeout(b.Context(), brief)
	defer cancel()
	b.during(b.serve(request(3)), func() {
		if _, err := b.line.Exchange(ctx, request(3), forever, framer(3)); !errors.Is(err, context.DeadlineExceeded) {
			b.Fatalf("the context's deadline gave %v", err)
		}
	})
	b.works(4)
}

func cancelledBefore(b *bench) {
	b.works(1)
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if _, err := b.line.Exchange(ctx, request(2), forever, framer(2)); !errors.Is(err, context.Canceled) {
		b.Fatalf("a context that was over gave %v", err)
	}
	b.works(3)
}

// sameContext: the end of one request's context must not disturb the next one's.
func sameContext(b *bench) {
	for id := byte(1); id <= 40; id++ {
		ctx, cancel := context.WithCancel(b.Context())
		b.during(b.serve(request(id), frame(id, "x")), func() { b.expect(ctx, id, "x") })
		cancel()
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for id := byte(1); id <= 10; id++ {
		b.during(b.serve(request(id), frame(id, "x")), func() { b.expect(ctx, id, "x") })
	}
	b.during(func() error {
		_, err := b.peer.Receive(len(request(1)))
		cancel()
		return err
	}, func() {
		if _, err := b.line.Exchange(ctx, request(1), forever, framer(1)); !errors.Is(err, context.Canceled) {
			b.Fatalf("cancelling the eleventh exchange gave %v", err)
		}
	})
}

func closeUnder(b *bench) {
	began := time.Now()
	b.during(func() error {
		_, err := b.peer.Receive(len(request(1)))
		return errors.Join(err, b.line.Close())
	}, func() {
		b.isDown(b.line.Exchange(b.Context(), request(1), forever, framer(1)))
	})
	if d := time.Since(began); d > patient {
		b.Errorf("closing took %v", d)
	}
	b.isDown(b.line.Exchange(b.Context(), request(2), forever, framer(2)))
	if err := b.line.Close(); err != nil {
		b.Errorf("the second Close: %v", err)
	}
}

func (b *bench) isDown(_ []byte, err error) {
	b.Helper()
	var d *link.DownError
	if !errors.As(err, &d) {
		b.Fatalf("%v, want a DownError", err)
	}
	if d.Line == "" || d.Err == nil {
		b.Errorf("a DownError that says nothing: %#v", d)
	}
}

func vanish(b *bench) {
	b.works(1)
	b.during(func() error {
		_, err := b.peer.Receive(len(request(2)))
		b.peer.Vanish()
		return err
	}, func() {
		b.isDown(b.line.Exchange(b.Context(), request(2), forever, framer(2)))
	})
	for range 3 {
		b.isDown(b.line.Exchange(b.Context(), request(3), forever, framer(3)))
	}
	b.peer.Return()
	b.heals()
}

func vanishIdle(b *bench) {
	b.works(1)
	b.peer.Vanish()
	b.peer.Return()
	b.heals()
}

// heals polls as a line's loop does, until an answer comes.
func (b *bench) heals() {
	b.Helper()
	b.during(b.serve(request(9), frame(9, "back")), func() {
		for began := time.Now(); ; {
			got, err := b.line.Exchange(b.Context(), request(9), forever, framer(9))
			if err == nil {
				if !bytes.Equal(got, frame(9, "back")) {
					b.Fatalf("answer % x", got)
				}
				return
			}
			b.isDown(nil, err)
			if time.Since(began) > patient {
				b.Fatalf("still down after %v: %v", patient, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func broadcast(b *bench) {
	b.during(b.serve(request(1)), func() {
		if got, err := b.line.Exchange(b.Context(), request(1), forever, nil); got != nil || err != nil {
			b.Fatalf("a broadcast gave % x, %v", got, err)
		}
	})
	b.works(2)
}

func listen(b *bench) {
	b.works(1)
	both := append(frame(7, "first"), frame(7, "second")...)
	b.during(func() error { return b.peer.Send(both) }, func() {
		for _, want := range []string{"first", "second"} {
			got, err := b.line.Exchange(b.Context(), nil, forever, framer(7))
			if err != nil {
				b.Fatalf("listening: %v", err)
			}
			if !bytes.Equal(got, frame(7, want)) {
				b.Fatalf("heard % x, want %q", got, want)
			}
		}
	})
	if _, err := b.line.Exchange(b.Context(), nil, brief, framer(7)); !errors.Is(err, link.ErrTimeout) {
		b.Fatalf("listening to silence gave %v, want ErrTimeout", err)
	}
	b.works(2)
}
