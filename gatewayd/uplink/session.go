package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"edgegateway/gatewayd/dialect"
)

// session is one connection with one MQTT client, from CONNACK to its end. One goroutine, that of Run, owns it.
type session struct {
	u      *Uplink
	server server
	said   dialect.Session
	client mqtt.Client
	conn   *bufConn
	lost   chan error // the MQTT client's reason, when it has stopped by itself
	up     time.Time

	subscribed *mqtt.SubscribeToken // until its answer has come

	// What is out, and how much may be (drain.go).
	window   window
	out      []flight // in the order in which they left, which is the order of their PUBACKs (MQTT-4.6.0-2)
	inFlight int      // bytes of out
	lastAck  time.Time
	delay    time.Duration // smoothed, from publish to PUBACK
	acked    uint64        // records of this session

	// Whose turn it is (drain.go).
	awake  bool      // the source may have something
	burst  bool      // live readings are leaving, until the source has no more
	liveAt time.Time // when the last burst of live readings ended
	linger bool      // live readings may wait, but it is too soon after the last ones
	debt   int       // bytes that the backlog may claim before live readings
}

// sessionEnd is what is left of a session.
type sessionEnd struct {
	server  string
	client  string // its id
	cause   error  // nil after a clean stop
	lasted  time.Duration
	acked   uint64 // records
	repeats int    // records that were out and leave again
}

// connect opens a session with one server, within connectTimeout.
func (u *Uplink) connect(ctx context.Context, srv server) (*session, error) {
	u.update(func(st *Stats) { st.Attempts++; st.Server = srv.url })
	u.renew()
	said, err := u.opts.Dialect.Session()
	if err != nil {
		return nil, err
	}
	password, err := u.files.password()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoConn)
	defer cancel()

	s := &session{u: u, server: srv, said: said, lost: make(chan error, 1), window: newWindow(), awake: true}
	var dialErr error
	release := func() bool { return true }
	o := mqtt.NewClientOptions().
		AddBroker("tcp://" + srv.addr). // only its presence counts: the next option opens the connection
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			conn, socket, err := u.dial(ctx, srv, u.files)
			if err != nil {
				dialErr = err
				return nil, err
			}
			s.conn = newBufConn(conn, socket, writeTimeout)
			release = context.AfterFunc(ctx, func() { s.conn.abort(context.Cause(ctx)) })
			return s.conn, nil
		}).
		SetClientID(said.ClientID).
		SetUsername(u.opts.Username).
		SetPassword(password).
		SetProtocolVersion(4).
		SetCleanSession(false). // the broker keeps commands for us
		SetStore(mqtt.NewMemoryStore()).
		SetOrderMatters(true).
		SetAutoReconnect(false). // a token under AutoReconnect succeeds without a PUBACK
		SetConnectRetry(false).
		SetResumeSubs(false).
		SetAutoAckDisabled(true).
		SetKeepAlive(u.opts.KeepAlive).
		SetPingTimeout(u.opts.PingTimeout).
		SetConnectTimeout(connectTimeout).
		SetWriteTimeout(handOff).
		SetDefaultPublishHandler(u.received).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lost <- err })
	if w := said.Will; w != nil {
		o.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retained)
	}
	s.client = mqtt.NewClient(o)
	token := s.client.Connect()
	<-token.Done() // ctx ends the dial, and the wait for CONNACK by closing the connection
	if err := token.Error(); err != nil {
		release()
		if s.conn == nil {
			return nil, cause(ctx, dialErr)
		}
		s.conn.abort(err)
		<-s.conn.stopped
		if code := token.(*mqtt.ConnectToken).ReturnCode(); code >= 1 && code <= 5 {
			return nil, &refusedError{code}
		}
		return nil, &noSessionError{s.conn.Err()}
	}
	if !release() {
		s.conn.hold()
		_ = s.close(context.Cause(ctx))
		<-s.conn.stopped
		return nil, context.Cause(ctx)
	}
	s.conn.hold()
	s.up = time.Now()
	return s, nil
}

// cause prefers the reason for which ctx ended to the error that this led to.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && context.Cause(ctx) != errNoConn {
		return context.Cause(ctx)
	}
	return err
}

// handOff bounds how long the MQTT client may take to take a message. Its writes never block (see bufConn), so that it
// takes longer only when it has stopped.
const handOff = 2 * time.Second

// run announces the gateway, drains the source until the context or the connection ends, and cleans up.
func (s *session) run(ctx context.Context) sessionEnd {
	s.u.update(func(st *Stats) {
		st.Connected, st.Since, st.LastError = true, s.up, ""
		st.Sessions++
	})
	s.u.log.Info("connected to the platform", "server", s.server.url, "client", s.said.ClientID)
	err := s.announce()
	if err == nil {
		err = s.work(ctx)
	}
	if err == nil {
		s.farewell()
	} else {
		err = s.close(err)
	}
	<-s.conn.stopped
	end := s.finish(err)
	s.u.update(func(st *Stats) {
		st.Connected, st.Since, st.InFlight = false, time.Now(), 0
		st.Repeats += uint64(end.repeats)
		if end.cause != nil {
			st.LastError = words(end.cause)
		}
	})
	return end
}

// announce publishes the births and subscribes, without waiting for the answers: what follows on the same connection
// stays behind them.
func (s *session) announce() error {
	for _, m := range s.said.Births {
		if err := s.publish(m, nil, true); err != nil {
			return err
		}
	}
	if len(s.said.Subscribe) == 0 {
		return nil
	}
	filters := make(map[string]byte, len(s.said.Subscribe))
	for _, f := range s.said.Subscribe {
		filters[f] = 1
	}
	s.subscribed = s.client.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	return nil
}

// renew publishes the births of a dialect that was changed, or says that this takes another session.
func (s *session) renew() error {
	if !s.u.renew() {
		return nil
	}
	said, err := s.u.opts.Dialect.Session()
	if err != nil {
		return err
	}
	before := s.said
	s.said = said
	said.Births, before.Births = nil, nil
	if !reflect.DeepEqual(said, before) {
		return errRenewed
	}
	for _, m := range s.said.Births {
		if err := s.publish(m, nil, true); err != nil {
			return err
		}
	}
	return nil
}

// checkSubscription looks at the broker's answer. A refusal is no reason to stop sending.
func (s *session) checkSubscription() {
	const refused = 0x80
	for filter, code := range s.subscribed.Result() {
		if code == refused {
			s.u.tell("config", fmt.Sprintf("%s refuses the subscription to %s: no command will arrive; check the broker's access list", s.server.url, filter))
		}
	}
	s.subscribed = nil
}

// farewell says goodbye and has DISCONNECT written, so that the broker keeps the Will to itself.
func (s *session) farewell() {
	var last mqtt.Token
	for _, m := range s.said.Farewell {
		last = s.client.Publish(m.Topic, m.QoS, m.Retained, m.Payload)
	}
	if last != nil {
		select {
		case <-last.Done():
		case <-s.conn.Done():
		case <-time.After(stopTimeout / 4):
		}
	}
	s.conn.release()
	s.client.Disconnect(uint((2 * drainTimeout).Milliseconds()))
	s.conn.abort(errClosed) // if even that was too long
}

// close ends the connection and waits until the MQTT client's goroutines are gone, which its lost handler tells. It
// gives the reason of the end, which is the client's own if it was the one that closed the connection.
func (s *session) close(why error) error {
	s.conn.abort(why)
	s.conn.release()
	select {
	case reason := <-s.lost:
		if errors.Is(why, errClosed) {
			return &clientError{reason}
		}
	case <-time.After(closeTimeout):
		s.u.log.Error("the MQTT client does not stop: left behind", "server", s.server.url)
	}
	return why
}

// closeTimeout is far more than the MQTT client needs to stop.
const closeTimeout = 10 * time.Second

// inbound is a message that came down, with the word to the broker that we have it.
type inbound struct {
	message dialect.Message
	ack     func()
}

// received is the MQTT client's callback: it hands over and never waits. What finds the queue full is not
// acknowledged, and the broker sends it again in the next session.
func (u *Uplink) received(_ mqtt.Client, m mqtt.Message) {
	in := inbound{
		message: dialect.Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), QoS: m.Qos()},
		ack:     m.Ack,
	}
	select {
	case u.commands <- in:
	default:
		u.log.Warn("commands come faster than they are taken: one is left with the broker", "topic", m.Topic())
	}
}

// runCommands gives messages to Options.Command, one at a time.
func (u *Uplink) runCommands(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case in := <-u.commands:
			u.update(func(st *Stats) { st.Commands++ })
			if u.opts.Command != nil {
				u.opts.Command(in.message)
			}
			in.ack()
		}
	}
}
