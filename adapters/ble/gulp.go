package ble

import (
	"bufio"
	"cmp"
	"context"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

// How the bus is read. Hundreds of sensors make hundreds of signals a second, each of which would wake the process by
// itself: most of what the radio costs.
const (
	gulpEvery = 100 * time.Millisecond // the least time between two reads
	gulpRests = time.Second            // after something was asked: its answer is read at once
)

// gulps is a connection that is read in gulps. It is for one reader.
type gulps struct {
	net.Conn
	buffered *bufio.Reader // of source
	source   *throttled
}

func newGulps(conn net.Conn) gulps {
	t := &throttled{conn: conn, began: time.Now(), poke: make(chan struct{}, 1)}
	return gulps{conn, bufio.NewReaderSize(t, 64<<10), t}
}

func (g gulps) Read(p []byte) (int, error) { return g.buffered.Read(p) }

func (g gulps) Write(p []byte) (int, error) {
	g.source.hurry()
	return g.Conn.Write(p)
}

// throttled spaces the reads of a connection.
type throttled struct {
	conn  net.Conn
	last  time.Time
	began time.Time
	until atomic.Int64 // there is no hurry from then on, as a time.Duration since began
	poke  chan struct{}
}

// hurry has what comes within the next moments read at once.
func (t *throttled) hurry() {
	t.until.Store(int64(time.Since(t.began) + gulpRests))
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

func (t *throttled) Read(p []byte) (int, error) {
	if wait := time.Until(t.last.Add(gulpEvery)); wait > 0 && time.Since(t.began) >= time.Duration(t.until.Load()) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-t.poke:
		}
		timer.Stop()
	}
	n, err := t.conn.Read(p)
	t.last = time.Now()
	return n, err
}

// connect opens a connection of its own to a bus, ready for use; "" is the system's.
func connect(ctx context.Context, address string, options ...dbus.ConnOption) (*dbus.Conn, error) {
	if address == "" {
		address = cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket")
	}
	path, err := socketOf(address)
	if err != nil {
		return dbus.Connect(address, options...) // of another kind: as it comes
	}
	var d net.Dialer
	socket, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	conn, err := dbus.NewConn(newGulps(socket), options...)
	if err != nil {
		socket.Close()
		return nil, err
	}
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// socketOf gives the path of an address like unix:path=/run/dbus/system_bus_socket,guid=… (D-Bus specification, Server
// Addresses).
func socketOf(address string) (string, error) {
	rest, ok := strings.CutPrefix(address, "unix:")
	for field := range strings.SplitSeq(rest, ",") {
		if path, found := strings.CutPrefix(field, "path="); ok && found && !strings.Contains(rest, ";") {
			return url.PathUnescape(path)
		}
	}
	return "", net.UnknownNetworkError(address)
}
