package consumer

import (
	"context"
	"net"
	"os/exec"
	"testing"
	"time"

	"edgegateway/testbench/broker"
	"edgegateway/testbench/tcpport"
)

// waitFor gives what comes over a network its time.
func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
	}
}

// listenAndCheck follows a broker and plays a day through it.
func listenAndCheck(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := New(Options{})
	done := make(chan error, 1)
	go func() {
		take := func(m broker.Message) { r.Take(m.Topic, m.Payload, m.Retained) }
		done <- broker.Follow(ctx, broker.ClientOptions{Address: address, ID: "consumer", Keep: true, Take: take}, "gw/#")
	}()
	c, err := broker.Dial(ctx, broker.ClientOptions{Address: address, ID: "gateway"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish(ctx, "gw/g/state", []byte(exampleState), true); err != nil { // is there once we have subscribed
		t.Fatal(err)
	}
	waitFor(t, func() bool { return r.Books().Messages > 0 })
	for _, m := range []struct{ topic, payload string }{{"data", exampleData}, {"event", exampleEvent}, {"data", exampleData}} {
		if err := c.Publish(ctx, "gw/g/"+m.topic, []byte(m.payload), false); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return r.Books().Repeats == 1 })
	if b := r.Books(); b.Check() != nil || b.Unique != 2 {
		t.Errorf("%+v, %v", b, b.Check())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOverTheEmbeddedBroker(t *testing.T) {
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	listenAndCheck(t, b.Address())
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOverMosquitto(t *testing.T) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("mosquitto is not installed (Debian: apt install mosquitto)")
		}
	}
	port, err := tcpport.Hold("")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	_, number, _ := net.SplitHostPort(port.Address())
	cmd := exec.Command(path, "-p", number)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", port.Address())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	listenAndCheck(t, port.Address())
}
