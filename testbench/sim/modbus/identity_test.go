package modbus

import (
	"bytes"
	"context"
	"net"
	"testing"
)

// The specification's own examples: function 22 (6.16), 24 (6.18), 43/14 (6.21), and an ASCII frame with its LRC.
func TestFunctionsOfIdentityAndQueues(t *testing.T) {
	s := New(1)
	u := s.Unit(17)
	u.Set(Holdings, 4, 0x12)
	u.Set(Holdings, 107, 0x022B, 0, 100)
	u.Queue(1246, 0x01B8, 0x1284)
	u.ServerID([]byte{0x2A, 0xFF, 'v', '1'})
	u.Identify(map[byte]string{0: "Company", 1: "Product", 2: "V2.11"})
	c := dial(t, serveTCP(t, s.ServeTCP))
	for _, x := range []struct{ name, ask, want string }{
		{"mask write", "16 00 04 00 F2 00 25", "16 00 04 00 F2 00 25"},
		{"queue", "18 04 DE", "18 00 06 00 02 01 B8 12 84"},
		{"no queue", "18 04 DF", "98 02"},
		{"server id", "11", "11 04 2A FF 76 31"},
		{"identity", "2B 0E 01 00", "2B 0E 01 81 00 00 03 00 07 43 6F 6D 70 61 6E 79 01 07 50 72 6F 64 75 63 74 02 05 56 32 2E 31 31"},
		{"one object", "2B 0E 04 02", "2B 0E 04 81 00 00 01 02 05 56 32 2E 31 31"},
		{"no such object", "2B 0E 04 05", "AB 02"},
		{"no such level", "2B 0E 09 00", "AB 03"},
	} {
		send(t, c, mbap{}.wrap(&request{}, 17, unhex(t, x.ask)))
		expect(t, c, mbap{}.wrap(&request{}, 17, unhex(t, x.want)))
	}
	if got := u.Get(Holdings, 4); got != 0x17 {
		t.Errorf("0x12 and 0xF2 or 0x25 became %#x", got)
	}
	a := dial(t, serveTCP(t, func(ctx context.Context, ln net.Listener) error { return s.ServeASCIIOverTCP(ctx, ln, Wire{}) }))
	send(t, a, []byte("noise:1103006B00037E\r\n"))
	expect(t, a, []byte(":110306022B0000006455\r\n"))
	send(t, a, []byte(":1103006B00037F\r\n:1103006B00037E\r\n"))
	expect(t, a, []byte(":110306022B0000006455\r\n"))
}

// TestIdentityInPieces: what does not fit into one answer follows in the next.
func TestIdentityInPieces(t *testing.T) {
	s := New(1)
	long := string(bytes.Repeat([]byte("x"), 120))
	s.Unit(1).Identify(map[byte]string{0: long, 1: long, 2: "V1"})
	answer := s.Unit(1).serve([]byte{0x2B, 0x0E, 1, 0}, 0)
	if answer[4] != 0xFF || answer[5] != 2 || answer[6] != 2 || len(answer) > 253 {
		t.Fatalf("% x", answer)
	}
	answer = s.Unit(1).serve([]byte{0x2B, 0x0E, 1, 2}, 0)
	if answer[4] != 0 || answer[6] != 1 || string(answer[9:]) != "V1" {
		t.Fatalf("% x", answer)
	}
}
