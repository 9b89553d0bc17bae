package broker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

func newBroker(t *testing.T, o Options) *Broker {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("run:", err)
		}
	})
	return b
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, b *Broker, o ClientOptions) *Client {
	t.Helper()
	o.Address = b.Address()
	if o.ID == "" {
		o.ID = t.Name()
	}
	c, err := Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// inbox keeps what it takes.
type inbox struct {
	mu   sync.Mutex
	list []string
}

func (i *inbox) take(m Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.list = append(i.list, fmt.Sprintf("%s %s", m.Topic, m.Payload))
}

func (i *inbox) has(line string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.list, line)
}

func (i *inbox) expect(t *testing.T, want ...string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		i.mu.Lock()
		got := fmt.Sprint(i.list)
		i.mu.Unlock()
		if got == fmt.Sprint(want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("took %s, want %s", got, want)
		}
	}
}

func publish(t *testing.T, c *Client, topic, payload string) {
	t.Helper()
	if err := c.Publish(within(t), topic, []byte(payload), false); err != nil {
		t.Fatal(err)
	}
}

func TestTapAndClientsSeeMessages(t *testing.T) {
	b := newBroker(t, Options{})
	var tapped, taken inbox
	if err := b.Tap("gw/#", tapped.take); err != nil {
		t.Fatal(err)
	}
	listener := dial(t, b, ClientOptions{ID: "listener", Take: taken.take})
	if err := listener.Subscribe(within(t), "gw/+/data"); err != nil {
		t.Fatal(err)
	}
	c := dial(t, b, ClientOptions{ID: "speaker"})
	publish(t, c, "gw/a/data", "1")
	publish(t, c, "gw/a/event", "2")
	publish(t, c, "other", "3")
	if err := b.Publish("gw/b/data", []byte("4"), false); err != nil {
		t.Fatal(err)
	}
	tapped.expect(t, "gw/a/data 1", "gw/a/event 2", "gw/b/data 4")
	taken.expect(t, "gw/a/data 1", "gw/b/data 4")

	traffic := b.Traffic("speaker")
	if traffic.Connects != 1 || traffic.In.Packets != 4 || traffic.Out.Packets != 4 {
		t.Errorf("%+v", traffic)
	}
	// PUBLISH of one byte on gw/a/data: 2 header, 2+9 topic, 2 packet id, 1.
	if got := traffic.Topics["gw/a/data"].In; got != (Count{1, 16}) {
		t.Errorf("%+v", got)
	}
	if got := b.Traffic("").Topics["gw/a/data"]; got.In != (Count{1, 16}) || got.Out != (Count{1, 16}) {
		t.Errorf("%+v", got)
	}
}

func TestDownAndUpKeepAddressAndSessions(t *testing.T) {
	for _, persistence := range []bool{true, false} {
		t.Run(fmt.Sprint("persistence ", persistence), func(t *testing.T) {
			b := newBroker(t, Options{})
			var taken inbox
			o := ClientOptions{ID: "keeper", Keep: true, Take: taken.take}
			c := dial(t, b, o)
			if err := c.Subscribe(within(t), "down"); err != nil {
				t.Fatal(err)
			}
			if err := c.Publish(within(t), "kept", []byte("x"), true); err != nil {
				t.Fatal(err)
			}
			b.Down()
			<-c.Done()
			if _, err := net.Dial("tcp", b.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("while down: %v", err)
			}
			if err := b.Restart(persistence); err != nil {
				t.Fatal(err)
			}
			publish(t, dial(t, b, ClientOptions{ID: "speaker"}), "down", "while away")
			dial(t, b, o)
			_, retained := b.Retained("kept")
			if retained != persistence {
				t.Errorf("retained: %v", retained)
			}
			if persistence {
				taken.expect(t, "down while away")
			}
		})
	}
}

func TestTapsOutliveAForgetfulRestart(t *testing.T) {
	b := newBroker(t, Options{})
	var tapped inbox
	if err := b.Tap("#", tapped.take); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		publish(t, dial(t, b, ClientOptions{ID: fmt.Sprint(i)}), "t", fmt.Sprint(i))
		if err := b.Restart(false); err != nil {
			t.Fatal(err)
		}
	}
	tapped.expect(t, "t 0", "t 1", "t 2")
}

func TestRefuse(t *testing.T) {
	b := newBroker(t, Options{})
	for code := byte(1); code <= 5; code++ {
		b.Set(Faults{Refuse: code})
		_, err := Dial(within(t), ClientOptions{Address: b.Address(), ID: "x"})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("%v, want code %d", err, code)
		}
	}
	b.Set(Faults{Refuse: 5, Client: "other"})
	dial(t, b, ClientOptions{})
}

func TestPassword(t *testing.T) {
	b := newBroker(t, Options{User: "gw", Password: "secret"})
	dial(t, b, ClientOptions{User: "gw", Password: "secret"})
	for _, o := range []ClientOptions{{}, {User: "gw", Password: "wrong"}, {User: "other", Password: "secret"}} {
		o.Address, o.ID = b.Address(), "x"
		if _, err := Dial(within(t), o); !errors.As(err, new(*RefusedError)) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// raw speaks MQTT by hand: acknowledgements can be watched one by one.
type raw struct {
	net.Conn
	in *bufio.Reader
}

func dialRaw(t *testing.T, b *Broker) raw {
	t.Helper()
	c, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	r := raw{c, bufio.NewReader(c)}
	r.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01r"))
	r.expect(t, "\x20\x02\x00\x00")
	return r
}

func (r raw) expect(t *testing.T, want string) {
	t.Helper()
	p, err := readPacket(r.in)
	if err != nil || !bytes.Equal(p.raw, []byte(want)) {
		t.Fatalf("% X, %v; want % X", p.raw, err, want)
	}
}

// publishRaw sends a PUBLISH with QoS 1 on topic t with the id as its payload.
func (r raw) publish(id byte) {
	r.Write([]byte{0x32, 6, 0, 1, 't', 0, id, '0' + id})
}

const pong = "\xd0\x00"

func (r raw) ping() { r.Write([]byte{0xC0, 0}) }

func TestMuteTakesAndNeverAcknowledges(t *testing.T) {
	b := newBroker(t, Options{})
	var tapped inbox
	b.Tap("t", tapped.take)
	r := dialRaw(t, b)
	b.Set(Faults{Mute: true})
	r.publish(1)
	r.publish(2)
	r.ping()
	r.expect(t, pong) // and no acknowledgement before it
	tapped.expect(t, "t 1", "t 2")
	b.Set(Faults{})
	r.publish(3)
	r.expect(t, "\x40\x02\x00\x03")
}

func TestSwallow(t *testing.T) {
	b := newBroker(t, Options{})
	var tapped inbox
	b.Tap("t", tapped.take)
	r := dialRaw(t, b)
	b.Set(Faults{Swallow: true})
	r.publish(1)
	r.ping()
	r.expect(t, pong)
	b.Set(Faults{})
	r.publish(2)
	r.expect(t, "\x40\x02\x00\x02")
	tapped.expect(t, "t 2")
}

func TestAckDelay(t *testing.T) {
	const delay = 100 * time.Millisecond
	b := newBroker(t, Options{})
	r := dialRaw(t, b)
	b.Set(Faults{AckDelay: delay})
	began := time.Now()
	r.publish(1)
	r.publish(2)
	r.ping()
	r.expect(t, pong) // holds up nothing else
	b.Set(Faults{})
	r.publish(3)
	for id := byte(1); id <= 3; id++ { // in order, also those without a delay
		r.expect(t, string([]byte{0x40, 2, 0, id}))
		if took := time.Since(began); took < delay {
			t.Errorf("acknowledged after %v", took)
		}
	}
}

func TestTLS(t *testing.T) {
	a, err := NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, clients := range []bool{false, true} {
		conf, err := a.Server(clients)
		if err != nil {
			t.Fatal(err)
		}
		b := newBroker(t, Options{TLS: conf})
		_, err = Dial(within(t), ClientOptions{Address: b.Address(), ID: "nobody", TLS: a.Client()})
		if (err != nil) != clients {
			t.Errorf("without a certificate, wanted %v: %v", clients, err)
		}
		if _, err := Dial(within(t), ClientOptions{Address: b.Address(), ID: "stranger", TLS: &tls.Config{}}); err == nil {
			t.Error("a client that does not know the authority was satisfied")
		}
		certFile, keyFile, err := a.Issue("gateway")
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		mine := a.Client()
		mine.Certificates = []tls.Certificate{cert}
		publish(t, dial(t, b, ClientOptions{TLS: mine}), "t", "x")
	}
}

func TestFollowComesBack(t *testing.T) {
	b := newBroker(t, Options{})
	var taken inbox
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, ClientOptions{Address: b.Address(), ID: "follower", Keep: true, Take: taken.take}, "t")
	}()
	for connects := b.Traffic("follower"); connects.Out.Packets < 2; connects = b.Traffic("follower") {
		time.Sleep(time.Millisecond) // until it has subscribed
	}
	publish(t, dial(t, b, ClientOptions{ID: "1"}), "t", "1")
	if err := b.Restart(true); err != nil {
		t.Fatal(err)
	}
	publish(t, dial(t, b, ClientOptions{ID: "2"}), "t", "2")
	for end := time.Now().Add(patience); !taken.has("t 1") || !taken.has("t 2"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // an order, or a number of times, is not promised
			t.Fatal("not everything came")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01r"))
	f.Add([]byte{0x32, 6, 0, 1, 't', 0, 1, '0', 0xC0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok, err := cut(b)
		q, readErr := readPacket(bufio.NewReader(bytes.NewReader(b)))
		if ok != (readErr == nil) || ok && !bytes.Equal(p.raw, q.raw) || err != nil && readErr == nil {
			t.Fatalf("cut: %v %v; readPacket: %v", ok, err, readErr)
		}
		if ok && p.kind() == typePublish {
			p.publish()
		}
		if ok && p.kind() == typeConnect {
			p.clientID()
		}
	})
}
