package uplink

import (
	"testing"
	"time"
)

// simulate drains an endless backlog over a link of rate bytes a second and a round trip of rtt, in virtual time. It
// gives the share of the link that was used and the mean time that a message stood in the queue, both over the second
// half.
func simulate(w *window, begin time.Time, rate float64, rtt, length time.Duration) (share float64, queued time.Duration) {
	type message struct {
		bytes       int
		sent, acked time.Time
		ahead       int
		full        bool
	}
	now, free := begin, begin // free: when the link has sent what it has
	var out []message
	inFlight, carried, n := 0, 0, 0
	var waited time.Duration
	for now.Sub(begin) < length {
		for w.room(inFlight) {
			chunk := w.chunk()
			if free.Before(now) {
				free = now
			}
			wait := free.Sub(now)
			free = free.Add(time.Duration(float64(chunk) / rate * float64(time.Second)))
			inFlight += chunk
			out = append(out, message{chunk, now, free.Add(rtt), inFlight, !w.room(inFlight)})
			if now.Sub(begin) > length/2 {
				carried, waited, n = carried+chunk, waited+wait, n+1
			}
		}
		m := out[0]
		out = out[1:]
		now = m.acked
		inFlight -= m.bytes
		w.acked(m.bytes, m.ahead, now.Sub(m.sent), m.full, now)
	}
	return float64(carried) / (rate * length.Seconds() / 2), waited / time.Duration(max(n, 1))
}

func TestWindowFindsTheLink(t *testing.T) {
	for _, c := range []struct {
		name    string
		rate    float64 // bytes/s
		rtt     time.Duration
		share   float64       // at least
		queued  time.Duration // at most
		minSize int
	}{
		{"64 kbit/s, 300 ms", 8_000, 300 * time.Millisecond, 0.80, 700 * time.Millisecond, 0},
		{"20 kbit/s, 800 ms", 2_500, 800 * time.Millisecond, 0.80, 2 * time.Second, 0},
		{"1 Mbit/s, 100 ms", 125_000, 100 * time.Millisecond, 0.85, 500 * time.Millisecond, 0},
		{"10 Mbit/s, 100 ms", 1_250_000, 100 * time.Millisecond, 0.85, 500 * time.Millisecond, 100_000},
		{"100 Mbit/s, 1 ms", 12_500_000, time.Millisecond, 0.85, 100 * time.Millisecond, 100_000},
	} {
		w := newWindow()
		share, queued := simulate(&w, time.Unix(0, 0), c.rate, c.rtt, 4*time.Minute)
		t.Logf("%s: %.0f %% of the link, queued for %s, window %d, chunk %d", c.name, 100*share, queued.Round(time.Millisecond), w.limit(), w.chunk())
		if share < c.share || queued > c.queued || w.limit() < c.minSize {
			t.Errorf("%s: %.0f %% of the link, queued for %s, window %d", c.name, 100*share, queued, w.limit())
		}
	}
}

// TestWindowFollowsTheLink: a link that becomes a hundredth is not flooded for long, and a recovered one is used again.
func TestWindowFollowsTheLink(t *testing.T) {
	w := newWindow()
	simulate(&w, time.Unix(0, 0), 1_250_000, 50*time.Millisecond, time.Minute)
	if w.limit() < 50_000 {
		t.Fatalf("window %d on the fast link", w.limit())
	}
	if _, queued := simulate(&w, time.Unix(100, 0), 12_500, 50*time.Millisecond, time.Minute); queued > time.Second {
		t.Errorf("queued for %s on the slow link", queued)
	}
	if c := w.chunk(); c > 6_000 {
		t.Errorf("chunks of %d bytes occupy the slow link for %.1f s", c, float64(c)/12_500)
	}
	if share, _ := simulate(&w, time.Unix(200, 0), 1_250_000, 50*time.Millisecond, 4*time.Minute); share < 0.8 {
		t.Errorf("%.0f %% of the recovered link", 100*share)
	}
	if share, _ := simulate(&w, time.Unix(1000, 0), 125_000, 900*time.Millisecond, 4*time.Minute); share < 0.8 {
		t.Errorf("%.0f %% of the link whose round trip became longer", 100*share)
	}
}

// TestWindowIdle: what was never limited by the window says nothing about the room beyond it.
func TestWindowIdle(t *testing.T) {
	w := newWindow()
	for i := range 1000 {
		w.acked(500, 500, 10*time.Millisecond, false, time.Unix(int64(i), 0))
	}
	if w.limit() != windowStart {
		t.Errorf("window %d after idle traffic, want %d", w.limit(), windowStart)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	begin := time.Unix(100, 0)
	if m.rate(begin) != 0 {
		t.Error("a rate of nothing")
	}
	for i := range 40 {
		m.add(10, begin.Add(time.Duration(i)*100*time.Millisecond))
	}
	if r := m.rate(begin.Add(4 * time.Second)); r < 80 || r > 120 {
		t.Errorf("%.0f a second, want 100", r)
	}
	if r := m.rate(begin.Add(time.Minute)); r != 0 {
		t.Errorf("%.0f a second after a minute of nothing", r)
	}
}
