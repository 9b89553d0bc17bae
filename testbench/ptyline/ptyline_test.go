package ptyline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newLine(t *testing.T, name string) *Line {
	t.Helper()
	l, err := New(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func openPort(t *testing.T, l *Line) *os.File {
	t.Helper()
	f, err := os.OpenFile(l.Name(), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return f
}

// say writes on one end and expects the same, and nothing else, on the other.
func say(t *testing.T, to io.Writer, from io.Reader, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(from, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

func TestBytesPassUnchanged(t *testing.T) {
	l := newLine(t, "usb-1")
	say(t, l, openPort(t, l), "\x00\r\n\x03\x11\x13\x7f\xff") // what a terminal would eat or answer
}

func TestUnplugHangsUpAndReplugKeepsTheName(t *testing.T) {
	l := newLine(t, "usb-1")
	port := openPort(t, l)
	say(t, port, l, "before")

	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(l, make([]byte, 5)) // blocks over the unplugging
		read <- err
	}()
	if err := l.Unplug(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(l.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the name is still there: %v", err)
	}
	if n, err := port.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read of the unplugged port gave %d, %v", n, err)
	}
	if _, err := l.Write([]byte("lost")); err != nil {
		t.Errorf("a write to the air: %v", err)
	}
	if err := l.Replug(); err != nil {
		t.Fatal(err)
	}
	again := openPort(t, l)
	if _, err := again.WriteString("after"); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Errorf("the read that waited: %v", err)
	}
	say(t, l, again, "answer")
}

// A Read that an Unplug falls upon waits for the next Replug, whatever the kernel told it meanwhile.
func TestUnplugUnderARead(t *testing.T) {
	l := newLine(t, "usb-1")
	read := make(chan error, 1)
	go func() {
		_, err := l.Read(make([]byte, 1))
		read <- err
	}()
	for range 300 {
		if err := errors.Join(l.Unplug(), l.Replug()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-read:
		t.Fatal(err)
	default:
	}
	if _, err := openPort(t, l).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestWriteWithNobodyThereHoldsUpNobody(t *testing.T) {
	l := newLine(t, "usb-1")
	block := make([]byte, 1000)
	for range 20 {
		if n, err := l.Write(block); n != len(block) || err != nil {
			t.Fatal(n, err)
		}
	}
}

func TestDeadlineAndCloseEndARead(t *testing.T) {
	for _, plugged := range []bool{true, false} {
		l := newLine(t, "usb-1")
		if !plugged {
			l.Unplug()
		}
		l.SetDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("plugged %v: after the deadline: %v", plugged, err)
		}
		l.SetDeadline(time.Time{})
		read := make(chan error, 1)
		go func() {
			_, err := l.Read(make([]byte, 1))
			read <- err
		}()
		l.Close()
		if err := <-read; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("plugged %v: after Close: %v", plugged, err)
		}
	}
}

func TestBridge(t *testing.T) {
	a, b := newLine(t, "a"), newLine(t, "b")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Bridge(ctx, a, b) }()
	pa, pb := openPort(t, a), openPort(t, b)
	say(t, pa, pb, "there")
	say(t, pb, pa, "and back")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnotherSpeedIsNotUnderstood(t *testing.T) {
	l, err := New(t.TempDir(), "port")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, err := os.OpenFile(l.Name(), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	said := func() string {
		if _, err := port.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 3)
		if _, err := io.ReadFull(l, buf); err != nil {
			t.Fatal(err)
		}
		return string(buf)
	}
	l.SetBaud(9600) // as the port is set when it is made
	if got := said(); got != "abc" {
		t.Errorf("at the same speed: %q", got)
	}
	l.SetBaud(19200)
	if got := said(); got == "abc" {
		t.Error("at another speed it is understood")
	}
}
