package modbus

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

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
