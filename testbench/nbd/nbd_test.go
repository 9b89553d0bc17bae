package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

const testSize = 64 * block

// client speaks the protocol with numbers of its own.
type client struct {
	t *testing.T
	c net.Conn
	n uint64
}

func newDisk(t *testing.T) (*Disk, string, *client) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	if err := os.WriteFile(path, make([]byte, testSize), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		d.Close()
	})
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := &client{t: t, c: c}
	k.greet()
	return d, path, k
}

func (k *client) greet() {
	k.t.Helper()
	hello := k.get(18)
	if !bytes.Equal(hello[:16], []byte("NBDMAGICIHAVEOPT")) {
		k.t.Fatalf("greeted by %q", hello)
	}
	k.c.Write([]byte{0, 0, 0, 3})
	k.c.Write([]byte("IHAVEOPT\x00\x00\x00\x99\x00\x00\x00\x01x")) // an option that is not known
	if r := k.get(20); binary.BigEndian.Uint32(r[12:]) != 0x80000001 {
		k.t.Fatalf("an unknown option is answered by %x", r)
	}
	k.c.Write([]byte("IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00"))
	r := k.get(20 + 12 + 20)
	if got := binary.BigEndian.Uint64(r[22:]); got != testSize {
		k.t.Fatalf("the export has %d bytes, want %d", got, testSize)
	}
}

func (k *client) get(n int) []byte {
	k.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(k.c, b); err != nil {
		k.t.Fatal(err)
	}
	return b
}

func (k *client) send(kind, flags uint16, off uint64, length int, data []byte) {
	k.n++
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint64(b, k.n)
	b = binary.BigEndian.AppendUint64(b, off)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	k.c.Write(append(b, data...))
}

func (k *client) do(kind, flags uint16, off uint64, length int, data []byte) (uint32, []byte) {
	k.t.Helper()
	k.send(kind, flags, off, length, data)
	r := k.get(16)
	if binary.BigEndian.Uint32(r) != 0x67446698 || binary.BigEndian.Uint64(r[8:]) != k.n {
		k.t.Fatalf("answer %x", r)
	}
	code := binary.BigEndian.Uint32(r[4:])
	if kind == 0 && code == 0 {
		return code, k.get(length)
	}
	return code, nil
}

func TestDiskServesWhatWasWritten(t *testing.T) {
	_, path, k := newDisk(t)
	text := bytes.Repeat([]byte("gateway!"), 1024) // 8 KiB, across three blocks
	if code, _ := k.do(1, 0, 1000, len(text), text); code != 0 {
		t.Fatalf("write: %d", code)
	}
	if _, got := k.do(0, 0, 1000, len(text), nil); !bytes.Equal(got, text) {
		t.Error("it reads other bytes than were written")
	}
	before, _ := os.ReadFile(path)
	if bytes.Contains(before, []byte("gateway!")) {
		t.Error("it is on the file before a flush")
	}
	if code, _ := k.do(3, 0, 0, 0, nil); code != 0 {
		t.Fatalf("flush: %d", code)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(after[1000:1000+len(text)], text) {
		t.Error("it is not on the file after a flush")
	}
	if code, _ := k.do(0, 0, testSize-10, 20, nil); code != 22 {
		t.Errorf("a read beyond the end gives %d, want 22", code)
	}
	k.do(1, 1, 0, 6, []byte("direct"))
	after, _ = os.ReadFile(path)
	if !bytes.HasPrefix(after, []byte("direct")) {
		t.Error("FUA did not reach the file")
	}
}

func TestCutLosesKeepsAndTears(t *testing.T) {
	d, path, k := newDisk(t)
	whole := bytes.Repeat([]byte{1}, testSize)
	k.do(1, 0, 0, len(whole), whole)
	k.do(3, 0, 0, 0, nil)
	newer := bytes.Repeat([]byte{2}, testSize/2)
	k.do(1, 0, 0, len(newer), newer)
	if err := d.Cut(7); err != nil {
		t.Fatal(err)
	}
	s := d.Stats()
	if s.Lost == 0 || s.Kept == 0 || s.Torn == 0 || s.Lost+s.Kept+s.Torn != testSize/2/block {
		t.Errorf("of %d blocks: %+v", testSize/2/block, s)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(after[testSize/2:], whole[testSize/2:]) {
		t.Error("what was flushed is not as it was")
	}
	var torn uint64
	for b := range testSize / 2 / block {
		first, last := after[b*block], after[(b+1)*block-1]
		if first == 2 && last == 1 {
			torn++
		}
	}
	if torn != s.Torn {
		t.Errorf("%d blocks are torn on the file, %d by the count", torn, s.Torn)
	}
	k.send(3, 0, 0, 0, nil)
	var b [1]byte
	if _, err := k.c.Read(b[:]); !errors.Is(err, io.EOF) {
		t.Errorf("without power a flush was answered: %v", err)
	}
}
