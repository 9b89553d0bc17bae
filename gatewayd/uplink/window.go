package uplink

import "time"

const (
	windowStart = 8 << 10
	windowFloor = 4 << 10
	windowCeil  = 512 << 10
	chunkFloor  = 2 << 10
	chunkCeil   = 64 << 10
	delayTarget = 400 * time.Millisecond // queueing that the backlog may cause
	chunkTime   = 300 * time.Millisecond // that one message may occupy the link
	relearn     = 10 * time.Second       // at the floor and still late: the link itself has become longer
	maxInFlight = 1000                   // messages: packet ids and brokers' own limits
)

// window bounds what is in flight, in bytes: it grows while acknowledgements come soon and shrinks when they come
// late, so that what waits in kernels and modems on the way stays below delayTarget, and a command's reply never
// stands behind a backlog. Late is measured against the shortest delay of this connection, which holds the link's own
// round trip and the broker's.
type window struct {
	size  float64 // bytes
	slow  bool    // the doubling of the start is over
	base  time.Duration
	stuck time.Time     // since when it is at the floor and acknowledgements are late all the same; zero otherwise
	least time.Duration // the shortest delay since then
}

func newWindow() window { return window{size: windowStart} }

// limit is how many bytes may be in flight.
func (w *window) limit() int { return int(w.size) }

// room says whether one more chunk may leave. It may overshoot by a half: a small window holds only a few.
func (w *window) room(inFlight int) bool {
	return inFlight == 0 || inFlight+w.chunk()/2 <= w.limit()
}

// chunk is how many bytes one message should have: what the link carries in chunkTime. The rate is taken from the
// window itself, which is what the link carries in one base delay and one target.
func (w *window) chunk() int {
	perSecond := w.size / (w.base + delayTarget).Seconds()
	c := min(perSecond*chunkTime.Seconds(), w.size/2)
	return int(min(max(c, chunkFloor), chunkCeil))
}

// acked takes in that a message of n bytes was acknowledged after delay. ahead is how much was in flight when it left,
// itself included. full says that the window was the limit then: only so does an early acknowledgement say that there
// is room for more.
func (w *window) acked(n, ahead int, delay time.Duration, full bool, now time.Time) {
	if w.base == 0 || delay < w.base {
		w.base = delay
	}
	queued := delay - w.base
	if queued <= delayTarget {
		w.stuck = time.Time{}
		if full {
			w.grow(float64(n), queued)
		}
		return
	}
	// In delay the link carried what was ahead; what it carries in the base delay and the target may stay.
	w.slow = true
	may := float64(ahead) * float64(w.base+delayTarget) / float64(delay)
	w.size = max(min(w.size, may), windowFloor)
	if w.size > windowFloor {
		w.stuck = time.Time{}
		return
	}
	if w.stuck.IsZero() {
		w.stuck, w.least = now, delay
	}
	w.least = min(w.least, delay)
	if now.Sub(w.stuck) >= relearn {
		w.base, w.stuck = w.least, time.Time{}
	}
}

// grow doubles the window in each round trip at first, until the first queue shows; then it adds up to one chunk in
// each, the less the nearer the queue is to the target.
func (w *window) grow(n float64, queued time.Duration) {
	if !w.slow && queued < delayTarget/4 {
		w.size = min(w.size+n, windowCeil)
		return
	}
	w.slow = true
	room := 1 - float64(queued)/float64(delayTarget)
	w.size = min(w.size+room*float64(w.chunk())*n/w.size, windowCeil)
}
