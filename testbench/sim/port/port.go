// Package port serves simulated meters on a port, at the pace of a wire: it collects what comes, hands it to the meters
// of one protocol, and sends what they answer, when a wire would have brought it.
//
// It promises that it ends with its context, and that answers leave in order, no byte before its time. A caller may
// not assume that what the meters send is taken by anybody.
package port

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Port is the far end of a line: the master side of a pty, a tap of a shared bus, a connection. A deadline in the past
// must end a blocked Read and Write.
type Port interface {
	io.ReadWriter
	SetDeadline(time.Time) error
}

// Out is something to send.
type Out struct {
	After time.Duration // the last bit of what was answered, or the last byte of the Out before
	Char  time.Duration // wire time of one character; 0 for no pacing
	Bytes []byte
	Then  func() // called when they have left; may be nil
}

// Machine is the meters of one protocol on one line.
type Machine interface {
	// Take looks at what has come and was not used yet. It says how many bytes it is done with, and what they make the
	// meters send. quiet says that nothing more came for a while. It is called from one goroutine for each port.
	Take(got []byte, quiet bool) (used int, out []Out)
	// Char is the wire time of one character of what comes; 0 without pacing.
	Char() time.Duration
}

// Echo is meters behind a converter that gives back to the master what it sends, as two-wire ones do.
type Echo struct{ Machine }

// Take implements Machine.
func (e Echo) Take(got []byte, quiet bool) (used int, out []Out) {
	used, out = e.Machine.Take(got, quiet)
	if used > 0 {
		out = append([]Out{{Bytes: bytes.Clone(got[:used])}}, out...)
	}
	return used, out
}

// quietAfter is how long nothing more may come before the bytes at hand are taken for all.
const quietAfter = 50 * time.Millisecond

// Serve serves the meters on the port until the context ends (nil) or the port fails.
func Serve(ctx context.Context, p Port, m Machine) error {
	if err := p.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan chunk)
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		_ = p.SetDeadline(time.Unix(1, 0)) // ends what blocks on the port
	})
	running.Go(func() { read(ctx, p, chunks) })
	err := serve(ctx, p, m, chunks)
	cancel()
	running.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ServeTCP serves each connection as a serial device server would, until the context ends or the listener fails.
func ServeTCP(ctx context.Context, ln net.Listener, m Machine) error {
	return Accept(ctx, ln, func(ctx context.Context, c net.Conn) {
		_ = Serve(ctx, c, m) // how one connection ends is its master's affair
	})
}

// Accept serves whoever connects, each in a goroutine of its own, until the context ends (nil) or the listener fails.
// It closes the listener and every connection, and waits for all that it serves.
func Accept(ctx context.Context, ln net.Listener, serve func(context.Context, net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		ln.Close()
	})
	defer running.Wait()
	defer cancel()
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		default:
			return err
		}
		running.Go(func() {
			defer c.Close()
			serve(ctx, c)
		})
	}
}

type chunk struct {
	data []byte
	at   time.Time
	err  error
}

func read(ctx context.Context, p Port, chunks chan<- chunk) {
	buf := make([]byte, 4096)
	for {
		n, err := p.Read(buf)
		c := chunk{data: append([]byte(nil), buf[:n]...), at: time.Now(), err: err}
		if n == 0 && err == nil {
			continue
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func serve(ctx context.Context, p Port, m Machine, chunks <-chan chunk) error {
	var got []byte
	var began, came time.Time // when the first of got was there, and when the last lump
	lump := 0                 // how many bytes came then
	quiet := time.NewTimer(quietAfter)
	defer quiet.Stop()
	for {
		silent := false
		select {
		case c := <-chunks:
			if len(got) == 0 {
				began = c.at
			}
			got, came, lump = append(got, c.data...), c.at, len(c.data)
			quiet.Reset(quietAfter)
			if c.err != nil {
				return c.err
			}
		case <-quiet.C:
			silent = true
			quiet.Reset(quietAfter)
		case <-ctx.Done():
			return nil
		}
		for {
			char := m.Char()
			used, out := m.Take(got, silent)
			end := began.Add(time.Duration(used) * char)
			if used == len(got) {
				end = came.Add(time.Duration(lump) * char) // what came before was noise of another mode, or long ago
			}
			got, began = got[used:], end
			if err := send(ctx, p, out, end); err != nil {
				return err
			}
			if used == 0 || len(got) == 0 {
				break
			}
		}
	}
}

// fifo is how many bytes a paced answer hands over together, as a UART does.
const fifo = 8

func send(ctx context.Context, p Port, out []Out, at time.Time) error {
	for _, o := range out {
		if now := time.Now(); at.Before(now) && o.Char == 0 {
			at = now
		}
		at = at.Add(o.After)
		step := len(o.Bytes)
		if o.Char > 0 {
			step = fifo
		}
		for rest := o.Bytes; len(rest) > 0; {
			n := min(step, len(rest))
			at = at.Add(time.Duration(n) * o.Char)
			if err := sleepUntil(ctx, at); err != nil {
				return err
			}
			if _, err := p.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		if err := sleepUntil(ctx, at); err != nil {
			return err
		}
		if o.Then != nil {
			o.Then()
		}
	}
	return nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
