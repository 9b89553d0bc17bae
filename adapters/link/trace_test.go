package link

import (
	"bytes"
	"context"
	"strings"
	"testing"
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

func BenchmarkTraceOff(b *testing.B) {
	var tr Trace
	frame := []byte{1, 2, 3}
	b.ReportAllocs()
	for b.Loop() {
		tr.bytes(Tx, frame)
	}
}
