package link_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"edgegateway/adapters/link"
)

// BenchmarkWire polls a slave that is paced to the wire's speed, with a turnaround of 5 ms, and reports what share of
// the theoretical rate is reached.
//
//	go test -run '^$' -bench Wire -benchtime 3s ./adapters/link
func BenchmarkWire(b *testing.B) {
	const turnaround = 5 * time.Millisecond
	for _, baud := range []int{9600, 115200} {
		for _, registers := range []int{10, 125} {
			b.Run(fmt.Sprintf("%d/%d", baud, registers), func(b *testing.B) {
				mode := link.Mode{Baud: baud, DataBits: 8, Parity: 'N', StopBits: 1}
				answer := 5 + 2*registers
				l := closing(b, link.Serial(newPacedSlave(b, mode.Char(), turnaround, 8, answer), mode, link.Options{}))
				request, complete := make([]byte, 8), fixed(answer)
				ideal := time.Duration(8+answer)*mode.Char() + max(turnaround, mode.Silence()) + mode.Silence()
				cpu := cpuTime()
				for b.Loop() {
					if _, err := l.Exchange(b.Context(), request, time.Second, complete); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(100*float64(ideal)*float64(b.N)/float64(b.Elapsed()), "%wire")
				b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// fixed completes an answer of n bytes, whose length is known after three, as with Modbus RTU.
func fixed(n int) link.Framer {
	return func(got []byte) ([]byte, int, int, error) {
		switch {
		case len(got) >= n:
			return got[:n], n, 0, nil
		case len(got) < 3:
			return nil, 0, 1, nil
		}
		return nil, 0, n - len(got), nil
	}
}

func cpuTime() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// slaveEnv makes the test binary a paced slave, so that what the slave costs is not counted as the line's.
const slaveEnv = "LINK_TEST_PACED_SLAVE"

func TestMain(m *testing.M) {
	if s := os.Getenv(slaveEnv); s != "" {
		var char, turnaround, n, length int
		if _, err := fmt.Sscan(s, &char, &turnaround, &n, &length); err != nil {
			panic(err)
		}
		pacedSlave(os.NewFile(3, "master"), time.Duration(char), time.Duration(turnaround), n, length)
		return
	}
	os.Exit(m.Run())
}

// newPacedSlave starts a slave that answers each request of n bytes with length bytes, and gives its port's name.
func newPacedSlave(b *testing.B, char, turnaround time.Duration, n, length int) string {
	master, tty, err := pty.Open()
	if err != nil {
		b.Fatal(err)
	}
	if err := raw(tty); err != nil {
		b.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d %d", slaveEnv, char, turnaround, n, length))
	c.ExtraFiles = []*os.File{master}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = master.Close()
		_ = tty.Close()
	})
	return tty.Name()
}

// pacedSlave answers as slowly as a wire carries request and answer. A pseudo-terminal delivers at once, so the
// request's own wire time is slept off.
func pacedSlave(master *os.File, char, turnaround time.Duration, n, length int) {
	request, answer := make([]byte, n), make([]byte, length)
	for {
		if _, err := io.ReadFull(master, request); err != nil {
			return
		}
		start := time.Now().Add(time.Duration(n)*char + turnaround)
		for sent := 0; sent < length; {
			precisely(start.Add(time.Duration(sent+1) * char))
			due := min(length, max(sent+1, int(time.Since(start)/char)))
			if _, err := master.Write(answer[sent:due]); err != nil {
				return
			}
			sent = due
		}
	}
}

// precisely sleeps in the kernel: Go's own timers are a millisecond late, which is ten characters at 115200 baud.
func precisely(t time.Time) {
	if d := time.Until(t); d > 0 {
		ts := unix.NsecToTimespec(d.Nanoseconds())
		_ = unix.Nanosleep(&ts, nil)
	}
}

// BenchmarkTCP compares an exchange with a bare write and read on the same kind of socket.
//
//	go test -run '^$' -bench TCP ./adapters/link
func BenchmarkTCP(b *testing.B) {
	const n, m = 12, 29
	bare := time.Duration(0)
	b.Run("yardstick", func(b *testing.B) {
		c, err := net.Dial("tcp", echoer(b, n, m))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		request, answer := make([]byte, n), make([]byte, m)
		cpu := cpuTime()
		for b.Loop() {
			if _, err := c.Write(request); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, answer); err != nil {
				b.Fatal(err)
			}
		}
		bare = b.Elapsed() / time.Duration(b.N)
		b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	})
	for _, stream := range []bool{true, false} {
		b.Run(fmt.Sprintf("exchange/stream=%v", stream), func(b *testing.B) {
			l := closing(b, link.TCP(echoer(b, n, m), link.Options{Stream: stream}))
			request, complete := make([]byte, n), fixed(m)
			b.ReportAllocs()
			cpu := cpuTime()
			for b.Loop() {
				if _, err := l.Exchange(b.Context(), request, time.Second, complete); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
			if bare > 0 {
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(bare), "×bare")
			}
		})
	}
}

// echoer answers each n bytes with m.
func echoer(b *testing.B, n, m int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	b.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			request, answer := make([]byte, n), make([]byte, m)
			for {
				if _, err := io.ReadFull(c, request); err != nil {
					break
				}
				if _, err := c.Write(answer); err != nil {
					break
				}
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}
