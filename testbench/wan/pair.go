package wan

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// pair is one connection of the gateway and the one to the broker that belongs to it.
type pair struct {
	link *Link
	near *net.TCPConn
	deaf atomic.Bool    // fell into a black hole: nothing gets through any more
	lost [2]atomic.Bool // by Direction: half-closed, what comes is lost

	mu    sync.Mutex
	far   *net.TCPConn // nil until dialled
	ended bool         // reset
}

// run dials the broker and carries bytes both ways until both ends have closed, one has failed, or the context ends.
func (p *pair) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		<-ctx.Done()
		p.reset() // nothing is left to reset when all went well
	})
	defer watch.Wait()
	defer cancel()
	if !p.link.thawed(ctx) {
		return
	}
	if p.deaf.Load() {
		_, _ = io.Copy(io.Discard, p.near) // until its end closes it
		return
	}
	if !p.dial(ctx) {
		return
	}
	var ways sync.WaitGroup
	ways.Go(func() { p.carry(ctx, Up, p.near, p.far) })
	ways.Go(func() { p.carry(ctx, Down, p.far, p.near) })
	ways.Wait()
	p.near.Close()
	p.far.Close()
}

func (p *pair) dial(ctx context.Context) bool {
	d := net.Dialer{Control: narrow}
	c, err := d.DialContext(ctx, "tcp", p.link.target)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.far = c.(*net.TCPConn)
	if p.ended {
		abort(p.far)
	}
	return !p.ended
}

func (p *pair) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	abort(p.near)
	if p.far != nil {
		abort(p.far)
	}
}

// abort closes with a RST. A connection that is closed already stays as it is.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (p *pair) halfClose(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.far == nil || p.ended {
		return
	}
	p.lost[d].Store(true)
	to := [...]*net.TCPConn{Up: p.far, Down: p.near}[d]
	_ = to.CloseWrite() // its end may have closed it by itself
}

// chunk is a run of bytes under way; none of them for the end of the stream.
type chunk struct {
	data []byte
	due  time.Time
}

// underWay bounds the chunks between the two ends of one direction: enough for a fast link with a long delay.
const underWay = 1024

// carry brings what one end says to the other, until it ends.
func (p *pair) carry(ctx context.Context, d Direction, from, to *net.TCPConn) {
	flight := make(chan chunk, underWay)
	var landing sync.WaitGroup
	defer landing.Wait()
	landing.Go(func() { p.land(ctx, d, flight, to) })
	defer close(flight)
	for p.link.thawed(ctx) {
		buf := make([]byte, p.link.chunkSize(d))
		n, err := from.Read(buf)
		if n == 0 && err != io.EOF {
			if !p.deaf.Load() {
				p.reset()
			}
			return
		}
		due, ok := p.link.serialise(ctx, d, n)
		if !ok {
			return
		}
		select {
		case flight <- chunk{buf[:n], due}:
		case <-ctx.Done():
			return
		}
		if n == 0 {
			return
		}
	}
}

// land hands over what is due.
func (p *pair) land(ctx context.Context, d Direction, flight <-chan chunk, to *net.TCPConn) {
	broken := false
	for c := range flight {
		if !sleepUntil(ctx, c.due) || !p.link.thawed(ctx) {
			broken = true
		}
		if broken || p.deaf.Load() || p.lost[d].Load() {
			continue
		}
		if len(c.data) == 0 {
			_ = to.CloseWrite() // its end may have closed it by itself
			continue
		}
		if _, err := to.Write(c.data); err != nil {
			if !p.lost[d].Load() && !p.deaf.Load() {
				p.reset()
			}
			broken = true
			continue
		}
		p.link.count[d].Add(int64(len(c.data)))
	}
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
