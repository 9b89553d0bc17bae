package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
)

// errUnasked says that a part ended by itself without saying why.
var errUnasked = errors.New("nobody asked it to")

// stage is a set of the daemon's long-lived parts that begin and end together. Stages are ended in the reverse of the
// order in which they were begun, so that whoever is fed outlives whoever feeds it.
type stage struct {
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	failed chan<- error
}

// newStage makes a stage; the first error of a part that ends unasked goes to failed, which must have room for one.
// Stages do not follow the caller's context: they are ended one by one.
func newStage(failed chan<- error) *stage {
	ctx, cancel := context.WithCancel(context.Background())
	return &stage{ctx: ctx, cancel: cancel, failed: failed}
}

// run begins one part.
func (s *stage) run(name string, part func(context.Context) error) {
	s.wait.Go(func() {
		err := part(s.ctx)
		if s.ctx.Err() != nil && err == nil {
			return
		}
		select {
		case s.failed <- fmt.Errorf("%s ended: %w", name, cmp.Or(err, errUnasked)):
		default: // the daemon is stopping over another failure already
		}
	})
}

// end asks every part to end, and waits until all have.
func (s *stage) end() {
	s.cancel()
	s.wait.Wait()
}
