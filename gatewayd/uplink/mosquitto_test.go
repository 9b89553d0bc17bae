package uplink

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// mosquitto starts the real broker on a port of its own, and skips the test where it is not installed.
func mosquitto(t testing.TB, more ...string) (url string) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !executable(path) {
			t.Skip("mosquitto is not installed: apt install mosquitto")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nset_tcp_nodelay true\n", addr.Port)
	for _, m := range more {
		text += m + "\n"
	}
	write(t, config, []byte(text))
	cmd := exec.Command(path, "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	waitFor(t, "mosquitto", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "mqtt://" + addr.String()
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// TestMosquitto drains through the real broker, with a second box of the same name in between.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	url := mosquitto(t)
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 20_000)...)
	told := make(chan field.Event, 100)
	u := start(t, src, []string{url}, func(o *Options) {
		o.Event = func(e field.Event) {
			select {
			case told <- e:
			default:
			}
		}
	})
	waitFor(t, "20000 records acknowledged", func() bool { return all(src.ackedReadings(), 20_000) })

	ctx, cancel := context.WithCancel(context.Background())
	twin := newTestUplink(t, newMemSource(), []string{url})
	done := make(chan error, 1)
	go func() { done <- twin.Run(ctx) }()
	select {
	case <-told:
	case <-time.After(patient):
		t.Error("nobody is told that the client id is used twice")
	}
	cancel()
	<-done
	src.put(buffer.Live, readings(20_001, 20_010)...)
	waitFor(t, "the records after it", func() bool { return all(src.ackedReadings(), 20_010) })
	waitFor(t, "the connection", func() bool { return u.Stats().Connected })
}

// countedConn counts what a connection costs in system calls.
type countedConn struct {
	net.Conn
	calls *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error)  { c.calls.Add(1); return c.Conn.Read(p) }
func (c countedConn) Write(p []byte) (int, error) { c.calls.Add(1); return c.Conn.Write(p) }

func counted(u *Uplink) *atomic.Int64 {
	calls := new(atomic.Int64)
	u.dial = func(ctx context.Context, s server, c credentials) (net.Conn, net.Conn, error) {
		conn, _, err := dial(ctx, s, c)
		if err != nil {
			return nil, nil, err
		}
		wrapped := countedConn{conn, calls}
		return wrapped, wrapped, nil
	}
	return calls
}

// TestSystemCalls: with a hundred messages in flight a message costs at most half a system call, where the MQTT client
// alone makes four. How many messages share a call depends on who runs when, so the best of a few rounds counts.
func TestSystemCalls(t *testing.T) {
	url := mosquitto(t)
	const rounds, n = 8, 3000
	src := &singles{memSource: newMemSource(), atOnce: 100}
	u := newTestUplink(t, src, []string{url})
	calls := counted(u)
	run(t, u)
	best := 4.0
	for round := 1; round <= rounds && best > 0.5; round++ {
		before := calls.Load()
		src.put(buffer.Events, singleEvents(n)...)
		waitFor(t, "all acknowledged", func() bool { return u.Stats().Records == uint64(round*n) })
		best = min(best, float64(calls.Load()-before)/n)
	}
	t.Logf("%.2f system calls a message", best)
	if best > 0.5 {
		t.Errorf("%.2f system calls a message, want at most 0.5", best)
	}
}

// singles offers one record at a time, so many at once.
type singles struct {
	*memSource
	atOnce int
}

func (s *singles) Next(lane buffer.Lane, _, maxBytes int) (*buffer.Batch, bool) {
	s.mu.Lock()
	full := len(s.out) >= s.atOnce
	s.mu.Unlock()
	if full {
		return nil, false
	}
	return s.memSource.Next(lane, 1, maxBytes)
}

func (s *singles) Ack(b *buffer.Batch) {
	s.memSource.Ack(b)
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func singleEvents(n int) []field.Record {
	events := make([]field.Record, n)
	for i := range events {
		events[i] = field.Record{Seq: uint64(i + 1), Event: &field.Event{Kind: "change", Subject: "pump-1/running"}}
	}
	return events
}
