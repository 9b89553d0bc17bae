package modbus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
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

type port interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

func send(t *testing.T, p port, frame []byte) {
	t.Helper()
	if _, err := p.Write(frame); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, p port, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got % X, %v; want % X", got[:n], err, want)
	}
}

// expectNothing waits long enough for an answer that was on its way to be there.
func expectNothing(t *testing.T, p port) {
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

func TestFaultsOnRTU(t *testing.T) {
	noise := []byte{0xDE, 0xAD}
	short := crc(0x11, 3, 4, 0x02, 0x2B, 0, 0)
	long := crc(0x11, 3, 8, 0x02, 0x2B, 0, 0, 0, 100, 0, 0)
	foreign := crc(0x12, 3, 6, 0xFD, 0xD4, 0xFF, 0xFF, 0xFF, 0x9B)
	badCRC := bytes.Clone(answerRTU)
	badCRC[len(badCRC)-1] ^= 0x5A
	torn := bytes.Join([][]byte{answerRTU[:5], answerRTU[5:]}, noise)
	for _, c := range []struct {
		fault Fault
		want  []byte
	}{
		{Fault{Kind: NoiseBefore, Bytes: noise}, append(bytes.Clone(noise), answerRTU...)},
		{Fault{Kind: NoiseBetween, Bytes: noise}, torn},
		{Fault{Kind: NoiseAfter, Bytes: noise}, append(bytes.Clone(answerRTU), noise...)},
		{Fault{Kind: Echo}, append(bytes.Clone(askRTU), answerRTU...)},
		{Fault{Kind: Foreign}, append(foreign, answerRTU...)},
		{Fault{Kind: Exception, Code: 6}, crc(0x11, 0x83, 6)},
		{Fault{Kind: Exception}, crc(0x11, 0x83, 4)},
		{Fault{Kind: ExceptionSplit, Code: 2, Delay: time.Millisecond}, crc(0x11, 0x83, 2)},
		{Fault{Kind: Split}, answerRTU},
		{Fault{Kind: Short}, short},
		{Fault{Kind: Long}, long},
		{Fault{Kind: BadCRC}, badCRC},
		{Fault{Kind: WrongTransaction}, answerRTU},
	} {
		t.Run(c.fault.Kind.String(), func(t *testing.T) {
			s, u := unit17()
			p := servePTY(t, s, Wire{})
			c.fault.Count = 1
			u.Inject(c.fault)
			send(t, p, askRTU)
			expect(t, p, c.want)
			send(t, p, askRTU) // the fault is spent
			expect(t, p, answerRTU)
		})
	}
}

func TestFaultsInPieces(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		first int // bytes of the first piece; 0: any
		want  []byte
	}{
		{Fault{Kind: Split, Delay: 100 * time.Millisecond}, 0, answerRTU},
		{Fault{Kind: ExceptionSplit, Delay: 100 * time.Millisecond}, 4, crc(0x11, 0x83, 4)},
	} {
		t.Run(c.fault.Kind.String(), func(t *testing.T) {
			s, u := unit17()
			p := servePTY(t, s, Wire{})
			u.Inject(c.fault)
			send(t, p, askRTU)
			b := make([]byte, 64)
			n, err := p.Read(b)
			if err != nil || n >= len(c.want) || c.first > 0 && n != c.first {
				t.Fatalf("the first piece has %d bytes, %v", n, err)
			}
			expect(t, p, c.want[n:])
		})
	}
}

// A late answer comes in front of, or after, what others are asked meanwhile: it holds up nobody.
func TestLateAnswersHoldUpNobody(t *testing.T) {
	s, u := unit17()
	s.Unit(18).Set(Holdings, 0, 7)
	p := servePTY(t, s, Wire{})
	u.Inject(Fault{Kind: Late, Delay: 300 * time.Millisecond, Count: 1})
	send(t, p, askRTU)
	send(t, p, crc(0x12, 3, 0, 0, 0, 1))
	expect(t, p, crc(0x12, 3, 2, 0, 7))
	expect(t, p, answerRTU)
}

// A slow unit holds up the others, as behind a serial server.
func TestLatencyHoldsUpTheLine(t *testing.T) {
	s, u := unit17()
	s.Unit(18).Set(Holdings, 0, 7)
	c := dial(t, serveTCP(t, s.ServeTCP))
	u.Latency(50*time.Millisecond, time.Millisecond)
	began := time.Now()
	send(t, c, append(bytes.Clone(askTCP), 0, 1, 0, 0, 0, 6, 0x12, 3, 0, 0, 0, 1))
	expect(t, c, append(bytes.Clone(answerTCP), 0, 1, 0, 0, 0, 5, 0x12, 3, 2, 0, 7))
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

func TestFaultsOnTCP(t *testing.T) {
	wrong := bytes.Clone(answerTCP)
	wrong[0] ^= 0x5A
	bad := bytes.Clone(answerTCP)
	bad[2] ^= 0x5A
	foreign := []byte{0x15 ^ 0x5A, 0x01, 0, 0, 0, 9, 0x12, 3, 6, 0xFD, 0xD4, 0xFF, 0xFF, 0xFF, 0x9B}
	for _, c := range []struct {
		kind Kind
		want []byte
	}{
		{WrongTransaction, wrong},
		{BadCRC, bad},
		{Foreign, append(foreign, answerTCP...)},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			s, u := unit17()
			conn := dial(t, serveTCP(t, s.ServeTCP))
			u.Inject(Fault{Kind: c.kind, Count: 1})
			send(t, conn, askTCP)
			expect(t, conn, c.want)
			send(t, conn, askTCP)
			expect(t, conn, answerTCP)
		})
	}
}

func TestConnectionsThatEnd(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		err  error
	}{{Close, io.EOF}, {Reset, syscall.ECONNRESET}} {
		t.Run(c.kind.String(), func(t *testing.T) {
			s, u := unit17()
			address := serveTCP(t, s.ServeTCP)
			conn := dial(t, address)
			u.Inject(Fault{Kind: c.kind, Count: 1})
			send(t, conn, askTCP)
			if n, err := conn.Read(make([]byte, 64)); n != 0 || !errors.Is(err, c.err) {
				t.Errorf("%d, %v; want %v", n, err, c.err)
			}
			again := dial(t, address)
			send(t, again, askTCP)
			expect(t, again, answerTCP)
		})
	}
	t.Run(HalfOpen.String(), func(t *testing.T) {
		s, u := unit17()
		address := serveTCP(t, s.ServeTCP)
		conn := dial(t, address)
		u.Inject(Fault{Kind: HalfOpen, Count: 1})
		for range 3 {
			send(t, conn, askTCP)
		}
		expectNothing(t, conn)
		again := dial(t, address)
		send(t, again, askTCP)
		expect(t, again, answerTCP)
		expectNothing(t, conn)
	})
	t.Run("another protocol", func(t *testing.T) {
		s, _ := unit17()
		conn := dial(t, serveTCP(t, s.ServeTCP))
		send(t, conn, []byte("GET / HTTP/1.1\r\n\r\n"))
		if n, err := conn.Read(make([]byte, 64)); n != 0 || err == nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestEchoOfRequestsToNobody(t *testing.T) {
	s, _ := unit17()
	p := servePTY(t, s, Wire{})
	s.Inject(Fault{Kind: Echo})
	ask := crc(0x12, 3, 0, 0, 0, 1)
	send(t, p, ask)
	expect(t, p, ask)
	expectNothing(t, p)
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
