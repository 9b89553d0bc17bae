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
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		_ = errors.Join(a.SetDeadline(past), b.SetDeadline(past)) // of a closed port it is not needed
	})
	defer stop()
	var there, back error
	var ways sync.WaitGroup
	carry := func(to, from *Line) error {
		defer cancel()
		_, err := io.Copy(to, from)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
	ways.Go(func() { there = carry(b, a) })
	ways.Go(func() { back = carry(a, b) })
	ways.Wait()
	return errors.Join(there, back)
}
