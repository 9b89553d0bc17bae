package link

import (
	"errors"
	"io"
	"testing"
	"time"
)

// TestOwnWireTime: a pseudo-terminal takes a request at once, a wire does not; the wait begins when it has left.
func TestOwnWireTime(t *testing.T) {
	_, name := openPTY(t)
	mode := Mode{Baud: 300, DataBits: 8, Parity: 'N', StopBits: 1}
	l := newSerial(t, name, mode, Options{})
	const wait = 20 * time.Millisecond
	began := time.Now()
	if _, err := l.Exchange(t.Context(), make([]byte, 10), wait, first); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	if d, least := time.Since(began), 10*mode.Char()+wait; d < least {
		t.Errorf("gave up after %v; the request and the wait alone take %v", d, least)
	}
	// The next request keeps the silence after the one that was not answered.
	began = time.Now()
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	if d, least := time.Since(began), mode.Char(); d < least {
		t.Errorf("a byte at 300 baud was sent in %v", d)
	}
}

func TestSilenceIsKept(t *testing.T) {
	master, name := openPTY(t)
	mode := Mode{Baud: 300, DataBits: 8, Parity: 'N', StopBits: 1}
	l := newSerial(t, name, mode, Options{})
	done := make(chan error, 1)
	go func() {
		b := make([]byte, 1)
		_, err := io.ReadFull(master, b)
		if err == nil {
			_, err = master.Write(b)
		}
		done <- err
	}()
	if _, err := l.Exchange(t.Context(), []byte{1}, time.Minute, first); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	answered := time.Now()
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	// answered is a little later than the byte's own arrival, so half is all that can be asked for.
	if d := time.Since(answered); d < mode.Silence()/2+mode.Char() {
		t.Errorf("the next byte had left %v after the answer; the silence alone is %v", d, mode.Silence())
	}
}

// TestLateAnswerInFlight: no request may be sent into an answer that is still coming.
func TestLateAnswerInFlight(t *testing.T) {
	master, name := openPTY(t)
	mode := Mode{Baud: 300, DataBits: 8, Parity: 'N', StopBits: 1}
	l := newSerial(t, name, mode, Options{})
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(master, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	const late = 6
	begun, ended := make(chan struct{}), make(chan time.Duration)
	go func() {
		slowest, last := time.Duration(0), time.Now()
		for i := range late {
			_, _ = master.Write([]byte{0xEE})
			slowest, last = max(slowest, time.Since(last)), time.Now()
			if i == 0 {
				close(begun)
			}
			time.Sleep(20 * time.Millisecond)
		}
		ended <- slowest
	}()
	<-begun
	answered := make(chan error, 1)
	go func() {
		b := make([]byte, 1)
		_, err := io.ReadFull(master, b)
		if err == nil {
			_, err = master.Write([]byte{0x42})
		}
		answered <- err
	}()
	got, err := l.Exchange(t.Context(), []byte{2}, time.Minute, first)
	slowest := <-ended
	if e := errors.Join(err, <-answered); e != nil {
		t.Fatal(e)
	}
	if slowest > mode.Silence()/2 {
		t.Skipf("this machine paused %v between two bytes, which is as good as silence", slowest)
	}
	if s := l.Stats(); got[0] != 0x42 || s.LateBytes != late {
		t.Errorf("answer %x after %d late bytes, want 42 after %d", got, s.LateBytes, late)
	}
}

// TestStrayInterruption: the end of an earlier context may wake a later exchange.
func TestStrayInterruption(t *testing.T) {
	master, name := openPTY(t)
	l := newSerial(t, name, testMode, Options{})
	done := make(chan error, 1)
	go func() {
		b := make([]byte, 1)
		_, err := io.ReadFull(master, b)
		for range 5 {
			l.interrupt()
			time.Sleep(time.Millisecond)
		}
		if err == nil {
			_, err = master.Write(b)
		}
		done <- err
	}()
	got, err := l.Exchange(t.Context(), []byte{7}, time.Minute, first)
	if e := errors.Join(err, <-done); e != nil || got[0] != 7 {
		t.Fatalf("% x, %v", got, e)
	}
}

// TestNoAllocation: the daemon makes hundreds of exchanges a second.
func TestNoAllocation(t *testing.T) {
	master, name := openPTY(t)
	l := newSerial(t, name, Mode{Baud: 921600, DataBits: 8, Parity: 'N', StopBits: 1}, Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1)
		for {
			if _, err := master.Read(b); err != nil || b[0] == 0 {
				return
			}
			_, _ = master.Write(b)
		}
	}()
	ctx, request := t.Context(), []byte{1}
	n := testing.AllocsPerRun(200, func() {
		if _, err := l.Exchange(ctx, request, time.Minute, first); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := l.Exchange(ctx, []byte{0}, 0, nil); err != nil {
		t.Fatal(err)
	}
	<-done
	if n > 0 {
		t.Errorf("%v allocations for one exchange", n)
	}
}
