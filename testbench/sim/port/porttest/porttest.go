// Package porttest serves simulated meters to tests whose line is a real one. It promises that nothing is left of them
// when the test ends. It is imported by tests only.
package porttest

import (
	"context"
	"net"
	"testing"

	"edgegateway/testbench/sim/port"
)

// Serve serves meters to whoever connects, until the test ends, and tells where.
func Serve(t *testing.T, m port.Machine) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- port.ServeTCP(ctx, ln, m) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}
