package collect

import (
	"context"
	"sync"
	"sync/atomic"

	"edgegateway/adapters/field"
)

// backlog is how many records wait for one who watches.
const backlog = 256

// watchers are those who follow the live records. While there are none it costs one atomic load a record.
type watchers struct {
	count   atomic.Int32
	dropped atomic.Uint64
	mu      sync.Mutex
	closed  bool
	each    map[chan field.Record]struct{}
}

// Watch gives what the line yields from now on: each record as it was read, event tags and unchanged values included,
// and the events. One who is slow loses records, which Stats counts. The channel is closed when the context or the loop
// ends.
func (l *Loop) Watch(ctx context.Context) <-chan field.Record {
	w := &l.watchers
	ch := make(chan field.Record, backlog)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		close(ch)
		return ch
	}
	if w.each == nil {
		w.each = make(map[chan field.Record]struct{})
	}
	w.each[ch] = struct{}{}
	w.count.Add(1)
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.leave(ch)
	})
	return ch
}

func (w *watchers) leave(ch chan field.Record) {
	if _, ok := w.each[ch]; ok {
		delete(w.each, ch)
		w.count.Add(-1)
		close(ch)
	}
}

func (w *watchers) tell(r field.Record) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.each {
		select {
		case ch <- r:
		default:
			w.dropped.Add(1)
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for ch := range w.each {
		w.leave(ch)
	}
}
