package broker

import (
	"bufio"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"sync"
	"time"
)

// Count is a number of MQTT packets and their bytes, without those of TCP and TLS.
type Count struct{ Packets, Bytes int64 }

func (c *Count) add(n int) {
	c.Packets++
	c.Bytes += int64(n)
}

func (c *Count) join(d Count) {
	c.Packets += d.Packets
	c.Bytes += d.Bytes
}

// TopicTraffic counts the publishes of one topic, from clients and to clients.
type TopicTraffic struct {
	In, Out Count
	Repeats int64 // of In: those with the DUP flag
}

// Traffic counts what passed between the broker and a client.
type Traffic struct {
	Connects int64 // CONNECT packets, refused ones too
	In, Out  Count // every packet, from the client and to it
	Topics   map[string]TopicTraffic
}

// Traffic gives the figures of the client with that id, over all its connections, or of all clients for "".
func (b *Broker) Traffic(client string) Traffic {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := Traffic{Topics: map[string]TopicTraffic{}}
	for id, t := range b.traffic {
		if client != "" && id != client {
			continue
		}
		sum.Connects += t.Connects
		sum.In.join(t.In)
		sum.Out.join(t.Out)
		for topic, c := range t.Topics {
			s := sum.Topics[topic]
			s.In.join(c.In)
			s.Out.join(c.Out)
			s.Repeats += c.Repeats
			sum.Topics[topic] = s
		}
	}
	return sum
}

// Clients names those who have sent a CONNECT.
func (b *Broker) Clients() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id := range maps.Keys(b.traffic) {
		ids = append(ids, id)
	}
	return ids
}

// conn stands between a client and mochi. It sees whole packets in both directions, counts them, and does to them what
// the faults say.
type conn struct {
	net.Conn              // what mochi reads and writes: TLS or plain
	tcp      *net.TCPConn // below it
	broker   *Broker

	in     *bufio.Reader // read by mochi's one reader
	rest   []byte        // of the packet that mochi is reading
	client string        // once the CONNECT was read

	mu     sync.Mutex // guards what follows, and writes
	part   []byte     // of a packet that mochi is writing
	held   []heldAck  // acknowledgements that wait
	timer  *time.Timer
	closed bool
}

type heldAck struct {
	due time.Time
	raw []byte
}

func newConn(b *Broker, tcp *net.TCPConn) *conn {
	c := &conn{Conn: tcp, tcp: tcp, broker: b}
	if b.options.TLS != nil {
		c.Conn = tls.Server(tcp, b.options.TLS)
	}
	c.in = bufio.NewReader(c.Conn)
	return c
}

func (c *conn) reset() {
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close() // below TLS, which would say goodbye
}

// Close ends the connection; what was to be acknowledged never is.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	return c.Conn.Close()
}

// Read gives mochi what the client sends, but for what the faults keep back.
func (c *conn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		p, err := readPacket(c.in)
		if err != nil {
			return 0, err
		}
		if c.rest, err = c.arrive(p); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

var errRefused = errors.New("the broker refuses the client")

// arrive counts a packet from the client, and gives what mochi shall see of it.
func (c *conn) arrive(p packet) (pass []byte, err error) {
	if p.kind() == typeConnect {
		if c.client, err = p.clientID(); err != nil {
			return nil, err
		}
	}
	var m Message
	if p.kind() == typePublish {
		if m, _, err = p.publish(); err != nil {
			return nil, err
		}
	}
	f := c.broker.faultsFor(c.client)
	c.broker.count(c.client, func(t *Traffic) {
		t.In.add(len(p.raw))
		switch p.kind() {
		case typeConnect:
			t.Connects++
		case typePublish:
			topic := t.Topics[m.Topic]
			topic.In.add(len(p.raw))
			if m.Repeated {
				topic.Repeats++
			}
			t.Topics[m.Topic] = topic
		}
	})
	switch {
	case p.kind() == typeConnect && f.Refuse != 0:
		c.mu.Lock()
		defer c.mu.Unlock()
		_ = c.send(assemble(typeConnack<<4, []byte{0, f.Refuse})) // it ends either way
		return nil, errRefused
	case p.kind() == typePublish && f.Swallow:
		return nil, nil
	}
	return p.raw, nil
}

// count books with the figures of a client.
func (b *Broker) count(client string, book func(*Traffic)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.traffic[client]
	if t == nil {
		t = &Traffic{Topics: map[string]TopicTraffic{}}
		b.traffic[client] = t
	}
	book(t)
}

// Write takes what mochi sends, in whatever portions, and passes on whole packets.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.part = append(c.part, b...)
	var pass []byte
	for {
		p, ok, err := cut(c.part)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		c.part = c.part[len(p.raw):]
		pass = append(pass, c.leave(p)...)
	}
	if len(pass) > 0 {
		if err := c.send(pass); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// leave gives what shall go out at once of a packet to the client.
func (c *conn) leave(p packet) []byte {
	if p.kind() == typePuback {
		f := c.broker.faultsFor(c.client)
		switch {
		case f.Mute:
			return nil
		case f.AckDelay > 0 || len(c.held) > 0: // in order, also when the delay is over
			c.hold(heldAck{time.Now().Add(f.AckDelay), p.raw})
			return nil
		}
	}
	if p.kind() == typeDisconnect {
		return nil // mochi's own; MQTT 3.1.1 has none in this direction
	}
	c.out(p)
	return p.raw
}

// out counts a packet to the client.
func (c *conn) out(p packet) {
	var m Message
	if p.kind() == typePublish {
		m, _, _ = p.publish() // mochi's packets are whole
	}
	c.broker.count(c.client, func(t *Traffic) {
		t.Out.add(len(p.raw))
		if p.kind() == typePublish {
			topic := t.Topics[m.Topic]
			topic.Out.add(len(p.raw))
			t.Topics[m.Topic] = topic
		}
	})
}

func (c *conn) hold(a heldAck) {
	c.held = append(c.held, a)
	if len(c.held) == 1 {
		c.timer = time.AfterFunc(time.Until(a.due), c.release)
	}
}

// release sends the acknowledgements that are due.
func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.held) > 0 && !c.closed {
		a := c.held[0]
		if wait := time.Until(a.due); wait > 0 {
			c.timer.Reset(wait)
			return
		}
		c.held = c.held[1:]
		c.out(packet{a.raw, 2})
		if c.send(a.raw) != nil {
			return // mochi's reader sees the end too
		}
	}
}

// writeLimit is how long a client may refuse to read before its connection counts as dead.
const writeLimit = 10 * time.Second

func (c *conn) send(b []byte) error {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(writeLimit)) // of a closed one the write fails anyway
	_, err := c.Conn.Write(b)
	return err
}
