package link

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTrace(t *testing.T) {
	var tr Trace
	tr.bytes(Tx, []byte("nobody sees this"))

	ctx, cancel := context.WithCancel(t.Context())
	frames := tr.Subscribe(ctx)
	b := []byte{1, 2, 3}
	tr.bytes(Tx, b)
	b[0] = 99
	tr.bytes(Rx, nil)
	tr.note("opened %s", "/dev/ttyS1")
	if f := <-frames; f.Dir != Tx || !bytes.Equal(f.Bytes, []byte{1, 2, 3}) || f.Time.IsZero() || f.Dropped != 0 {
		t.Errorf("first frame %+v", f)
	}
	if f := <-frames; f.Dir != Note || f.Note != "opened /dev/ttyS1" || f.Bytes != nil {
		t.Errorf("second frame %+v", f)
	}
	cancel()
	for range frames { // closed when the context ends, else this hangs
		t.Error("a frame came out of nothing")
	}
	if n := tr.watching.Load(); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
	if got := strings.Join([]string{Tx.String(), Rx.String(), Note.String()}, " "); got != "tx rx note" {
		t.Errorf("directions print as %q", got)
	}
}

func TestTraceDropsForTheSlow(t *testing.T) {
	var tr Trace
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, quick := tr.Subscribe(ctx), tr.Subscribe(ctx)
	for range traceDepth + 7 {
		tr.bytes(Rx, []byte{1})
		<-quick
	}
	for range traceDepth {
		if f := <-slow; f.Dropped != 0 {
			t.Fatalf("a frame that fitted counts %d dropped", f.Dropped)
		}
	}
	tr.bytes(Rx, []byte{2})
	if f := <-slow; f.Dropped != 7 {
		t.Errorf("%d frames dropped, want 7", f.Dropped)
	}
	if f := <-quick; f.Dropped != 0 {
		t.Errorf("the quick one lost %d frames", f.Dropped)
	}
	tr.bytes(Rx, []byte{3})
	if f := <-slow; f.Dropped != 0 {
		t.Errorf("the same loss was told twice")
	}
}

// TestTraceHidesASecret: what is sent is shown but for the secret, its echo is not shown at all, the answer and the next
// request are.
func TestTraceHidesASecret(t *testing.T) {
	sent := make(chan []byte, 2)
	addr, _ := device(t, func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 64)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			sent <- bytes.Clone(b[:n])
			_, _ = c.Write(append(bytes.Clone(b[:n]), '!'))
		}
	})
	l := newTCP(t, addr, Options{})
	frames := l.Trace().Subscribe(t.Context())
	answer := func(got []byte) ([]byte, int, int, error) {
		if i := bytes.IndexByte(got, '!'); i >= 0 {
			return got[i : i+1], i + 1, 0, nil
		}
		return nil, 0, 1, nil
	}
	for _, ctx := range []context.Context{WithSecret(t.Context(), Span{1, 3}, Span{4, 9}), t.Context()} {
		if _, err := l.Exchange(ctx, []byte("<pw>x"), time.Minute, answer); err != nil {
			t.Fatal(err)
		}
		if b := <-sent; string(b) != "<pw>x" {
			t.Errorf("sent %q", b)
		}
	}
	for _, want := range []string{
		"note opened " + addr, "tx 3c ** ** 3e **", "note 5 bytes came that are not shown: they may be the echo of a secret", "rx 21",
		"tx 3c 70 77 3e 78", "rx 3c 70 77 3e 78", "rx 21",
	} {
		f := <-frames
		if got := f.Dir.String() + " " + f.Hex() + f.Note; got != want {
			t.Errorf("the trace has %q, want %q", got, want)
		}
	}
}

func BenchmarkTraceOff(b *testing.B) {
	var tr Trace
	frame := []byte{1, 2, 3}
	b.ReportAllocs()
	for b.Loop() {
		tr.bytes(Tx, frame)
	}
}
