package uplink

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// memSource is a Source in memory: four queues, and what is out of them.
type memSource struct {
	mu       sync.Mutex
	ready    chan struct{}
	queues   map[buffer.Lane][]field.Record
	out      []*buffer.Batch
	acked    map[field.Class][]uint64
	rejected []uint64
	rewinds  int
}

func newMemSource() *memSource {
	return &memSource{ready: make(chan struct{}, 1), queues: make(map[buffer.Lane][]field.Record), acked: make(map[field.Class][]uint64)}
}

func (s *memSource) put(lane buffer.Lane, records ...field.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[lane] = append(s.queues[lane], records...)
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *memSource) Ready() <-chan struct{} { return s.ready }

func (s *memSource) Next(lane buffer.Lane, maxRecords, maxBytes int) (*buffer.Batch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[lane]
	b := &buffer.Batch{Lane: lane, Epoch: 1, Backfill: lane == buffer.Backlog}
	for len(q) > 0 && len(b.Records) < maxRecords && (b.Bytes < maxBytes || len(b.Records) == 0) {
		b.Class = q[0].Class()
		b.Bytes += 60 + 12*len(q[0].Values)
		b.Records = append(b.Records, q[0])
		q = q[1:]
	}
	if len(b.Records) == 0 {
		return nil, false
	}
	s.queues[lane] = q
	s.out = append(s.out, b)
	return b, true
}

func (s *memSource) take(b *buffer.Batch) {
	i := slices.Index(s.out, b)
	if i < 0 {
		panic("a batch is settled that is not out")
	}
	s.out = slices.Delete(s.out, i, i+1)
}

func (s *memSource) Ack(b *buffer.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(b)
	for _, r := range b.Records {
		s.acked[b.Class] = append(s.acked[b.Class], r.Seq)
	}
}

func (s *memSource) Reject(b *buffer.Batch, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(b)
	for _, r := range b.Records {
		s.rejected = append(s.rejected, r.Seq)
	}
}

func (s *memSource) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewinds++
	for _, b := range slices.Backward(s.out) {
		s.queues[b.Lane] = append(slices.Clone(b.Records), s.queues[b.Lane]...)
	}
	s.out = nil
}

func (s *memSource) ackedReadings() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acked[field.Readings])
}

func (s *memSource) rejectedRecords() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rejected)
}

var meter1 = &field.Group{Device: "meter-1", Name: field.MainGroup, Points: []field.Point{{Name: "v", Kind: field.KindFloat32, Unit: "V"}}}

// readings makes records with the sequence numbers from … to.
func readings(from, to uint64) []field.Record {
	var r []field.Record
	for seq := from; seq <= to; seq++ {
		r = append(r, field.Record{Seq: seq, At: field.Stamp{Wall: 1763925256123}, Group: meter1, Values: []field.Value{field.Float32(230.5)}})
	}
	return r
}

// fakeBroker is a broker on a real socket that can be told to misbehave.
type fakeBroker struct {
	t        testing.TB
	listener net.Listener
	wg       sync.WaitGroup
	behave   func(session int, p *packets.PublishPacket) verdict
	refuse   byte          // CONNACK code
	mute     bool          // does not answer CONNECT
	deaf     bool          // reads nothing after CONNECT
	quit     chan struct{} // closed when the broker goes
	after    time.Duration // closes each session so long after CONNACK; 0 never

	mu        sync.Mutex
	sessions  int
	clean     int // sessions that ended with DISCONNECT
	conns     map[net.Conn]bool
	published []arrival
	acks      map[uint16]bool // PUBACKs that came from the client
	subs      []*packets.SubscribePacket
	connects  []*packets.ConnectPacket
	live      net.Conn
}

type arrival struct {
	session int
	topic   string
	payload []byte
	seqs    []uint64
}

type verdict int

const (
	accept verdict = iota
	ignore         // takes it and says nothing
	hangUp         // closes the connection instead of acknowledging
	reset          // the same with RST
)

// newFakeBroker listens on a port of its own; tlsConfig may be nil. Fields are set before the first connection.
func newFakeBroker(t testing.TB, tlsConfig *tls.Config) *fakeBroker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if tlsConfig != nil {
		l = tls.NewListener(l, tlsConfig)
	}
	b := &fakeBroker{t: t, listener: l, conns: make(map[net.Conn]bool), acks: make(map[uint16]bool), quit: make(chan struct{})}
	return b
}

func (b *fakeBroker) serve() *fakeBroker {
	b.wg.Go(func() {
		for {
			c, err := b.listener.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[c] = true
			b.mu.Unlock()
			b.wg.Go(func() { b.session(c) })
		}
	})
	b.t.Cleanup(b.close)
	return b
}

func (b *fakeBroker) close() {
	b.listener.Close()
	close(b.quit)
	b.dropAll()
	b.wg.Wait()
}

func (b *fakeBroker) dropAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close()
	}
}

func (b *fakeBroker) addr() string { return b.listener.Addr().String() }
func (b *fakeBroker) url() string  { return "mqtt://" + b.addr() }

func (b *fakeBroker) session(c net.Conn) {
	defer func() {
		c.Close()
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	}()
	first, err := packets.ReadPacket(c)
	if err != nil {
		return
	}
	connect, ok := first.(*packets.ConnectPacket)
	if !ok {
		return
	}
	connack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	connack.ReturnCode = b.refuse
	b.mu.Lock()
	b.sessions++
	id := b.sessions
	b.connects = append(b.connects, connect)
	b.live = c
	b.mu.Unlock()
	if b.mute {
		<-b.quit
		return
	}
	if connack.Write(c) != nil || b.refuse != 0 {
		return
	}
	if b.after > 0 {
		defer time.AfterFunc(b.after, func() { c.Close() }).Stop()
	}
	if b.deaf {
		<-b.quit
		return
	}
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.PublishPacket:
			v := b.took(id, p)
			if v == reset {
				if tcp, ok := c.(*net.TCPConn); ok {
					tcp.SetLinger(0)
				}
			}
			if v == hangUp || v == reset {
				return
			}
			if v == accept && p.Qos == 1 {
				ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
				ack.MessageID = p.MessageID
				if ack.Write(c) != nil {
					return
				}
			}
		case *packets.SubscribePacket:
			b.mu.Lock()
			b.subs = append(b.subs, p)
			b.mu.Unlock()
			ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			ack.MessageID = p.MessageID
			ack.ReturnCodes = make([]byte, len(p.Topics))
			if ack.Write(c) != nil {
				return
			}
		case *packets.PingreqPacket:
			if packets.NewControlPacket(packets.Pingresp).Write(c) != nil {
				return
			}
		case *packets.PubackPacket:
			b.mu.Lock()
			b.acks[p.MessageID] = true
			b.mu.Unlock()
		case *packets.DisconnectPacket:
			b.mu.Lock()
			b.clean++
			b.mu.Unlock()
			return
		}
	}
}

func (b *fakeBroker) took(session int, p *packets.PublishPacket) verdict {
	a := arrival{session: session, topic: p.TopicName, payload: p.Payload, seqs: seqsOf(p.Payload)}
	b.mu.Lock()
	b.published = append(b.published, a)
	b.mu.Unlock()
	if b.behave == nil {
		return accept
	}
	return b.behave(session, p)
}

// seqsOf gives the sequence numbers of a data or event payload.
func seqsOf(payload []byte) []uint64 {
	var m struct{ Records, Events []struct{ Seq uint64 } }
	if json.Unmarshal(payload, &m) != nil {
		return nil
	}
	var seqs []uint64
	for _, r := range append(m.Records, m.Events...) {
		seqs = append(seqs, r.Seq)
	}
	return seqs
}

// arrivals gives what came on a topic, in order.
func (b *fakeBroker) arrivals(topic string) []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []arrival
	for _, a := range b.published {
		if a.topic == topic {
			out = append(out, a)
		}
	}
	return out
}

// send publishes a command to the session that is open.
func (b *fakeBroker) send(id uint16, topic string, payload string) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.Qos, p.MessageID, p.TopicName, p.Payload = 1, id, topic, []byte(payload)
	b.mu.Lock()
	c := b.live
	b.mu.Unlock()
	if err := p.Write(c); err != nil {
		b.t.Error(err)
	}
}

func (b *fakeBroker) count() (sessions, clean int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions, b.clean
}
