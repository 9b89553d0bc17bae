package systemd

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is the receiving end of the protocol: a real datagram socket that $NOTIFY_SOCKET names.
type manager struct{ conn *net.UnixConn }

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{conn}
}

func (m manager) next(t *testing.T) string {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestNotifier(t *testing.T) {
	m := newManager(t)
	var n Notifier
	for _, c := range []struct {
		name string
		send func() error
		want string
	}{
		{"ready", n.Ready, "READY=1"},
		{"status", func() error { return n.Status("3 lines, 12 devices") }, "STATUS=3 lines, 12 devices"},
		{"a status cannot smuggle", func() error { return n.Status("a\nREADY=1\tb") }, "STATUS=a READY=1 b"},
		{"stopping", n.Stopping, "STOPPING=1"},
		{"alive", n.Alive, "WATCHDOG=1"},
	} {
		if err := c.send(); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := m.next(t); got != c.want {
			t.Errorf("%s: the manager got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestReloadingCarriesTheMonotonicClock(t *testing.T) {
	m := newManager(t)
	now := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano() / 1000
	}
	before := now()
	if err := (Notifier{}).Reloading(); err != nil {
		t.Fatal(err)
	}
	after := now()
	first, second, _ := strings.Cut(m.next(t), "\n")
	if first != "RELOADING=1" {
		t.Errorf("the first line is %q", first)
	}
	at, err := strconv.ParseInt(strings.TrimPrefix(second, "MONOTONIC_USEC="), 10, 64)
	if err != nil || at < before || at > after {
		t.Errorf("the second line is %q, want a moment between %d and %d (%v)", second, before, after, err)
	}
}

func TestWithoutAManagerNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	var n Notifier
	for _, send := range []func() error{n.Ready, n.Reloading, n.Stopping, n.Alive} {
		if err := send(); err != nil {
			t.Error(err)
		}
	}
}

func TestAVanishedManagerIsAnError(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	err := Notifier{}.Ready()
	if err == nil || !strings.Contains(err.Error(), "READY=1") {
		t.Errorf("got %v, want an error that names what was to be said", err)
	}
}

// TestWatchdogOverTheSocket is the whole way from systemd's variables to its socket.
func TestWatchdogOverTheSocket(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	w, err := NewWatchdog(func() error { return nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop := runWatchdog(t, w)
	for range 3 {
		if got := m.next(t); got != "WATCHDOG=1" {
			t.Errorf("the manager got %q", got)
		}
	}
	stop()
}
