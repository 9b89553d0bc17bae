package tcpport

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestAPortIsRefusedWhileNobodyListens(t *testing.T) {
	p, err := Hold("")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 3 {
		if _, err := net.Dial("tcp", p.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("with nobody listening: %v", err)
		}
		ln, err := p.Listen()
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", p.Address())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		s.Close() // leaves the port in TIME_WAIT
		c.Close()
	}
}

func TestAPortIsTakenOnce(t *testing.T) {
	p, err := Hold("")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ln, err := p.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if q, err := Hold(p.Address()); err == nil {
		q.Close()
		t.Error("held twice while someone listens")
	}
	for _, wrong := range []string{"localhost", "[::1]:80", "127.0.0.1"} {
		if q, err := Hold(wrong); err == nil {
			q.Close()
			t.Errorf("%q was held", wrong)
		}
	}
}
