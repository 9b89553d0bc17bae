package uplink

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
)

// TestDeadNameServerIsPassedOver: the first of two name servers is silent for good; the second must be asked in time.
func TestDeadNameServerIsPassedOver(t *testing.T) {
	t.Parallel()
	dead, living := listenUDP(t), listenUDP(t)
	go func() {
		for b := make([]byte, 1500); ; {
			n, from, err := living.ReadFrom(b)
			if err != nil {
				return
			}
			if _, err := living.WriteTo(nameAnswer(b[:n]), from); err != nil {
				return
			}
		}
	}()
	var asked atomic.Int32
	r := names(func(ctx context.Context, network, _ string) (net.Conn, error) {
		to := living
		if asked.Add(1) <= 2 { // the first query, for addresses of both kinds
			to = dead
		}
		return new(net.Dialer).DialContext(ctx, network, to.LocalAddr().String())
	})
	ctx, cancel := context.WithTimeout(t.Context(), dialTimeout)
	defer cancel()
	got, err := r.LookupHost(ctx, "broker.example.")
	if err != nil || !slices.Equal(got, []string{"192.0.2.7"}) {
		t.Fatalf("%v, %v, after %d queries", got, err, asked.Load())
	}
}

func listenUDP(t *testing.T) net.PacketConn {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// nameAnswer gives 192.0.2.7 to a query for an address of IPv4, and nothing to others (RFC 1035, 4.1).
func nameAnswer(query []byte) []byte {
	const header, kindA = 12, 1
	end := header + bytes.IndexByte(query[header:], 0) + 5 // name, type, class
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[header:end]...)
	if query[end-3] == kindA {
		answer[7] = 1
		answer = append(answer, 0xC0, header, 0, kindA, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7)
	}
	return answer
}
