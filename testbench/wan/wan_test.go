package wan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// echo is a server that says everything back, and notes how its connections end.
type echo struct {
	net.Listener
	ends chan error
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{ln, make(chan error, 100)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_, err := io.Copy(c, c)
				e.ends <- err
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return e
}

func newLink(t *testing.T, target string) *Link {
	t.Helper()
	l, err := New(target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("run:", err)
		}
		if s := l.Stats(); s.Open != 0 {
			t.Errorf("%d connections are left", s.Open)
		}
		stacks := make([]byte, 1<<20)
		if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("wan.(*pair)")) {
			t.Errorf("goroutines are left:\n%s", stacks)
		}
	})
	return l
}

func dial(t *testing.T, l *Link) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// say expects its text back.
func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v; want %q", got, err, text)
	}
}

func expectNothing(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	defer c.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, 100)
	if n, err := c.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q, %v; want nothing", got[:n], err)
	}
}

func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%d bytes, %v; want a reset", n, err)
	}
}

func TestBytesPassAndAreCounted(t *testing.T) {
	l := newLink(t, newEcho(t).Addr().String())
	c := dial(t, l)
	say(t, c, "there and back")
	c.CloseWrite()
	if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if s := l.Stats(); s.Up != 14 || s.Down != 14 || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCutRefusesAndResets(t *testing.T) {
	e := newEcho(t)
	l := newLink(t, e.Addr().String())
	for range 3 {
		c := dial(t, l)
		say(t, c, "whole")
		l.Cut()
		expectReset(t, c)
		if err := <-e.ends; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the far end saw %v", err)
		}
		for range 3 {
			if _, err := net.Dial("tcp", l.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a new connection: %v", err)
			}
		}
		l.Restore()
		say(t, dial(t, l), "whole again")
	}
}

func TestResetLetsNewOnesIn(t *testing.T) {
	l := newLink(t, newEcho(t).Addr().String())
	c := dial(t, l)
	say(t, c, "whole")
	l.Reset()
	expectReset(t, c)
	say(t, dial(t, l), "whole again")
}

func TestFreezeLosesNothing(t *testing.T) {
	l := newLink(t, newEcho(t).Addr().String())
	c := dial(t, l)
	say(t, c, "before")
	l.Freeze()
	io.WriteString(c, "within, ")
	expectNothing(t, c)
	fresh := dial(t, l)
	io.WriteString(fresh, "fresh")
	expectNothing(t, fresh)
	l.Restore()
	got := make([]byte, 8)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "within, " {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.ReadFull(fresh, got[:5]); err != nil || string(got[:5]) != "fresh" {
		t.Errorf("%q, %v", got[:5], err)
	}
}

func TestBlackHoleSwallowsForGood(t *testing.T) {
	e := newEcho(t)
	l := newLink(t, e.Addr().String())
	before := dial(t, l)
	say(t, before, "whole")
	l.BlackHole()
	within := dial(t, l)
	for _, c := range []net.Conn{before, within} {
		for range 100 { // far more than its buffers hold
			if _, err := c.Write(make([]byte, 10_000)); err != nil {
				t.Fatal("it does not swallow:", err)
			}
		}
		expectNothing(t, c)
	}
	l.Restore()
	for _, c := range []net.Conn{before, within} {
		io.WriteString(c, "still deaf?")
		expectNothing(t, c)
	}
	say(t, dial(t, l), "whole again")
	if s := l.Stats(); s.Up != int64(len("whole")+len("whole again")) {
		t.Errorf("%d bytes came through", s.Up)
	}
	before.Close()
	select {
	case err := <-e.ends:
		t.Errorf("the far end saw the near one close: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestHalfClose(t *testing.T) {
	e := newEcho(t)
	l := newLink(t, e.Addr().String())
	c := dial(t, l)
	say(t, c, "whole")
	l.HalfClose(Down)
	if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Fatalf("%d, %v; want the end of the stream", n, err)
	}
	for range 10 {
		if _, err := io.WriteString(c, "still heard"); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return l.Stats().Up == 5+110 })
	l.HalfClose(Up)
	if err := <-e.ends; err != nil {
		t.Errorf("the far end saw %v", err)
	}
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
	}
}

func TestNobodyBehindTheLink(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	l := newLink(t, ln.Addr().String())
	c, err := net.Dial("tcp", l.Address())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v; want a reset", err)
	}
}

// A link with delay carries as much as one without, only later.
func TestDelayHoldsUpNoThroughput(t *testing.T) {
	const delay = 100 * time.Millisecond
	l := newLink(t, newEcho(t).Addr().String())
	l.Delay(delay, delay)
	c := dial(t, l)
	began := time.Now()
	say(t, c, "ping")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %v", took)
	}
	// One chunk at a time would take 200 ms each: 16 MiB in gulps of 32 KiB would be 102 s.
	const size = 16 << 20
	go func() {
		c.Write(bytes.Repeat([]byte{7}, size))
		c.CloseWrite()
	}()
	n, err := io.Copy(io.Discard, c)
	if n != size || err != nil {
		t.Fatal(n, err)
	}
	t.Logf("%d MiB in %v", size>>20, time.Since(began))
}

func TestBandwidthIsSharedAndBounded(t *testing.T) {
	const rate, size, conns = 200_000, 30_000, 2
	l := newLink(t, newEcho(t).Addr().String())
	l.Bandwidth(rate, 0)
	began := time.Now()
	var all sync.WaitGroup
	for range conns {
		c := dial(t, l)
		all.Go(func() {
			go c.Write(bytes.Repeat([]byte{7}, size))
			if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	least := time.Duration(conns*size) * time.Second / rate
	if took := time.Since(began); took < least*99/100 {
		t.Errorf("%d bytes took %v, less than %v", conns*size, took, least)
	}

	l.Bandwidth(1, 0) // 17 minutes for what follows
	c := dial(t, l)
	go io.WriteString(c, strings.Repeat("x", 1000))
	expectNothing(t, c)
	l.Bandwidth(0, 0)
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Error("a new rate does not let go what waited for the old one:", err)
	}
}

// The queue before the bottleneck is small: a sender cannot hide seconds of a slow link in it.
func TestTheQueueIsSmall(t *testing.T) {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	l := newLink(t, sink.Addr().String())
	l.Bandwidth(1, 1)
	c := dial(t, l)
	c.SetWriteBuffer(4096)
	c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	total := 0
	for {
		n, err := c.Write(make([]byte, 1000))
		total += n
		if err != nil {
			break
		}
	}
	t.Logf("the sender could say %d bytes", total)
	if total > 64<<10 {
		t.Errorf("the sender could say %d bytes to a link that takes 1 a second", total)
	}
}
