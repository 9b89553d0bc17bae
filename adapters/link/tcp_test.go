package link

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// device listens and hands each connection to serve, in a goroutine of its own, until the test ends.
func device(t *testing.T, serve func(net.Conn)) (addr string, calls *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), calls
}

func newTCP(t *testing.T, addr string, o Options) *TCPLine {
	l := TCP(addr, o)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func first(got []byte) ([]byte, int, int, error) {
	if len(got) == 0 {
		return nil, 0, 1, nil
	}
	return got[:1], 1, 0, nil
}

// silent keeps connections open and says nothing.
func silent(t *testing.T) func(net.Conn) {
	return func(c net.Conn) { t.Cleanup(func() { _ = c.Close() }) }
}

func TestMissesHangUp(t *testing.T) {
	addr, calls := device(t, silent(t))
	l := newTCP(t, addr, Options{Stream: true})
	for range 7 {
		if _, err := l.Exchange(t.Context(), []byte{1}, time.Millisecond, first); !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Opens != 3 || s.Timeouts != 7 || !s.Up {
		t.Errorf("after 7 timeouts: %+v, want 3 connections", s)
	}
	if n := calls.Load(); n > 3 {
		t.Errorf("called %d times", n)
	}
	for range 5 {
		if _, err := l.Exchange(t.Context(), nil, time.Millisecond, first); !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Opens != 3 {
		t.Errorf("listening in vain opened %d connections", s.Opens-3)
	}
}

func TestRefusedIsNotAskedAgainAtOnce(t *testing.T) {
	l := newTCP(t, "127.0.0.1:1", Options{})
	var tries int
	open := l.open
	l.open = func(ctx context.Context) (port, error) {
		tries++
		return open(ctx)
	}
	began := time.Now()
	n := 0
	for ; time.Since(began) < 200*time.Millisecond; n++ {
		var d *DownError
		if _, err := l.Exchange(t.Context(), []byte{1}, time.Millisecond, first); !errors.As(err, &d) || !strings.Contains(d.Error(), "nothing listens") {
			t.Fatalf("a refused connection gave %v", err)
		}
	}
	if most := 1 + int(time.Since(began)/time.Second); tries > most || n < 2 {
		t.Errorf("%d attempts in %v, for %d exchanges", tries, time.Since(began), n)
	}
}

// A peer that accepts and hangs up is as good as one that refuses.
func TestHangUpIsNotCalledInALoop(t *testing.T) {
	addr, calls := device(t, func(c net.Conn) { _ = c.Close() })
	l := newTCP(t, addr, Options{})
	began := time.Now()
	for time.Since(began) < 200*time.Millisecond {
		var d *DownError
		if _, err := l.Exchange(t.Context(), []byte{1}, time.Second, first); !errors.As(err, &d) {
			t.Fatalf("%v, want a DownError", err)
		}
	}
	if n, most := int(calls.Load()), 2+int(time.Since(began)/time.Second); n > most {
		t.Errorf("called %d times in %v", n, time.Since(began))
	}
}

// A device that closes after each answer is reached every time.
func TestOneAnswerPerConnection(t *testing.T) {
	addr, _ := device(t, func(c net.Conn) {
		b := make([]byte, 1)
		if n, _ := c.Read(b); n == 1 {
			_, _ = c.Write(b)
		}
		_ = c.Close()
	})
	l := newTCP(t, addr, Options{Stream: true})
	answers := 0
	for range 20 {
		_, err := l.Exchange(t.Context(), []byte{1}, time.Minute, first)
		var d *DownError
		switch {
		case err == nil:
			answers++
		case !errors.As(err, &d): // its end of the connection may come after our next request
			t.Fatal(err)
		}
	}
	if answers < 10 {
		t.Errorf("%d answers to 20 requests", answers)
	}
}

// An answer that never ends must not hold the line for ever, nor fill the memory.
func TestBabble(t *testing.T) {
	addr, _ := device(t, func(c net.Conn) {
		for b := make([]byte, 4096); ; {
			if _, err := c.Write(b); err != nil {
				_ = c.Close()
				return
			}
		}
	})
	for _, stream := range []bool{false, true} {
		l := newTCP(t, addr, Options{Stream: stream})
		_, err := l.Exchange(t.Context(), nil, time.Minute, func([]byte) ([]byte, int, int, error) { return nil, 0, 1, nil })
		var g *GarbageError
		if !errors.As(err, &g) || g.N < most || len(g.Got) != 64 {
			t.Fatalf("stream %v: babble gave %v", stream, err)
		}
		_ = l.Close() // the device can take the next call
	}
}

// TestDialEnds: nobody takes up a connection; the context and Close must end the waiting.
func TestDialEnds(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}).String()
	for { // fill its queue
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			break
		}
		defer c.Close()
	}
	began := time.Now()

	l := newTCP(t, addr, Options{DialTimeout: 10 * time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Exchange(ctx, []byte{1}, time.Second, first); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context's end gave %v", err)
	}
	timer := time.AfterFunc(20*time.Millisecond, func() { _ = l.Close() })
	defer timer.Stop()
	if _, err := l.Exchange(t.Context(), []byte{1}, time.Second, first); !errors.Is(err, errClosed) {
		t.Errorf("closing gave %v", err)
	}
	short := newTCP(t, addr, Options{DialTimeout: 20 * time.Millisecond})
	if _, err := short.Exchange(t.Context(), []byte{1}, time.Second, first); err == nil || !strings.Contains(err.Error(), "nothing answers at that address") {
		t.Errorf("the dial timeout gave %v", err)
	}
	if d := time.Since(began); d > time.Minute {
		t.Errorf("all that took %v", d)
	}
}

func TestDialHints(t *testing.T) {
	for says, err := range map[string]error{
		"name is not known": &net.OpError{Err: &net.DNSError{Name: "plc", IsNotFound: true}},
		"address and port":  &net.OpError{Err: &net.AddrError{Err: "missing port in address", Addr: "192.0.2.20"}},
		"nothing listens":   &net.OpError{Err: unix.ECONNREFUSED},
		"no way leads":      &net.OpError{Err: unix.EHOSTUNREACH},
		"nothing answers":   &net.OpError{Err: unix.ETIMEDOUT},
	} {
		if hint := dialHint(err); !strings.Contains(hint, says) {
			t.Errorf("%v: hint %q does not say %q", err, hint, says)
		}
	}
	if hint := dialHint(errors.New("else")); hint != "" {
		t.Errorf("an unknown error has the hint %q", hint)
	}
}

func TestTraceAndStatsOfAnExchange(t *testing.T) {
	addr, _ := device(t, func(c net.Conn) {
		b := make([]byte, 8)
		for {
			n, err := c.Read(b)
			if err != nil {
				_ = c.Close()
				return
			}
			_, _ = c.Write(b[:n])
		}
	})
	l := newTCP(t, addr, Options{Name: "switchgear", Stream: true})
	frames := l.Trace().Subscribe(t.Context())
	if _, err := l.Exchange(t.Context(), []byte{7}, time.Minute, first); err != nil {
		t.Fatal(err)
	}
	for _, want := range []Dir{Note, Tx, Rx} {
		f := <-frames
		if f.Dir != want || (want == Note) != (f.Note == "opened "+addr) || (want != Note) != (string(f.Bytes) == "\x07") {
			t.Errorf("frame %+v, want %v", f, want)
		}
	}
	s := l.Stats()
	if !s.Up || s.Exchanges != 1 || s.Opens != 1 || s.TxBytes != 1 || s.RxBytes != 1 || s.Busy <= 0 || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
	if l.Timing() != (Timing{}) {
		t.Errorf("timing %+v", l.Timing())
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{most: 5 * time.Second}
	now := time.Now()
	if b.waits(now) {
		t.Error("waits before the first attempt")
	}
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		b.fail(now, errClosed)
		want *= time.Second
		if !b.waits(now.Add(want-1)) || b.waits(now.Add(want)) {
			t.Errorf("waits %v, want %v", b.delay, want)
		}
		now = now.Add(want)
	}
	b.fail(now, errClosed)
	if b.reset(); b.waits(now) || b.most != 5*time.Second {
		t.Error("waits after a success")
	}
}
