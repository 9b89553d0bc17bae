package uplink

import (
	"bufio"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// bufConn stands between the MQTT client and the socket. The client reads byte by byte and writes packet by packet;
// here reads are buffered, and writes are taken into memory and written by one goroutine as many at a time as have
// come together. So Write returning nil means "taken", not "sent": an error of the real write closes the connection
// and ends Done. What may be taken is bounded by limit, which is above the uplink's window, so that Write never blocks
// and the client's pings never stand behind a stuck socket.
//
// The MQTT client learns of the end from Read and Write alone, and once it has, a message that is being handed to it
// hangs there until a time-out. So while the connection is held, its end shows in Done at once, but the client reads
// and writes into the void until the connection is released.
//
//	client ── Write ─► pending ── write loop ─► socket
//	client ◄─ Read ─── bufio ◄───────────────── socket
type bufConn struct {
	net.Conn
	socket  net.Conn // below TLS, or the same
	in      *bufio.Reader
	limit   int           // bytes that pending may hold
	timeout time.Duration // of one write to the socket

	mu      sync.Mutex
	wake    *sync.Cond // pending or err changed
	pending []byte
	writing bool
	err     error         // the first that happened; set once
	held    chan struct{} // not nil after hold, closed by release
	done    chan struct{} // closed with err
	stopped chan struct{} // closed when the write loop has ended
}

const (
	readBuffer   = 16 << 10
	writePiece   = 16 << 10 // has the write deadline for itself: a slow link is no dead one
	pendingLimit = 4 << 20
	spareLimit   = 128 << 10 // a larger buffer is not kept for the next write
	drainTimeout = time.Second
)

var (
	errClosed   = errors.New("we closed the connection")
	errOverrun  = errors.New("more was written than the connection may hold")
	errNotTaken = errors.New("the peer took nothing within the write deadline")
)

// newBufConn takes over c, which runs over socket, and starts its write loop, which ends with Close or with the first
// error.
func newBufConn(c, socket net.Conn, timeout time.Duration) *bufConn {
	b := &bufConn{
		Conn: c, socket: socket, in: bufio.NewReaderSize(c, readBuffer), limit: pendingLimit, timeout: timeout,
		done: make(chan struct{}), stopped: make(chan struct{}),
	}
	b.wake = sync.NewCond(&b.mu)
	go b.writeLoop()
	return b
}

// Read gives what the socket has. Its first error ends the connection; after abort it is the reason for that, and not
// the closed socket's error, which the MQTT client would take for its own doing and say nothing of.
func (b *bufConn) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if err == nil {
		return n, nil
	}
	err = b.abort(err)
	b.mu.Lock()
	held := b.held
	b.mu.Unlock()
	if held != nil {
		<-held
	}
	return n, err
}

// hold keeps the connection's end from the MQTT client until release, which must follow.
func (b *bufConn) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = make(chan struct{})
}

// release ends hold: nothing is handed to the MQTT client any more. It is called once.
func (b *bufConn) release() { close(b.held) }

// isHeld is for who holds mu.
func (b *bufConn) isHeld() bool {
	if b.held == nil {
		return false
	}
	select {
	case <-b.held:
		return false
	default:
		return true
	}
}

// Write takes p, or refuses it with the connection's error. While the connection is held, what comes after its end is
// dropped.
func (b *bufConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	if b.err == nil && len(b.pending)+len(p) > b.limit {
		b.mu.Unlock()
		b.abort(errOverrun)
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.err != nil {
		if b.isHeld() {
			return len(p), nil
		}
		return 0, b.err
	}
	b.pending = append(b.pending, p...)
	b.wake.Broadcast()
	return len(p), nil
}

func (b *bufConn) writeLoop() {
	defer close(b.stopped)
	var spare []byte
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.pending) == 0 && b.err == nil {
			b.wake.Wait()
		}
		if b.err != nil {
			return
		}
		b.mu.Unlock()
		runtime.Gosched() // who is about to write comes along in the same call
		b.mu.Lock()
		out := b.pending
		b.pending = spare[:0]
		b.writing = true
		b.mu.Unlock()
		err := b.flush(out)
		if err != nil {
			b.abort(err)
		}
		b.mu.Lock()
		b.writing = false
		if spare = out; cap(spare) > spareLimit {
			spare = nil
		}
		b.wake.Broadcast()
	}
}

func (b *bufConn) flush(out []byte) error {
	for len(out) > 0 {
		piece := out[:min(len(out), writePiece)]
		if err := b.Conn.SetWriteDeadline(time.Now().Add(b.timeout)); err != nil {
			return err
		}
		if _, err := b.Conn.Write(piece); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return errNotTaken
			}
			return err
		}
		out = out[len(piece):]
	}
	return nil
}

// abort ends the connection at once, whatever is pending, and gives the reason of its end: the first one told.
func (b *bufConn) abort(why error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = why
		close(b.done)
		b.socket.Close() // not TLS's Close, which may wait to say goodbye
		b.wake.Broadcast()
	}
	return b.err
}

// Close writes what is pending, for drainTimeout at most, and then closes the socket: DISCONNECT is a packet too.
func (b *bufConn) Close() error {
	late := time.AfterFunc(drainTimeout, func() { b.abort(errClosed) })
	defer late.Stop()
	b.mu.Lock()
	for b.err == nil && (len(b.pending) > 0 || b.writing) {
		b.wake.Wait()
	}
	alive := b.err == nil
	b.mu.Unlock()
	if alive && b.Conn != b.socket {
		b.Conn.Close() // TLS says goodbye; late ends that too
	}
	b.abort(errClosed)
	return nil
}

// Done is closed when the connection has ended; Err then says why.
func (b *bufConn) Done() <-chan struct{} { return b.done }

// Err is the reason of the connection's end, nil before it.
func (b *bufConn) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// SetWriteDeadline does nothing: the write loop has its own for each write.
func (b *bufConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline bounds reads alone, for the same reason.
func (b *bufConn) SetDeadline(t time.Time) error { return b.Conn.SetReadDeadline(t) }
