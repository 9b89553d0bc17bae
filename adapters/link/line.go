package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Options are what both kinds of line may be told. The zero value is ready for use.
type Options struct {
	Name        string        // the line's name in the configuration, for the log; "" for its port or host
	RS485       bool          // serial: let the port's driver switch the transmitter with RTS (TIOCSRS485)
	Stream      bool          // TCP: frames follow each other without silences and name their request (Modbus TCP)
	DialTimeout time.Duration // TCP: for one attempt to connect; 0 means 3 s
	Log         *slog.Logger  // opened, down and why; nil for no log
}

// port is one opened medium: a tty or a connection. Its owner is the line's loop, but for SetReadDeadline and Close.
type port interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
	Write([]byte) (int, error)
	pending([]byte) (int, error) // what has come already, without waiting: 0, nil when there is nothing
	flush()                      // forget what the system still holds, in both directions
	drain()                      // wait until the last bit has left
	Close() error
}

// line is what a serial line and a TCP line have in common: when to open, what to keep, when to give up.
type line struct {
	addr     string // as configured
	log      *slog.Logger
	open     func(context.Context) (port, error) // a *DownError when it fails
	stream   bool
	gone     string // what a loss is called: "the port is gone"
	advice   string // the hint for it
	misses   int    // timeouts in a row after which the medium is closed; 0 for never
	fragile  bool   // close after garbage
	retry    backoff
	trace    Trace
	counters counters

	// Owned by the loop that calls Exchange.
	silence   time.Duration
	char      time.Duration
	quietAt   time.Time // the silence after the last byte has been kept from here on
	buf       []byte
	off, end  int  // buf[off:end] is not yet used
	proved    bool // the open port has answered
	dirty     bool // the last exchange did not end with an answer
	secret    bool // the last request held a secret
	missed    int  // timeouts in a row
	timer     *time.Timer
	watched   <-chan struct{} // the context whose end interrupts a read
	unwatch   func() bool
	interrupt func()

	done chan struct{} // closed by Close

	mu     sync.Mutex
	port   port // nil when not open
	closed bool
	cancel context.CancelFunc // of the opening in progress
}

var (
	errClosed = errors.New("the line was closed")
	errHungUp = errors.New("hung up by the other end")
)

func (l *line) init(addr string, o Options) {
	l.addr = addr
	name := o.Name
	if name == "" {
		name = addr
	}
	l.log = slog.New(slog.DiscardHandler)
	if o.Log != nil {
		l.log = o.Log.With("line", name)
	}
	l.buf = make([]byte, 512)
	l.timer = time.NewTimer(time.Hour)
	l.timer.Stop()
	l.interrupt = func() {
		if p := l.current(); p != nil {
			_ = p.SetReadDeadline(time.Unix(1, 0))
		}
	}
	l.done = make(chan struct{})
}

// Trace is the line's hex trace.
func (l *line) Trace() *Trace { return &l.trace }

// Close closes the line for good and ends an Exchange in progress. It may be called from any goroutine, also twice.
func (l *line) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.done)
	p := l.port
	l.port = nil
	if l.cancel != nil {
		l.cancel()
	}
	l.mu.Unlock()
	l.counters.up.Store(false)
	if p == nil {
		return nil
	}
	l.trace.note("closed")
	return p.Close()
}

func (l *line) current() port {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port
}

// opened gives the open port, and opens it when it is time to.
func (l *line) opened(ctx context.Context) (port, error) {
	if p := l.current(); p != nil {
		return p, nil
	}
	if l.retry.waits(time.Now()) {
		return nil, l.retry.last
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, l.down(errClosed)
	}
	l.cancel = cancel
	l.mu.Unlock()

	p, err := l.open(ctx)

	l.mu.Lock()
	l.cancel = nil
	if l.closed {
		l.mu.Unlock()
		if p != nil {
			_ = p.Close()
		}
		return nil, l.down(errClosed)
	}
	l.port = p // nil after an error: open gives no typed nil
	l.mu.Unlock()
	if err != nil {
		if e := over(ctx); e != nil {
			return nil, e
		}
		return nil, l.failed(err)
	}
	l.off, l.end, l.missed, l.proved, l.dirty = 0, 0, 0, false, false
	l.counters.opens.Add(1)
	if !l.counters.up.Swap(true) {
		l.log.Info("line is open", "port", l.addr)
	}
	l.trace.note("opened %s", l.addr)
	return p, nil
}

// over is ctx.Err(), for after a dial: that one keeps the context's deadline by a clock of its own, and may be first.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// lost closes a port that failed by itself. One that never answered counts as a failed attempt, so that a peer which
// accepts and hangs up at once is not called in a tight loop.
func (l *line) lost(cause error) error {
	if !l.shut() {
		return l.down(errClosed)
	}
	if errors.Is(cause, io.EOF) {
		cause = errHungUp
	}
	err := l.down(fmt.Errorf("%s: %w", l.gone, cause))
	err.Hint = l.advice
	if l.proved {
		l.retry.reset()
		return l.report(err)
	}
	return l.failed(err)
}

// shut closes the port and says whether it was still there to be closed.
func (l *line) shut() bool {
	l.mu.Lock()
	p, closed := l.port, l.closed
	l.port = nil
	l.mu.Unlock()
	if p != nil {
		_ = p.Close()
	}
	l.off, l.end = 0, 0
	return !closed
}

// recycle closes a port that works, but can no longer be trusted; the next Exchange opens it again at once.
func (l *line) recycle(why string) {
	if l.shut() {
		l.retry.reset()
		l.trace.note("closed, to be opened anew: %s", why)
	}
}

func (l *line) failed(err error) error {
	l.retry.fail(time.Now(), err)
	return l.report(err)
}

// report makes a loss known once, not again each time that opening fails in the same way.
func (l *line) report(err error) error {
	wasUp := l.counters.up.Swap(false)
	last := l.counters.lastError.Load()
	if wasUp || last == nil || *last != err.Error() {
		l.log.Warn("line is down", "err", err)
	}
	l.counters.setError(err)
	l.trace.note("down: %v", err)
	return err
}

func (l *line) down(err error) *DownError { return &DownError{Line: l.addr, Err: err} }

// watch sees to it that the end of the context interrupts a read. It stays in force for further exchanges under the
// same context, so that the usual one costs nothing. A late interruption of an exchange that is not meant does no
// harm: who is woken looks at its own context and deadline.
func (l *line) watch(ctx context.Context) {
	done := ctx.Done()
	if done == l.watched {
		return
	}
	if l.unwatch != nil {
		l.unwatch()
		l.unwatch = nil
	}
	l.watched = done
	if done != nil {
		l.unwatch = context.AfterFunc(ctx, l.interrupt)
	}
}

// sleepUntil waits, at once over when the context ends or the line is closed.
func (l *line) sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return nil
	}
	l.timer.Reset(d)
	select {
	case <-l.timer.C:
		return nil
	case <-ctx.Done():
		l.timer.Stop()
		return ctx.Err()
	case <-l.done:
		l.timer.Stop()
		return os.ErrClosed
	}
}

// backoff spaces attempts to open: a second apart at first, twice as long each time, never more than most.
type backoff struct {
	most  time.Duration
	delay time.Duration
	next  time.Time
	last  error
}

func (b *backoff) waits(now time.Time) bool { return now.Before(b.next) }

func (b *backoff) fail(now time.Time, err error) {
	b.delay = min(max(2*b.delay, time.Second), b.most)
	b.next = now.Add(b.delay)
	b.last = err
}

func (b *backoff) reset() { *b = backoff{most: b.most} }

func garbage(got []byte, err error) *GarbageError {
	return &GarbageError{Got: append([]byte(nil), got[:min(len(got), 64)]...), N: len(got), Err: err}
}
