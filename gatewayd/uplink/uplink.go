// Package uplink keeps one MQTT session to one platform, drains the buffer through it, and brings commands in. It is
// the only user of the MQTT client.
//
//	                   ┌─ replies ─┐
//	buffer.Cursor ─────┼─ events  ─┼─► window (bytes) ─► dialect ─► MQTT client ─► bufConn ─► socket
//	      ▲            ├─ live    ─┤                                    │
//	      │            └─ backlog ─┘                                    │
//	      └───────────────── Ack after PUBACK, else Rewind ◄────────────┘
//
// It promises that Source.Ack is called for a batch only when the broker's PUBACK for every message of it has come on
// the connection that carried them; that whatever else was out when a connection ends is given back with
// Source.Rewind, so nothing is lost and repeats are only what was in flight; that within a lane batches leave in the
// order in which Source offers them; and that neither a dead link, nor a broker that accepts and is silent, nor a
// record that the broker will not have, holds it up for good. Nothing is queued in the MQTT client: each connection has
// a new one, which reconnects nothing and resends nothing.
//
// A caller may not assume that an acknowledged record has reached the platform behind the broker: a PUBACK says that
// the broker has it.
package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/dialect"
)

// Source is what is drained: a *buffer.Cursor. All calls come from the goroutine of Run.
type Source interface {
	// Ready has a token when something new may be there.
	Ready() <-chan struct{}
	// Next gives the lane's next batch, false when there is none now. It does not block. Several batches may be out.
	Next(lane buffer.Lane, maxRecords, maxBytes int) (*buffer.Batch, bool)
	// Ack says that the platform has the batch.
	Ack(*buffer.Batch)
	// Reject gives the batch up as a declared loss.
	Reject(b *buffer.Batch, why string)
	// Rewind takes back every batch that was neither acknowledged nor rejected; Next offers them again, in order.
	Rewind()
}

// Options say where an uplink goes and what it carries.
type Options struct {
	Name      string   // of the destination, for the log and for events
	Servers   []string // tried in turn: "mqtt://host:1883", "mqtts://host:8883"
	Username  string   // "" for none
	Secret    string   // path of the file with the password; "" for none
	CA        string   // path of a PEM file; "" for the system's roots
	Cert, Key string   // paths of PEM files; "" for no client certificate
	// Identity gives the client certificate at each connect, in place of Cert and Key; nil for those.
	Identity  func() (tls.Certificate, error)
	KeepAlive time.Duration // default 60 s; whole seconds

	Dialect dialect.Dialect
	Source  Source

	// Command is given what comes down on the subscribed topics, one message at a time, on a goroutine of its own.
	// The broker is told that we have the message when Command returns, so that it may journal first; a slow one
	// delays other commands only, and Run does not return before it does. Nil when nobody commands.
	Command func(dialect.Message)
	// Event is told what people should know of: a client id used twice, a subscription refused. It must not block
	// for long. Nil for nobody.
	Event func(field.Event)
	Log   *slog.Logger // nil for none

	Backoff     Backoff
	Linger      time.Duration // between two messages of live readings; default 200 ms; the first leaves at once, and what is more urgent may wait as long once readings do
	AckTimeout  time.Duration // without a PUBACK while some are owed, the connection is dropped; default 10 s, up to twice that where acknowledgements are slow
	PingTimeout time.Duration // default 20 s
}

const (
	connectTimeout = 8 * time.Second  // from the first SYN to CONNACK
	writeTimeout   = 10 * time.Second // for 16 kB that the socket does not take
	stopTimeout    = 2 * time.Second  // for acknowledgements when the daemon stops
	commandQueue   = 64               // commands that wait for Command
)

// Uplink is one platform's connection. Make it with New.
type Uplink struct {
	opts    Options
	servers []server
	files   credentials
	log     *slog.Logger
	dial    func(context.Context, server, credentials) (conn, socket net.Conn, err error)

	commands chan inbound
	turn     atomic.Int64 // when Run's loop will have made its next turn, on time's monotonic clock since begun; 0 before and after
	begun    time.Time
	trial    trial // Run's goroutine only
	quick    int   // losses within seconds of CONNACK, in a row; Run's goroutine only

	mu    sync.Mutex
	stats Stats
	meter meter
	cut   bool
	next  dialect.Dialect // to be taken up; nil for none
	moved chan struct{}   // closed and replaced when cut or next changes
}

// New checks the options; the error is for the installer. It does no I/O: the files are read at each connect.
func New(o Options) (*Uplink, error) {
	if o.Dialect == nil || o.Source == nil {
		return nil, errors.New("uplink: a dialect and a source are needed")
	}
	if len(o.Servers) == 0 {
		return nil, fmt.Errorf("platform %q has no servers: set servers = [\"mqtt://host:1883\"]", o.Name)
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, fmt.Errorf("platform %q: cert and key go together: set both or neither", o.Name)
	}
	session, err := o.Dialect.Session()
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", o.Name, err)
	}
	if session.Delivery != dialect.ByPuback {
		return nil, fmt.Errorf("platform %q: its dialect knows delivery by a fence, which is not in this build", o.Name)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.KeepAlive, time.Minute)
	def(&o.Linger, 200*time.Millisecond)
	def(&o.AckTimeout, 10*time.Second)
	def(&o.PingTimeout, 20*time.Second)
	if o.KeepAlive < time.Second || o.KeepAlive > 65535*time.Second {
		return nil, fmt.Errorf("platform %q: a keepalive of %s: MQTT allows 1 s to 18 h", o.Name, o.KeepAlive)
	}
	o.Backoff = o.Backoff.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	u := &Uplink{
		opts:     o,
		begun:    time.Now(),
		files:    credentials{secret: o.Secret, ca: o.CA, cert: o.Cert, key: o.Key, identity: o.Identity},
		log:      o.Log.With("platform", o.Name),
		dial:     dial,
		commands: make(chan inbound, commandQueue),
		moved:    make(chan struct{}),
	}
	for _, s := range o.Servers {
		parsed, err := parseServer(s)
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w", o.Name, err)
		}
		u.servers = append(u.servers, parsed)
	}
	return u, nil
}

// Run keeps the session until the context ends, then waits a moment for what is in flight, says goodbye and returns
// nil. It is called once.
func (u *Uplink) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { u.runCommands(ctx) })
	defer wg.Wait()
	defer u.turn.Store(0)

	steps := ladder{policy: u.opts.Backoff}
	var round round
	for u.waitUncut(ctx) {
		server := u.servers[round.next]
		u.promise(connectTimeout)
		s, err := u.connect(ctx, server)
		var wait time.Duration
		if err == nil {
			end := s.run(ctx)
			wait = u.ended(end, &steps, &round)
		} else {
			if ctx.Err() != nil {
				break
			}
			u.failed(server, err)
			if !round.failed(len(u.servers), isRefusal(err)) {
				continue // the next server of the list, at once
			}
			wait = jitter(steps.limit(round.refused, time.Now()))
		}
		if !u.sleep(ctx, wait) {
			break
		}
	}
	return nil
}

// round is one walk over the failover list: it stays with a server that worked, and goes on to the next after one
// failed attempt.
type round struct {
	next    int
	tried   int
	refused bool // the last whole round met brokers only that said no
}

// failed goes on to the next server; true when every server has failed since the last pause.
func (r *round) failed(servers int, refused bool) (whole bool) {
	if r.tried == 0 {
		r.refused = true
	}
	r.refused = r.refused && refused
	r.next = (r.next + 1) % servers
	r.tried++
	if r.tried < servers {
		return false
	}
	r.tried = 0
	return true
}

func isRefusal(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused)
}

// quickLoss is how soon after CONNACK an end looks like the broker's answer to us rather than the link's weakness.
const quickLoss = 5 * time.Second

// ended draws the consequences of a session's end, and gives the pause before the next attempt.
func (u *Uplink) ended(end sessionEnd, steps *ladder, r *round) time.Duration {
	if end.cause == nil || errors.Is(end.cause, errCut) || errors.Is(end.cause, errRenewed) {
		return 0
	}
	quick := byPeer(end.cause) && end.lasted < quickLoss
	u.noteLoss(end, quick)
	if end.lasted >= u.opts.Backoff.Stable {
		steps.reset()
		r.tried = 0
		if byPeer(end.cause) {
			return jitter(u.opts.Backoff.Spread)
		}
	}
	refused := quick && end.acked == 0
	if refused && !r.failed(len(u.servers), true) {
		return 0
	}
	r.tried = 0
	return jitter(steps.limit(refused, time.Now()))
}

// SetCut with true drops the connection without a word and keeps it down, as an outage would; with false it comes
// back at once. For drills; safe from any goroutine.
func (u *Uplink) SetCut(cut bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cut == cut {
		return
	}
	u.cut = cut
	u.stats.Cut = cut
	close(u.moved)
	u.moved = make(chan struct{})
}

// SetDialect changes what is said: the field is another now. On a connection that stands the births are published anew;
// when the session itself has to be another one, it is made anew at once. Safe from any goroutine.
func (u *Uplink) SetDialect(d dialect.Dialect) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next = d
	close(u.moved)
	u.moved = make(chan struct{})
}

// renew takes up a dialect that SetDialect gave. It is called from Run's goroutine.
func (u *Uplink) renew() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.next == nil {
		return false
	}
	u.opts.Dialect, u.next = u.next, nil
	return true
}

// cutState tells whether the link is cut on purpose, and gives a channel that closes when that changes.
func (u *Uplink) cutState() (bool, <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cut, u.moved
}

// waitUncut blocks while a drill has cut the link; false when the context has ended.
func (u *Uplink) waitUncut(ctx context.Context) bool {
	for ctx.Err() == nil {
		cut, moved := u.cutState()
		if !cut {
			return true
		}
		u.turn.Store(0)
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
	return false
}

// promise says that the loop will have made its next turn in so much time.
func (u *Uplink) promise(d time.Duration) { u.turn.Store(int64(time.Since(u.begun) + max(d, 0) + 1)) }

// Overdue is how long the loop of Run stands still already, beyond the time that it gave itself for its last wait; 0
// while it turns, and while it does not run. An outage makes it wait, not stand still. It is for a watchdog.
func (u *Uplink) Overdue() time.Duration {
	until := u.turn.Load()
	if until == 0 {
		return 0
	}
	return max(0, time.Since(u.begun)-time.Duration(until))
}

// sleep waits for d, or until a drill begins or ends; false when the context has ended.
func (u *Uplink) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	_, moved := u.cutState()
	u.promise(d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-moved:
	case <-ctx.Done():
		return false
	}
	return true
}
