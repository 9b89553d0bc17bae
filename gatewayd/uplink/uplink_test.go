package uplink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/dialect"
	"edgegateway/gatewayd/dialect/native"
)

// fast is a policy that reconnects at once, for tests of anything else.
var fast = Backoff{Base: time.Millisecond, LinkCap: 5 * time.Millisecond, RefusedCap: 5 * time.Millisecond, Spread: time.Millisecond}

// patient bounds every wait of a test for something that must come: far more than it takes.
const patient = 2 * time.Minute

func newTestUplink(t testing.TB, src Source, servers []string, change ...func(*Options)) *Uplink {
	t.Helper()
	d, err := native.New(dialect.Config{Gateway: "gw1", Epoch: 1, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "platform", Servers: servers, Dialect: d, Source: src, Backoff: fast, Linger: time.Millisecond}
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, f := range change {
		f(&o)
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// run starts the uplink and gives what stops it and waits for it, which the test's end does too.
func run(t testing.TB, u *Uplink) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patient):
			t.Error("Run does not return")
		}
	})
	t.Cleanup(stop)
	return stop
}

func start(t testing.TB, src Source, servers []string, change ...func(*Options)) *Uplink {
	t.Helper()
	u := newTestUplink(t, src, servers, change...)
	run(t, u)
	return u
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patient, what)
		}
	}
}

// all says that exactly the sequence numbers 1…n are there, in order.
func all(seqs []uint64, n uint64) bool {
	if uint64(len(seqs)) != n {
		return false
	}
	for i, s := range seqs {
		if s != uint64(i+1) {
			return false
		}
	}
	return true
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 5000)...)
	src.put(buffer.Events, field.Record{Seq: 1, Event: &field.Event{Kind: "clock"}})
	src.put(buffer.Replies, field.Record{Seq: 1, Reply: []byte(`{"v":1}`)})
	u := start(t, src, []string{b.url()})
	waitFor(t, "5000 records acknowledged", func() bool { return all(src.ackedReadings(), 5000) })
	waitFor(t, "the counters", func() bool {
		s := u.Stats()
		return s.Records == 5002 && s.Readings == 5000 && s.Backfilled == 5000 && s.Connected && s.InFlight == 0
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	var topics []string
	for _, a := range b.published {
		topics = append(topics, a.topic)
	}
	if !slices.Equal(topics[:4], []string{"gw/gw1/state", "gw/gw1/birth", "gw/gw1/reply", "gw/gw1/event"}) {
		t.Errorf("the first messages are on %v", topics[:4])
	}
	if len(b.subs) != 1 || b.subs[0].Topics[0] != "gw/gw1/command" || b.subs[0].Qoss[0] != 1 {
		t.Errorf("subscriptions: %v", b.subs)
	}
	c := b.connects[0]
	if c.CleanSession || c.ProtocolVersion != 4 || c.ClientIdentifier != "gw1" || c.WillTopic != "gw/gw1/state" || !c.WillRetain || c.Keepalive != 60 {
		t.Errorf("CONNECT: %v", c)
	}
}

// TestLinger: the first live reading leaves at once, what comes soon after it waits and leaves together, and an event
// does not leave behind it.
func TestLinger(t *testing.T) {
	t.Parallel()
	const linger = 2 * time.Second
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	u := start(t, src, []string{b.url()}, func(o *Options) { o.Linger = linger })
	waitFor(t, "a session", func() bool { return u.Stats().Connected })
	src.put(buffer.Live, readings(1, 1)...)
	waitFor(t, "the first, at once", func() bool { return all(src.ackedReadings(), 1) })
	began := time.Now()
	// The session may linger already, woken by the first once more: then the event waits as long, as Options say.
	src.put(buffer.Events, field.Record{Seq: 1, Event: &field.Event{Kind: "clock"}})
	for n := uint64(2); n <= 30; n++ {
		src.put(buffer.Live, readings(n, n)...)
		time.Sleep(2 * time.Millisecond) // the devices' pace
	}
	waitFor(t, "all of them", func() bool { return all(src.ackedReadings(), 30) })
	most := int(time.Since(began)/linger) + 2
	if n := len(b.arrivals("gw/gw1/data")); n > most {
		t.Errorf("%d messages of data, want at most %d", n, most)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	data := 0
	for _, a := range b.published {
		switch a.topic {
		case "gw/gw1/data":
			data++
		case "gw/gw1/event":
			if data != 1 {
				t.Errorf("the event came behind %d messages of data, want 1", data)
			}
			return
		}
	}
	t.Error("no event came")
}

// TestLingerEnds: what lingered leaves, in few messages, without anything else happening.
func TestLingerEnds(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	u := start(t, src, []string{b.url()}, func(o *Options) { o.Linger = 200 * time.Millisecond })
	waitFor(t, "a session", func() bool { return u.Stats().Connected })
	began := time.Now()
	for i := range uint64(50) {
		src.put(buffer.Live, readings(i+1, i+1)...)
		time.Sleep(5 * time.Millisecond) // the devices' pace
	}
	waitFor(t, "all of them", func() bool { return all(src.ackedReadings(), 50) })
	most := int(time.Since(began)/(200*time.Millisecond)) + 2
	if n := len(b.arrivals("gw/gw1/data")); n > most {
		t.Errorf("%d messages, want at most %d", n, most)
	}
}

// TestBacklogHasItsShare: live readings that never end leave the backlog a tenth.
func TestBacklogHasItsShare(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	const live, n = 1_000_000, 30_000
	src.put(buffer.Live, readings(live+1, live+n)...)
	src.put(buffer.Backlog, readings(1, n)...)
	start(t, src, []string{b.url()})
	waitFor(t, "all", func() bool { return len(src.ackedReadings()) == 2*n })
	old := 0
	first := src.ackedReadings()[:n]
	for _, s := range first {
		if s < live {
			old++
		}
	}
	if share := 100 * old / n; share < 8 || share > 20 {
		t.Errorf("the backlog had %d %% while live readings waited, want about 10", share)
	}
}

func TestTokenSuccessIsNotTrusted(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	var mu sync.Mutex
	taken := 0
	b.behave = func(session int, p *packets.PublishPacket) verdict {
		if session > 1 || p.TopicName != "gw/gw1/data" {
			return accept
		}
		mu.Lock()
		defer mu.Unlock()
		if taken++; taken == 2 {
			return hangUp
		}
		return ignore
	}
	b.serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 2000)...)
	u := start(t, src, []string{b.url()})
	waitFor(t, "a second session", func() bool { s, _ := b.count(); return s >= 2 })
	waitFor(t, "everything acknowledged", func() bool { return all(src.ackedReadings(), 2000) })
	first := 0
	for _, a := range b.arrivals("gw/gw1/data") {
		if a.session == 1 {
			first += len(a.seqs)
		}
	}
	if got := u.Stats().Repeats; got < uint64(first) {
		t.Errorf("%d records counted as repeats, the broker had taken %d unacknowledged", got, first)
	}
}

func TestNeverAcking(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	b.behave = func(int, *packets.PublishPacket) verdict { return ignore }
	b.serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 100)...)
	u := start(t, src, []string{b.url()}, func(o *Options) { o.AckTimeout = 50 * time.Millisecond })
	waitFor(t, "eight sessions", func() bool { s, _ := b.count(); return s >= 8 })
	if got := src.ackedReadings(); len(got) > 0 {
		t.Errorf("%d records acknowledged by nobody", len(got))
	}
	if got := src.rejectedRecords(); len(got) > 0 {
		t.Errorf("records %v given up: a silent broker is no reason", got)
	}
	waitFor(t, "the reason in the stats", func() bool { return strings.Contains(u.Stats().LastError, "acknowledges nothing") })
}

func TestStalledReader(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	b.deaf = true
	b.serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 50_000)...)
	start(t, src, []string{b.url()}, func(o *Options) { o.AckTimeout = 100 * time.Millisecond })
	waitFor(t, "a third session", func() bool { s, _ := b.count(); return s >= 3 })
}

func TestResetsKeepOrder(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	var mu sync.Mutex
	perSession := make(map[int]int)
	acked := uint64(0) // highest that the broker acknowledged
	b.behave = func(session int, p *packets.PublishPacket) verdict {
		seqs := seqsOf(p.Payload)
		if seqs == nil {
			return accept
		}
		mu.Lock()
		defer mu.Unlock()
		if perSession[session]++; session < 8 && perSession[session] > 2+session {
			return reset
		}
		acked = max(acked, seqs[len(seqs)-1])
		return accept
	}
	b.serve()
	src := newMemSource()
	const n = 20_000
	src.put(buffer.Backlog, readings(1, n)...)
	start(t, src, []string{b.url()})
	waitFor(t, "everything acknowledged, in order", func() bool { return all(src.ackedReadings(), n) })
	last := make(map[int]uint64)
	for _, a := range b.arrivals("gw/gw1/data") {
		for _, s := range a.seqs {
			if prev, seen := last[a.session]; seen && s != prev+1 {
				t.Fatalf("session %d: seq %d follows %d", a.session, s, prev)
			}
			last[a.session] = s
		}
	}
	if len(last) < 8 {
		t.Errorf("%d sessions carried data, want 8", len(last))
	}
}

// TestRepeatsOnlyWhatWasInFlight: what the client saw acknowledged never leaves again.
func TestRepeatsOnlyWhatWasInFlight(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	src := newMemSource()
	b.behave = func(session int, p *packets.PublishPacket) verdict {
		done := src.ackedReadings()
		for _, s := range seqsOf(p.Payload) {
			if slices.Contains(done, s) {
				t.Errorf("seq %d left again after its acknowledgement", s)
			}
		}
		if session < 4 && len(done) >= 500*session {
			return reset
		}
		return accept
	}
	b.serve()
	src.put(buffer.Backlog, readings(1, 3000)...)
	start(t, src, []string{b.url()})
	waitFor(t, "everything acknowledged", func() bool { return all(src.ackedReadings(), 3000) })
}

func TestFailover(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	refusing := newFakeBroker(t, nil)
	refusing.refuse = 3
	refusing.serve()
	good := newFakeBroker(t, nil).serve()
	src := newMemSource()
	u := start(t, src, []string{"mqtt://" + gone.Addr().String(), refusing.url(), good.url()})
	src.put(buffer.Live, readings(1, 1)...)
	waitFor(t, "the third server", func() bool { return all(src.ackedReadings(), 1) })
	if s := u.Stats(); s.Attempts != 3 || s.Server != good.url() {
		t.Errorf("%d attempts, at %s; want 3, at the third", s.Attempts, s.Server)
	}
	good.dropAll()
	src.put(buffer.Live, readings(2, 2)...)
	waitFor(t, "the same server again", func() bool { return all(src.ackedReadings(), 2) })
	if n, _ := refusing.count(); n != 1 {
		t.Errorf("the refusing server was tried %d times: the uplink does not stay with the one that worked", n)
	}
}

func TestPoison(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	b.behave = func(_ int, p *packets.PublishPacket) verdict {
		if slices.Contains(seqsOf(p.Payload), 77) || slices.Contains(seqsOf(p.Payload), 78) {
			return hangUp
		}
		return accept
	}
	b.serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 300)...)
	src.put(buffer.Events, field.Record{Seq: 1, Event: &field.Event{Kind: "clock"}})
	u := start(t, src, []string{b.url()})
	waitFor(t, "all but the poison acknowledged", func() bool { return len(src.ackedReadings()) == 298 })
	if got := src.rejectedRecords(); !slices.Equal(got, []uint64{77, 78}) {
		t.Errorf("given up: %v, want 77 and 78", got)
	}
	src.put(buffer.Live, readings(301, 400)...)
	waitFor(t, "the rest, in batches again", func() bool { return len(src.ackedReadings()) == 398 })
	if s := u.Stats(); s.Rejected != 2 {
		t.Errorf("Rejected = %d", s.Rejected)
	}
}

// TestClosesOnEverything: a broker that has no permission for us closes over each record; none may be given up.
func TestClosesOnEverything(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	b.behave = func(_ int, p *packets.PublishPacket) verdict {
		if p.TopicName == "gw/gw1/data" {
			return hangUp
		}
		return accept
	}
	b.serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 300)...)
	told := make(chan field.Event, 100)
	start(t, src, []string{b.url()}, func(o *Options) { o.Event = func(e field.Event) { told <- e } })
	for e := range told {
		if strings.Contains(e.Text, "every record of class readings") {
			break
		}
	}
	if got := src.rejectedRecords(); len(got) > 0 {
		t.Errorf("given up: %v", got)
	}
}

// TestClosesOnEverythingForAWhile: permission comes late, or a broker's store was full for some minutes. What it closed
// the connection over before is taken then, and none may be given up.
func TestClosesOnEverythingForAWhile(t *testing.T) {
	t.Parallel()
	for _, while := range []int{6, 9, 30} { // held back are then one record, three, and five after eight were
		b := newFakeBroker(t, nil)
		b.behave = func(session int, p *packets.PublishPacket) verdict {
			if session <= while && p.TopicName == "gw/gw1/data" {
				return hangUp
			}
			return accept
		}
		b.serve()
		src := newMemSource()
		src.put(buffer.Backlog, readings(1, 300)...)
		start(t, src, []string{b.url()})
		waitFor(t, "the end of it", func() bool { return len(src.ackedReadings())+len(src.rejectedRecords()) == 300 })
		if got := src.rejectedRecords(); len(got) > 0 {
			t.Errorf("refused for %d sessions: given up: %v", while, got)
		}
	}
}

func TestTakeoverIsTold(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	b.after = 20 * time.Millisecond
	b.serve()
	told := make(chan field.Event, 100)
	start(t, newMemSource(), []string{b.url()}, func(o *Options) { o.Event = func(e field.Event) { told <- e } })
	select {
	case e := <-told:
		if e.Kind != "config" || e.Subject != "platform" || !strings.Contains(e.Text, `client id "gw1"`) {
			t.Errorf("%+v", e)
		}
	case <-time.After(patient):
		t.Fatal("nobody was told")
	}
}

func TestCleanStop(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	src.put(buffer.Live, readings(1, 10)...)
	u := newTestUplink(t, src, []string{b.url()})
	stop := run(t, u)
	waitFor(t, "the first records", func() bool { return len(src.ackedReadings()) == 10 })
	stop()
	state := b.arrivals("gw/gw1/state")
	if last := state[len(state)-1]; !strings.Contains(string(last.payload), `"online":false`) {
		t.Errorf("the last state is %s", last.payload)
	}
	waitFor(t, "DISCONNECT", func() bool { _, clean := b.count(); return clean == 1 })
	if s := u.Stats(); s.Connected || s.LastError != "" {
		t.Errorf("after a clean stop: %+v", s)
	}
}

// TestStopWhileNothingAnswers: a stop takes its time for what is in flight, and no more.
func TestStopWhileNothingAnswers(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil)
	b.behave = func(int, *packets.PublishPacket) verdict { return ignore }
	b.serve()
	src := newMemSource()
	src.put(buffer.Live, readings(1, 10)...)
	u := newTestUplink(t, src, []string{b.url()})
	stop := run(t, u)
	waitFor(t, "data at the broker", func() bool { return len(b.arrivals("gw/gw1/data")) > 0 })
	stop()
	if len(src.ackedReadings()) != 0 || src.rewinds != 1 {
		t.Errorf("%d acknowledged, %d rewinds", len(src.ackedReadings()), src.rewinds)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	got := make(chan dialect.Message)
	start(t, newMemSource(), []string{b.url()}, func(o *Options) { o.Command = func(m dialect.Message) { got <- m } })
	waitFor(t, "the subscription", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.subs) > 0 })
	b.send(9, "gw/gw1/command", "one")
	b.send(10, "gw/gw1/command", "two")
	b.mu.Lock()
	early := b.acks[9]
	b.mu.Unlock()
	if m := <-got; string(m.Payload) != "one" || m.Topic != "gw/gw1/command" || m.Retained {
		t.Errorf("%+v", m)
	}
	if early {
		t.Error("acknowledged before Command returned")
	}
	if m := <-got; string(m.Payload) != "two" {
		t.Errorf("%+v", m)
	}
	waitFor(t, "both acknowledged", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.acks[9] && b.acks[10] })
}

// TestCommandFlood: more commands than are taken hold up neither the data nor the connection.
func TestCommandFlood(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	release := make(chan struct{})
	src := newMemSource()
	u := start(t, src, []string{b.url()}, func(o *Options) { o.Command = func(dialect.Message) { <-release } })
	waitFor(t, "the subscription", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.subs) > 0 })
	for i := range 3 * commandQueue {
		b.send(uint16(i+1), "gw/gw1/command", "x")
	}
	src.put(buffer.Live, readings(1, 10)...)
	waitFor(t, "data beside the flood", func() bool { return len(src.ackedReadings()) == 10 })
	close(release)
	waitFor(t, "what was queued", func() bool { return u.Stats().Commands >= commandQueue })
}

func TestCut(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	u := start(t, src, []string{b.url()})
	waitFor(t, "a session", func() bool { return u.Stats().Connected })
	u.SetCut(true)
	waitFor(t, "the cut", func() bool { s := u.Stats(); return !s.Connected && s.Cut })
	src.put(buffer.Live, readings(1, 10)...)
	u.SetCut(false)
	waitFor(t, "the records", func() bool { return all(src.ackedReadings(), 10) })
	if sessions, clean := b.count(); sessions != 2 || clean != 0 {
		t.Errorf("%d sessions, %d ended cleanly; a cut is no goodbye", sessions, clean)
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	b := newFakeBroker(t, nil)
	b.behave = func(_ int, p *packets.PublishPacket) verdict {
		if p.TopicName == "gw/gw1/data" {
			return reset
		}
		return accept
	}
	b.serve()
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 5000)...)
	before := runtime.NumGoroutine()
	stop := run(t, newTestUplink(t, src, []string{b.url()}))
	waitFor(t, "50 sessions", func() bool { s, _ := b.count(); return s >= 50 })
	stop()
	waitFor(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
}

func TestNewRefuses(t *testing.T) {
	d, err := native.New(dialect.Config{Gateway: "gw1"})
	if err != nil {
		t.Fatal(err)
	}
	good := Options{Name: "p", Servers: []string{"mqtt://h"}, Dialect: d, Source: newMemSource()}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no servers":        func(o *Options) { o.Servers = nil },
		"no source":         func(o *Options) { o.Source = nil },
		"a key alone":       func(o *Options) { o.Key = "k.pem" },
		"a keepalive in ms": func(o *Options) { o.KeepAlive = 20 * time.Millisecond },
		"delivery by fence": func(o *Options) { o.Dialect = fenced{d} },
		"http":              func(o *Options) { o.Servers = []string{"http://h"} },
		"no host":           func(o *Options) { o.Servers = []string{"mqtt://:1883"} },
		"a secret in it":    func(o *Options) { o.Servers = []string{"mqtt://u:p@h"} },
		"a path":            func(o *Options) { o.Servers = []string{"mqtt://h/x"} },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

type fenced struct{ dialect.Dialect }

func (f fenced) Session() (dialect.Session, error) {
	s, err := f.Dialect.Session()
	s.Delivery = dialect.ByFence
	return s, err
}

func TestLadder(t *testing.T) {
	now := time.Now()
	l := ladder{policy: Backoff{}.withDefaults()}
	want := []time.Duration{1, 2, 4, 4, 4, 4}
	for i, w := range want {
		if got := l.limit(false, now); got != w*time.Second {
			t.Errorf("link, failure %d: up to %s, want %s s", i+1, got, w)
		}
	}
	l.reset()
	for range 10 {
		if got := l.limit(true, now); got > 4*time.Second {
			t.Errorf("a broker that refuses since a moment is asked after up to %s", got)
		}
	}
	if got := l.limit(true, now.Add(30*time.Second)); got != 15*time.Second {
		t.Errorf("refused for 30 s: up to %s, want 15 s", got)
	}
	if got := l.limit(true, now.Add(time.Hour)); got != 120*time.Second {
		t.Errorf("refused for an hour: up to %s, want 120 s", got)
	}
	if got := l.limit(false, now.Add(time.Hour)); got != 4*time.Second {
		t.Errorf("then no link: up to %s, want 4 s", got)
	}
	if got := l.limit(true, now.Add(2*time.Hour)); got != 4*time.Second {
		t.Errorf("then refused for the first time since: up to %s, want 4 s", got)
	}
}

func TestBufConn(t *testing.T) {
	t.Run("close drains", func(t *testing.T) {
		a, z := net.Pipe()
		c := newBufConn(a, a, time.Second)
		got := make(chan []byte, 1)
		for range 100 {
			if _, err := c.Write([]byte("0123456789")); err != nil {
				t.Fatal(err)
			}
		}
		go func() { all, _ := io.ReadAll(z); got <- all }()
		c.Close()
		if n := len(<-got); n != 1000 {
			t.Errorf("%d bytes arrived, want 1000", n)
		}
		<-c.stopped
	})
	t.Run("a write error ends it", func(t *testing.T) {
		a, z := net.Pipe()
		z.Close()
		c := newBufConn(a, a, time.Second)
		c.Write([]byte("x"))
		<-c.Done()
		<-c.stopped
		if _, err := c.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after the end: %v", err)
		}
	})
	t.Run("a stuck peer ends it", func(t *testing.T) {
		a, z := net.Pipe()
		defer z.Close()
		c := newBufConn(a, a, 10*time.Millisecond)
		c.Write([]byte("x"))
		<-c.Done()
		if c.Err() != errNotTaken {
			t.Errorf("%v", c.Err())
		}
	})
	t.Run("an overrun ends it", func(t *testing.T) {
		a, z := net.Pipe()
		defer z.Close()
		c := newBufConn(a, a, time.Minute)
		if _, err := c.Write(make([]byte, pendingLimit+1)); err != errOverrun {
			t.Errorf("%v", err)
		}
		<-c.stopped
	})
}

// TestSetDialect: another field is told on the connection that stands; another session takes another connection.
func TestSetDialect(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	src := newMemSource()
	u := start(t, src, []string{b.url()})
	words := func(c dialect.Config) dialect.Dialect {
		c.Gateway, c.Epoch, c.Version = "gw1", 1, "test"
		d, err := native.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	waitFor(t, "a session", func() bool { return u.Stats().Connected })
	u.SetDialect(words(dialect.Config{Groups: []*field.Group{meter1}}))
	waitFor(t, "the new birth", func() bool {
		births := b.arrivals("gw/gw1/birth")
		return len(births) > 0 && bytes.Contains(births[len(births)-1].payload, []byte(`"meter-1"`))
	})
	src.put(buffer.Live, readings(1, 10)...)
	waitFor(t, "records go on", func() bool { return all(src.ackedReadings(), 10) })
	if sessions, _ := b.count(); sessions != 1 {
		t.Errorf("%d sessions for another birth", sessions)
	}
	u.SetDialect(words(dialect.Config{Prefix: "other/place"}))
	waitFor(t, "the new place", func() bool { return len(b.arrivals("other/place/birth")) > 0 })
	src.put(buffer.Live, readings(11, 20)...)
	waitFor(t, "records go on there", func() bool { return all(src.ackedReadings(), 20) })
	if sessions, _ := b.count(); sessions != 2 {
		t.Errorf("%d sessions for another prefix", sessions)
	}
}
