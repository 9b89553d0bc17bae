package ble

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestSocketOf(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/dbus/system_bus_socket":        "/run/dbus/system_bus_socket",
		"unix:path=/run/a%20bus,guid=0123":             "/run/a bus",
		"unix:guid=0123,path=/run/bus":                 "/run/bus",
		"unix:abstract=/run/bus":                       "",
		"unix:path=/run/one;unix:path=/run/other":      "",
		"tcp:host=127.0.0.1,port=1,path=/run/not-this": "",
		"unix:path=/run/%zz":                           "",
	} {
		if got, err := socketOf(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", address, got, err, want)
		}
	}
}

// TestGulps: what comes after a pause is read at once, of what comes time and again each read takes all that is there, and
// who has asked something does not wait.
func TestGulps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		reads := &counted{Conn: ours}
		g := newGulps(reads)
		go func() {
			for range 100 {
				_, _ = theirs.Write([]byte("a signal")) // a pipe waits for its reader
			}
			if _, err := theirs.Read(make([]byte, 8)); err != nil {
				t.Error(err)
			}
			for range 20 {
				_, _ = theirs.Write([]byte("answered"))
			}
			theirs.Close()
		}()
		begin := time.Now()
		take := func(n int) (took time.Duration) {
			from := time.Now()
			if _, err := io.ReadFull(g, make([]byte, 8*n)); err != nil {
				t.Error(err)
			}
			return time.Since(from)
		}
		if took := take(1); took != 0 {
			t.Errorf("the first came after %v", took)
		}
		take(99)
		if least := time.Duration(reads.n-1) * gulpEvery; time.Since(begin) < least {
			t.Errorf("%d reads in %v, and they should be %v apart", reads.n, time.Since(begin), gulpEvery)
		}
		if _, err := g.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if took := take(20); took != 0 {
			t.Errorf("the answers took %v", took)
		}
	})
}

type counted struct {
	net.Conn
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	c.n++
	return c.Conn.Read(p)
}
