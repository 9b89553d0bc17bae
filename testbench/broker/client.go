package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ClientOptions say how a Client connects.
type ClientOptions struct {
	Address  string // host and port
	ID       string // client id
	User     string
	Password string
	TLS      *tls.Config   // nil for plain TCP
	Keep     bool          // the session outlives the connection (no clean session)
	Take     func(Message) // called with each message that comes, one at a time; it is acknowledged afterwards. May be nil
}

// RefusedError is a CONNECT that the broker refused.
type RefusedError struct{ Code byte }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the broker refused the connection with code %d", e.Code)
}

// Client is a small MQTT 3.1.1 client, for any broker: tests listen and command with it. It shares nothing with the
// client under test. Its methods may be called from any goroutine.
type Client struct {
	options ClientOptions
	conn    net.Conn
	in      *bufio.Reader
	done    chan struct{} // closed when the connection has ended
	ended   error         // why; valid once done is closed

	mu      sync.Mutex // guards what follows, and writes
	next    uint16
	waiting map[uint16]chan packet // SUBACK and PUBACK by packet id
}

const keepAlive = 20 * time.Second

// Dial connects. The connection ends with Close, with the context, or when the broker ends it.
func Dial(ctx context.Context, o ClientOptions) (*Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		conf := o.TLS.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(o.Address) // it was dialled, so it splits
		}
		conn = tls.Client(conn, conf)
	}
	c := &Client{
		options: o, conn: conn, in: bufio.NewReader(conn),
		done: make(chan struct{}), waiting: map[uint16]chan packet{},
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err := c.connect(); err != nil {
		stop()
		conn.Close()
		return nil, err
	}
	go func() {
		defer stop()
		c.run()
	}()
	return c, nil
}

func (c *Client) connect() error {
	flags := byte(0)
	if !c.options.Keep {
		flags |= 0x02
	}
	body := [][]byte{text("MQTT"), {4, 0, 0, byte(keepAlive / time.Second)}, text(c.options.ID)}
	if c.options.User != "" {
		flags |= 0xC0
		body = append(body, text(c.options.User), text(c.options.Password))
	}
	body[1][1] = flags
	if err := c.send(assemble(typeConnect<<4, body...)); err != nil {
		return err
	}
	p, err := readPacket(c.in)
	switch {
	case err != nil:
		return err
	case p.kind() != typeConnack || len(p.body()) != 2:
		return errMalformed
	case p.body()[1] != 0:
		return &RefusedError{p.body()[1]}
	}
	return nil
}

// run reads until the connection ends. It sends a sign of life in the meantime.
func (c *Client) run() {
	var pinging sync.WaitGroup
	pinging.Go(func() {
		tick := time.NewTicker(keepAlive / 2)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.send([]byte{typePingreq << 4, 0}) // the reader sees the end too
			case <-c.done:
				return
			}
		}
	})
	defer pinging.Wait()
	defer close(c.done)
	defer c.conn.Close()
	for {
		p, err := readPacket(c.in)
		if err == nil {
			err = c.handle(p)
		}
		if err != nil {
			c.ended = err
			return
		}
	}
}

func (c *Client) handle(p packet) error {
	switch p.kind() {
	case typePublish:
		m, id, err := p.publish()
		if err != nil {
			return err
		}
		if c.options.Take != nil {
			c.options.Take(m)
		}
		if p.qos() == 0 {
			return nil
		}
		return c.send(assemble(typePuback<<4, binary.BigEndian.AppendUint16(nil, id)))
	case typePuback, typeSuback:
		if len(p.body()) < 2 {
			return errMalformed
		}
		id := binary.BigEndian.Uint16(p.body())
		c.mu.Lock()
		answer := c.waiting[id]
		delete(c.waiting, id)
		c.mu.Unlock()
		if answer != nil {
			answer <- p
		}
	}
	return nil
}

func (c *Client) send(raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(raw)
	return err
}

// ask sends a packet that is made with a fresh packet id and waits for its acknowledgement.
func (c *Client) ask(ctx context.Context, build func(id []byte) []byte) (packet, error) {
	answer := make(chan packet, 1)
	c.mu.Lock()
	c.next++
	if c.next == 0 {
		c.next = 1
	}
	id := c.next
	c.waiting[id] = answer
	c.mu.Unlock()
	if err := c.send(build(binary.BigEndian.AppendUint16(nil, id))); err != nil {
		return packet{}, err
	}
	select {
	case p := <-answer:
		return p, nil
	case <-c.done:
		return packet{}, c.ended
	case <-ctx.Done():
		return packet{}, ctx.Err()
	}
}

// Subscribe asks for the messages that match the filter, with QoS 1, and returns when the broker has agreed.
func (c *Client) Subscribe(ctx context.Context, filter string) error {
	p, err := c.ask(ctx, func(id []byte) []byte {
		return assemble(typeSubscribe<<4|2, id, text(filter), []byte{1})
	})
	if err != nil {
		return err
	}
	if b := p.body(); len(b) != 3 || b[2] == 0x80 {
		return fmt.Errorf("the broker refuses a subscription to %s", filter)
	}
	return nil
}

// Publish sends a message with QoS 1 and returns when the broker has acknowledged it.
func (c *Client) Publish(ctx context.Context, topic string, payload []byte, retained bool) error {
	first := byte(typePublish<<4 | 2)
	if retained {
		first |= 1
	}
	_, err := c.ask(ctx, func(id []byte) []byte { return assemble(first, text(topic), id, payload) })
	return err
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close says goodbye, ends the connection, and waits until Take is called no more. Not to be called from Take.
func (c *Client) Close() error {
	err := c.send([]byte{typeDisconnect << 4, 0})
	err = errors.Join(err, c.conn.Close())
	<-c.done
	return err
}

// Follow subscribes to the filter and has o.Take called with what comes, until the context ends (nil). A connection
// that ends is made again; o.Keep decides whether messages wait meanwhile. It returns a *RefusedError as it is.
func Follow(ctx context.Context, o ClientOptions, filter string) error {
	for ctx.Err() == nil {
		c, err := Dial(ctx, o)
		if refused := (*RefusedError)(nil); errors.As(err, &refused) {
			return refused
		}
		if err == nil {
			if c.Subscribe(ctx, filter) == nil {
				select {
				case <-c.Done():
				case <-ctx.Done():
				}
			}
			_ = c.Close() // it may have ended by itself
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}
