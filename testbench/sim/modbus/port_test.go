package modbus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"edgegateway/testbench/ptyline"
	"golang.org/x/sys/unix"
)

// testPatience is far above what any answer takes: a test that waits so long has failed.
const testPatience = 20 * time.Second

// serveTCP serves s and gives its address.
func serveTCP(t *testing.T, serve func(context.Context, net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("serve:", err)
		}
	})
	return ln.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testPatience))
	return c
}

// servePTY serves s on a pty and gives the port that a master opens.
func servePTY(t *testing.T, s *Server, w Wire) *os.File {
	t.Helper()
	line, err := ptyline.New(t.TempDir(), "rs485")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeRTU(ctx, line, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("serve:", err)
		}
		line.Close()
	})
	f, err := os.OpenFile(line.Name(), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.SetDeadline(time.Now().Add(testPatience))
	return f
}

type master interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

func send(t *testing.T, p master, frame []byte) {
	t.Helper()
	if _, err := p.Write(frame); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, p master, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got % X, %v; want % X", got[:n], err, want)
	}
}

// expectNothing waits long enough for an answer that was on its way to be there.
func expectNothing(t *testing.T, p master) {
	t.Helper()
	p.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	defer p.SetReadDeadline(time.Now().Add(testPatience))
	got := make([]byte, 256)
	if n, err := p.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got % X, %v; want nothing", got[:n], err)
	}
}

func crc(frame ...byte) []byte { return rtu{}.wrap(nil, frame[0], frame[1:]) }

// A request and its answer as the specification's own examples have them, for unit 17.
var (
	askRTU    = []byte{0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87}
	answerRTU = []byte{0x11, 0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64, 0xC8, 0xBA}
	askTCP    = []byte{0x15, 0x01, 0, 0, 0, 6, 0x11, 0x03, 0x00, 0x6B, 0x00, 0x03}
	answerTCP = []byte{0x15, 0x01, 0, 0, 0, 9, 0x11, 0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64}
)

func unit17() (*Server, *Unit) {
	s := New(1)
	u := s.Unit(17)
	u.Set(Holdings, 107, 0x022B, 0, 100)
	return s, u
}

func TestThreeKindsOfPort(t *testing.T) {
	s, _ := unit17()
	t.Run("tcp", func(t *testing.T) {
		c := dial(t, serveTCP(t, s.ServeTCP))
		send(t, c, append(bytes.Clone(askTCP), askTCP...)) // two at once
		expect(t, c, append(bytes.Clone(answerTCP), answerTCP...))
		send(t, c, askTCP[:5])
		send(t, c, askTCP[5:])
		expect(t, c, answerTCP)
	})
	t.Run("rtu", func(t *testing.T) {
		p := servePTY(t, s, Wire{})
		send(t, p, askRTU)
		expect(t, p, answerRTU)
		send(t, p, append([]byte{0xFF, 0x00}, askRTU...)) // noise before
		expect(t, p, answerRTU)
		send(t, p, crc(0x11, 0x2B, 0x0E, 0x01, 0x00)) // unknown function: known by the silence after it
		expect(t, p, crc(0x11, 0xAB, 0x01))
	})
	t.Run("rtu over tcp", func(t *testing.T) {
		c := dial(t, serveTCP(t, func(ctx context.Context, ln net.Listener) error {
			return s.ServeRTUOverTCP(ctx, ln, Wire{Baud: 115200})
		}))
		send(t, c, askRTU)
		expect(t, c, answerRTU)
	})
}

func TestUnitsThatAreNotThere(t *testing.T) {
	s, _ := unit17()
	p := servePTY(t, s, Wire{})
	send(t, p, crc(0x12, 0x03, 0, 0, 0, 1))
	expectNothing(t, p)
	s.Absent(0x0B)
	c := dial(t, serveTCP(t, s.ServeTCP))
	send(t, c, []byte{0, 1, 0, 0, 0, 6, 0x12, 3, 0, 0, 0, 1})
	expect(t, c, []byte{0, 1, 0, 0, 0, 3, 0x12, 0x83, 0x0B})
}

func TestBroadcastReachesEveryUnitAndIsNotAnswered(t *testing.T) {
	s, u := unit17()
	other := s.Unit(18)
	p := servePTY(t, s, Wire{})
	send(t, p, crc(0, 6, 0, 5, 0, 9))
	send(t, p, askRTU)
	expect(t, p, answerRTU) // and nothing before it
	if u.Get(Holdings, 5) != 9 || other.Get(Holdings, 5) != 9 || len(u.Writes()) != 1 {
		t.Error("a unit missed the broadcast")
	}
}

// TestPaceIsTheWires asks for the lower bound only: the wire is never faster, and a slow machine is no fault.
func TestPaceIsTheWires(t *testing.T) {
	s, _ := unit17()
	w := Wire{Baud: 9600, Bits: 10, Turnaround: 5 * time.Millisecond}
	p := servePTY(t, s, w)
	began := time.Now()
	send(t, p, askRTU)
	got := make([]byte, 0, 16)
	for len(got) < len(answerRTU) {
		b := make([]byte, 16)
		n, err := p.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:n]...)
		least := time.Duration(len(askRTU)+len(got))*w.Char() + w.Turnaround
		if took := time.Since(began); took < least {
			t.Fatalf("%d bytes came after %v; the wire needs %v", len(got), took, least)
		}
	}
	if !bytes.Equal(got, answerRTU) {
		t.Fatalf("% X", got)
	}
	time.Sleep(2 * w.Silence()) // a master's duty
	send(t, p, askRTU)
	expect(t, p, answerRTU)
	if s.Early() != 0 {
		t.Error("a request after t3.5 was taken for an early one")
	}
	send(t, p, askRTU)
	expect(t, p, answerRTU)
	if s.Early() != 1 {
		t.Skip("the machine was too slow for a request within t3.5")
	}
}

func TestWireTimes(t *testing.T) {
	for _, c := range []struct {
		wire          Wire
		char, silence time.Duration
	}{
		{Wire{}, 0, 0},
		{Wire{Baud: 9600, Bits: 10}, 1041666, 3645831},
		{Wire{Baud: 9600}, 1145833, 4010415},
		{Wire{Baud: 115200, Bits: 10}, 86805, 1750000},
	} {
		if c.wire.Char() != c.char || c.wire.Silence() != c.silence {
			t.Errorf("%+v: char %v, silence %v", c.wire, c.wire.Char(), c.wire.Silence())
		}
	}
	// The published table: 10 registers at 9600 8N1 with 5 ms turnaround make 23.2 polls a second.
	if rate := 1 / (Wire{Baud: 9600, Bits: 10, Turnaround: 5 * time.Millisecond}).Cycle(8, 25).Seconds(); rate < 23.1 || rate > 23.3 {
		t.Errorf("%.1f polls a second", rate)
	}
}

func TestWatchSeesRequests(t *testing.T) {
	s, _ := unit17()
	seen := make(chan Seen, 1)
	s.Watch(func(x Seen) { seen <- x })
	p := servePTY(t, s, Wire{})
	send(t, p, askRTU)
	x := <-seen
	x.At = time.Time{}
	if want := (Seen{Unit: 17, Function: 3, Address: 107, Quantity: 3, Present: true}); x != want {
		t.Errorf("%+v, want %+v", x, want)
	}
}

// A master that was cut off in the middle of a request does no harm to the next.
func TestSilenceEndsGarbage(t *testing.T) {
	s, _ := unit17()
	p := servePTY(t, s, Wire{})
	send(t, p, askRTU[:5]) // the master was cut off
	expectNothing(t, p)
	send(t, p, askRTU)
	expect(t, p, answerRTU)
	if s.Garbage() != 5 {
		t.Errorf("%d bytes of garbage", s.Garbage())
	}
}
