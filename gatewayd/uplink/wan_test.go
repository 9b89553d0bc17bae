package uplink

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"edgegateway/buffer"
	"edgegateway/testbench/wan"
)

// throughWAN puts a link with faults before the broker.
func throughWAN(t testing.TB, b *fakeBroker) *wan.Link {
	t.Helper()
	l, err := wan.New(b.addr())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the link: %v", err)
		}
	})
	return l
}

// TestFaults: after each way in which a link can fail, everything arrives, and is acknowledged once, in order.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*wan.Link){
		"cut":             (*wan.Link).Cut,
		"reset":           (*wan.Link).Reset,
		"freeze":          (*wan.Link).Freeze,
		"black hole":      (*wan.Link).BlackHole,
		"half close up":   func(l *wan.Link) { l.HalfClose(wan.Up) },
		"half close down": func(l *wan.Link) { l.HalfClose(wan.Down) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBroker(t, nil).serve()
			link := throughWAN(t, b)
			link.Delay(5*time.Millisecond, 5*time.Millisecond)
			src := newMemSource()
			start(t, src, []string{"mqtt://" + link.Address()}, func(o *Options) { o.AckTimeout = 500 * time.Millisecond })
			var next uint64 = 1
			for range 3 {
				src.put(buffer.Backlog, readings(next, next+2999)...)
				next += 3000
				waitFor(t, "some of them", func() bool { return uint64(len(src.ackedReadings())) > next-3000 })
				fault(link)
				time.Sleep(200 * time.Millisecond) // the fault's length
				link.Restore()
			}
			waitFor(t, "everything, in order", func() bool { return all(src.ackedReadings(), next-1) })
		})
	}
}

// TestIdleHalfOpen: with nothing in flight it is the pings that notice a dead link.
func TestIdleHalfOpen(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, nil).serve()
	link := throughWAN(t, b)
	u := start(t, newMemSource(), []string{"mqtt://" + link.Address()}, func(o *Options) {
		o.KeepAlive, o.PingTimeout = time.Second, time.Second
	})
	waitFor(t, "the births at the broker", func() bool { return u.Stats().Messages == 2 })
	link.BlackHole()
	waitFor(t, "the loss", func() bool { return strings.Contains(u.Stats().LastError, "pingresp not received") })
}

// TestSilentAfterConnect: a broker that accepts and does not answer CONNECT is left for the next one.
func TestSilentAfterConnect(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	t.Parallel()
	silent := newFakeBroker(t, nil)
	silent.mute = true
	silent.serve()
	b := newFakeBroker(t, nil).serve()
	u := start(t, newMemSource(), []string{silent.url(), b.url()})
	waitFor(t, "the second server", func() bool { s := u.Stats(); return s.Connected && s.Attempts == 2 })
}

// TestSlowLink: on 64 kbit/s and 300 ms, live readings overtake an endless backlog, which uses the link all the same.
func TestSlowLink(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 11 s")
	}
	t.Parallel()
	const rate = 8000
	b := newFakeBroker(t, nil)
	var mu sync.Mutex
	arrived := make(map[uint64]time.Time)
	b.behave = func(_ int, p *packets.PublishPacket) verdict {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range seqsOf(p.Payload) {
			arrived[s] = time.Now()
		}
		return accept
	}
	b.serve()
	link := throughWAN(t, b)
	link.Delay(150*time.Millisecond, 150*time.Millisecond)
	link.Bandwidth(rate, rate)
	src := newMemSource()
	src.put(buffer.Backlog, readings(1, 50_000)...)
	u := start(t, src, []string{"mqtt://" + link.Address()})
	waitFor(t, "a session", func() bool { return u.Stats().Connected })
	time.Sleep(3 * time.Second) // the window finds the link
	before, began := link.Stats().Up, time.Now()
	var left []time.Time
	const live = 1_000_000
	for i := range uint64(7) {
		src.put(buffer.Live, readings(live+i, live+i)...)
		left = append(left, time.Now())
		time.Sleep(time.Second) // the readings' period
	}
	share := float64(link.Stats().Up-before) / time.Since(began).Seconds() / rate
	waitFor(t, "the live readings", func() bool { mu.Lock(); defer mu.Unlock(); return !arrived[live+6].IsZero() })
	mu.Lock()
	defer mu.Unlock()
	var late []time.Duration
	for i, l := range left {
		late = append(late, arrived[live+uint64(i)].Sub(l))
	}
	slices.Sort(late)
	s := u.Stats()
	t.Logf("live readings after %s at the median, %s at the worst; %.0f %% of the link; window %d", late[3].Round(time.Millisecond), late[6].Round(time.Millisecond), 100*share, s.Window)
	if late[3] > 2*time.Second || share < 0.6 || s.Window > 20_000 {
		t.Errorf("live readings after %s at the median, %.0f %% of the link, window %d", late[3], 100*share, s.Window)
	}
}
