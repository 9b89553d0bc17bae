package modbus

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"edgegateway/testbench/sim/port"
)

// Port is what RTU is served on: the master side of a pty, a serial port, a connection. A deadline in the past must
// end a blocked Read and Write, as it does for *os.File (where the poller takes the file) and for net.Conn.
type Port = port.Port

// quietAfter is how long nothing more may come before the bytes at hand are taken for garbage. It is far longer than
// t3.5, since a busy machine tears a request apart that no wire would have.
const quietAfter = 50 * time.Millisecond

// ServeRTU serves RTU on the port until the context ends (nil) or the port fails.
func (s *Server) ServeRTU(ctx context.Context, p Port, w Wire) error {
	return s.serve(ctx, p, rtu{}, w)
}

// ServeTCP serves Modbus TCP to whoever connects, until the context ends (nil) or the listener fails. It closes the
// listener and every connection.
func (s *Server) ServeTCP(ctx context.Context, ln net.Listener) error {
	return s.accept(ctx, ln, mbap{}, Wire{})
}

// ServeRTUOverTCP serves RTU frames to whoever connects, as a serial device server does, each connection at the pace
// of a wire of its own. Otherwise it is as ServeTCP.
func (s *Server) ServeRTUOverTCP(ctx context.Context, ln net.Listener, w Wire) error {
	return s.accept(ctx, ln, rtu{}, w)
}

func (s *Server) accept(ctx context.Context, ln net.Listener, f framing, w Wire) error {
	return port.Accept(ctx, ln, func(ctx context.Context, c net.Conn) {
		_ = s.serve(ctx, c, f, w) // how one connection ends is its master's affair
	})
}

// session is one port being served.
type session struct {
	*Server
	framing
	port Port
	wire Wire
	out  *transmitter
	free time.Time // when the unit, or the serial side behind a gateway, is done with what it does
}

var errHangUp = errors.New("a fault ends the connection")

func (s *Server) serve(ctx context.Context, p Port, f framing, w Wire) error {
	if err := p.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	x := &session{Server: s, framing: f, port: p, wire: w, out: newTransmitter(p, w)}
	var running sync.WaitGroup
	running.Go(func() { x.out.run(ctx) })
	running.Go(func() {
		<-ctx.Done()
		p.SetDeadline(time.Unix(1, 0)) // ends what blocks on the port
	})
	err := x.listen(ctx)
	cancel()
	running.Wait()
	if errors.Is(err, errHangUp) || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // the deadline comes with the context's end
	}
	return err
}

type chunk struct {
	data []byte
	at   time.Time
	err  error
}

// listen takes bytes from the port and serves the requests in them.
func (x *session) listen(ctx context.Context) error {
	chunks := make(chan chunk)
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		x.port.SetDeadline(time.Unix(1, 0))
	}()
	reading.Go(func() { x.read(ctx, chunks) })

	var got []byte
	var began, came time.Time // when the first of got was there, and when the last
	quiet := time.NewTimer(quietAfter)
	defer quiet.Stop()
	for {
		silent := false
		select {
		case c := <-chunks:
			if c.err != nil {
				return c.err
			}
			if len(got) == 0 {
				began = c.at
			}
			got, came = append(got, c.data...), c.at
			quiet.Reset(quietAfter)
		case <-quiet.C:
			silent = true
		case <-ctx.Done():
			return nil
		}
		for len(got) > 0 {
			r, used, ok := x.next(got, silent)
			if !ok {
				return errHangUp
			}
			got = got[used:]
			if r == nil {
				x.note(false, used)
				break
			}
			x.note(false, used-len(r.raw))
			end := later(came, began.Add(time.Duration(len(r.raw))*x.wire.Char()))
			if err := x.take(ctx, r, began, end); err != nil {
				return err
			}
			began = end
		}
	}
}

func (x *session) read(ctx context.Context, chunks chan<- chunk) {
	buf := make([]byte, 4096)
	for {
		n, err := x.port.Read(buf)
		c := chunk{data: append([]byte(nil), buf[:n]...), at: time.Now()}
		if n == 0 {
			c.err = err
		}
		if n == 0 && err == nil {
			continue
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// take serves one request, whose first bit was on the wire at began and whose last is through at end.
func (x *session) take(ctx context.Context, r *request, began, end time.Time) error {
	if !x.out.silentFor(x.wire.Silence(), began) {
		x.note(true, 0)
	}
	everyone := x.broadcast(r.unit)
	units, absent := x.find(r, everyone)
	if len(units) == 1 && !everyone {
		return x.answer(ctx, r, units[0], began, end)
	}
	if x.echoed() {
		x.out.send(transmission{at: began, pieces: []piece{{data: r.raw}}})
	}
	for _, u := range units {
		u.serve(r.pdu, 0)
	}
	if len(units) == 0 && absent != 0 {
		refusal := x.wrap(r, r.unit, refuse(r.pdu[0], absent))
		x.out.send(transmission{at: x.due(end, 0), pieces: []piece{{data: refusal}}})
	}
	return nil
}

// due is when an answer may begin, for a request that ended at end and takes think.
func (x *session) due(end time.Time, think time.Duration) time.Time {
	x.free = later(x.free, end).Add(max(x.wire.Silence(), x.wire.Turnaround, think))
	return x.free
}
