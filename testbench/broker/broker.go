// Package broker is an MQTT broker for tests and for the demo, with faults that are switched while it runs, an
// authority that makes throw-away certificates, and a small MQTT client of its own.
//
//	client ── TCP (TLS) ── conn: counts, faults ── mochi ── Tap
//
// It promises one address for its life, where connections are refused while it is down; sessions and retained
// messages that survive Down and Up; and that a message which was acknowledged has reached every Tap, or will before
// Run returns. A caller may not assume MQTT 5 in the faults and in the client: they read and write 3.1.1.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/tcpport"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Options of a Broker. The zero value lets anybody in, without TLS, on a port that the kernel gives.
type Options struct {
	Address  string      // "127.0.0.1:1883"; "" for a free port of 127.0.0.1
	User     string      // who is let in; "" for anybody
	Password string      //
	TLS      *tls.Config // nil for plain TCP
}

// Faults are what the broker does wrong, to every client or to one.
type Faults struct {
	Client   string        // whom it is done to, by client id; "" for everybody
	Refuse   byte          // CONNECT gets this return code (1…5) and the connection ends; 0 lets in
	Mute     bool          // publishes are taken and delivered, but never acknowledged
	Swallow  bool          // publishes are neither delivered nor acknowledged
	AckDelay time.Duration // acknowledgements leave so much later, in order
}

// Message is an application message.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // as the publisher set it, in a Tap; as the broker set it, in a Client
	Repeated bool // the DUP flag
}

// Broker is an MQTT broker. Its methods may be called from any goroutine, also before Run and after it.
type Broker struct {
	options Options
	port    *tcpport.Port

	mu       sync.Mutex
	server   *mqtt.Server
	taps     []tap
	faults   Faults
	traffic  map[string]*Traffic // by client id
	conns    map[*conn]struct{}
	listener net.Listener  // nil while down
	changed  chan struct{} // closed, and made anew, by Down and Up
	failed   error         // to listen again
}

type tap struct {
	filter string
	take   func(Message)
}

// New makes a broker that listens. Connections are served once Run runs.
func New(o Options) (*Broker, error) {
	port, err := tcpport.Hold(o.Address)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		options: o, port: port,
		traffic: map[string]*Traffic{}, conns: map[*conn]struct{}{}, changed: make(chan struct{}),
	}
	if b.listener, err = port.Listen(); err == nil {
		b.server, err = b.newServer()
	}
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	return b, nil
}

func (b *Broker) newServer() (*mqtt.Server, error) {
	s := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(&door{user: b.options.User, password: b.options.Password}, nil); err != nil {
		return nil, err
	}
	for i, t := range b.taps {
		if err := subscribe(s, i, t); err != nil {
			return nil, err
		}
	}
	return s, s.Serve()
}

// Address is where clients connect, host and port.
func (b *Broker) Address() string { return b.port.Address() }

// URL is the address as a gateway's configuration writes it: mqtt://… or mqtts://….
func (b *Broker) URL() string {
	if b.options.TLS != nil {
		return "mqtts://" + b.Address()
	}
	return "mqtt://" + b.Address()
}

// Set makes the broker behave that way from now on; the zero Faults make it behave.
func (b *Broker) Set(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = f
}

func (b *Broker) faultsFor(client string) Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faults.Client == "" || b.faults.Client == client {
		return b.faults
	}
	return Faults{}
}

// Tap has take called, in the publisher's goroutine, with each message that matches the filter, also those retained
// already. take must not call the broker, and must be safe for concurrent use.
func (b *Broker) Tap(filter string, take func(Message)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := tap{filter, take}
	b.taps = append(b.taps, t)
	return subscribe(b.server, len(b.taps)-1, t)
}

func subscribe(s *mqtt.Server, id int, t tap) error {
	return s.Subscribe(t.filter, id+1, func(_ *mqtt.Client, _ packets.Subscription, pk packets.Packet) {
		if strings.HasPrefix(pk.TopicName, "$") {
			return // mochi lets a leading # match its own statistics, which MQTT 3.1.1 (4.7.2) forbids
		}
		t.take(Message{
			Topic: pk.TopicName, Payload: pk.Payload,
			Retained: pk.FixedHeader.Retain, Repeated: pk.FixedHeader.Dup,
		})
	})
}

// Publish delivers a message, with QoS 1, to whoever has subscribed.
func (b *Broker) Publish(topic string, payload []byte, retained bool) error {
	b.mu.Lock()
	s := b.server
	b.mu.Unlock()
	return s.Publish(topic, payload, retained, 1)
}

// Retained gives the message that is retained on the topic.
func (b *Broker) Retained(topic string) ([]byte, bool) {
	b.mu.Lock()
	s := b.server
	b.mu.Unlock()
	pk, ok := s.Topics.Retained.Get(topic)
	return pk.Payload, ok
}

// Down resets every connection and refuses new ones, as a broker that was killed does, but for the Wills, which are
// published. Sessions and retained messages stay.
func (b *Broker) Down() {
	b.mu.Lock()
	if b.listener != nil {
		b.listener.Close()
		b.listener = nil
	}
	b.signal()
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	for _, c := range conns {
		c.reset()
	}
}

// Up listens again after Down.
func (b *Broker) Up() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil {
		b.listener, b.failed = b.port.Listen()
		b.signal()
	}
	return b.failed
}

// Restart is Down and Up. Without persistence the broker has forgotten every session and every retained message.
func (b *Broker) Restart(persistence bool) error {
	b.Down()
	if !persistence {
		s, err := b.replace()
		if err != nil {
			return err
		}
		_ = s.Close() // it never fails
	}
	return b.Up()
}

func (b *Broker) replace() (old *mqtt.Server, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old = b.server
	b.server, err = b.newServer()
	return old, err
}

func (b *Broker) signal() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Run serves until the context ends; then it resets the connections and returns nil. An error says that it cannot
// listen any more.
func (b *Broker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		b.Down()
	})
	defer func() {
		cancel()
		running.Wait()
		b.port.Close()
		b.server.Close()
	}()
	for {
		b.mu.Lock()
		ln, changed, err := b.listener, b.changed, b.failed
		b.mu.Unlock()
		if err != nil {
			return err
		}
		if ln == nil || ctx.Err() != nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			continue // by Down
		}
		if err != nil {
			return err
		}
		c, server := b.admit(nc.(*net.TCPConn), ln)
		running.Go(func() {
			// How a connection ends is its client's affair; mochi's log is silent.
			_ = server.EstablishConnection("tcp", c)
			c.Close()
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.conns, c)
		})
	}
}

// admit registers a connection. One that came through a listener which is closed by now is reset at once.
func (b *Broker) admit(nc *net.TCPConn, through net.Listener) (*conn, *mqtt.Server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := newConn(b, nc)
	b.conns[c] = struct{}{}
	if b.listener != through {
		c.reset()
	}
	return c, b.server
}

// door lets in who has the password.
type door struct {
	mqtt.HookBase
	user, password string
}

func (*door) ID() string { return "door" }

func (*door) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

func (d *door) OnConnectAuthenticate(_ *mqtt.Client, pk packets.Packet) bool {
	return d.user == "" || string(pk.Connect.Username) == d.user && string(pk.Connect.Password) == d.password
}

func (*door) OnACLCheck(*mqtt.Client, string, bool) bool { return true }
