package collect

import (
	"context"
	"errors"
	"fmt"

	"edgegateway/adapters/field"
)

// errLent is what a second borrower gets.
var errLent = errors.New("something long is being done on this line already; wait for its end, or break it off")

// Borrow calls f from the loop's goroutine, so that f may use the line: for what takes long, such as a scan. f must call
// field.Pause with the context that it is given whenever the line is its own again: polls that are due and commands go
// then. One borrower at a time; the error is f's own, the context's, or says that the line is lent or given up.
//
// Between two pauses nothing else gets the line, so that polls are late by as much as f takes between two of them. What is
// heard is taken whenever f waits with field.Await.
func (l *Loop) Borrow(ctx context.Context, f func(context.Context) error) error {
	if !l.lent.CompareAndSwap(false, true) {
		return fmt.Errorf("line %s: %w", l.o.Line, errLent)
	}
	defer l.lent.Store(false)
	return l.pass(ctx, l.loans, f)
}

// lend runs a borrower. It is called between two reads only, never within one: what the borrower lets happen in its
// pauses may be a read of any station.
func (l *Loop) lend(ctx context.Context, c *call) {
	both, cancel := context.WithCancel(c.ctx)
	stop := context.AfterFunc(ctx, cancel)
	start := l.now()
	spent := func() {
		now := l.now()
		l.mu.Lock()
		l.occupy(now, now-start)
		l.mu.Unlock()
	}
	c.err = c.do(field.WithAwait(field.WithPause(both, func() {
		spent()
		l.between(ctx)
		start = l.now()
	}), l.await))
	spent()
	stop()
	cancel()
	close(c.done)
}

// between does what is due while the line is lent: commands, and each read at most once, so that also on a line that is
// too slow for its reads the borrower gets on.
func (l *Loop) between(ctx context.Context) {
	for range 2 * len(l.units) {
		l.progress.Add(1)
		l.serve(ctx)
		l.served = 0
		now := l.now()
		l.overdue(now)
		t, due := l.next(now)
		if due > now || ctx.Err() != nil {
			return
		}
		l.try(ctx, t)
	}
	l.progress.Add(1)
	l.serve(ctx)
	l.served = 0
}
