package ptyline

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// Bridge joins two ports as a null modem does, for two programs that both want to open a port, until the context ends
// (nil) or a port fails.
func Bridge(ctx context.Context, a, b *Line) error {
	ctx, cancel := context.WithCancel(ctx)
	var there, back error
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		past := time.Unix(1, 0)
		_ = errors.Join(a.SetDeadline(past), b.SetDeadline(past)) // of a closed port it is not needed
	})
	carry := func(to, from *Line) error {
		defer cancel()
		_, err := io.Copy(to, from)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
	running.Go(func() { there = carry(b, a) })
	running.Go(func() { back = carry(a, b) })
	running.Wait()
	return errors.Join(there, back)
}
