// Package link is a physical line, serial or TCP: it opens it, exchanges bytes with the silences that the line needs,
// keeps a hex trace for whoever asks, and comes back by itself after an unplugging.
//
// It promises that Exchange ends within the waits that it was given plus the wire time of what moved, or at once when
// its context ends; that Close never hangs, also under a blocked Exchange; and that bytes which came before a request
// was sent are never taken for its answer, except on a Stream line, whose framer has to tell them apart itself. A
// caller may not assume that a Line is safe for concurrent use: the loop that owns it is its only user (Close, Stats
// and Trace excepted). It is a leaf: it knows no protocol.
package link

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Framer looks for the answer in what has arrived since the request was sent. It returns the answer (a sub-slice of
// got) when it stands there in full, else nil and the least number of bytes that are still missing (1 when that
// cannot be told yet). It skips noise, echoes and foreign frames by itself. A Framer of a Stream line also reports how
// many bytes of got it is done with, in skip, so that they are not offered again; on other lines skip is ignored.
// A non-nil error says that the stream is out of step for good: the line is closed and opened anew.
type Framer func(got []byte) (answer []byte, skip, missing int, err error)

// Line is one physical line.
type Line interface {
	// Exchange waits for the line's silence, discards what is left from before (not on a Stream line), sends the
	// request, and reads until complete has found the answer. wait bounds the time from the request's last bit to
	// the answer's first byte; from then on what is still missing has its wire time plus a slack of 200 ms. An empty
	// request only listens. A nil complete only sends (broadcast). The answer is valid until the next Exchange. What of
	// the request must not be shown to anybody stands in the context (WithSecret).
	//
	// Errors: ErrTimeout (nothing came), *GarbageError (bytes came, but no answer among them), *DownError (no line:
	// not there, unplugged, refused; the next Exchange tries to open it again, at most once a second), or the
	// context's error.
	Exchange(ctx context.Context, request []byte, wait time.Duration, complete Framer) ([]byte, error)
	// Timing tells how long bytes take here, for planning.
	Timing() Timing
	// Close closes the line for good and ends an Exchange in progress. It may be called from any goroutine.
	Close() error
}

// Timing is what a planner needs to know of a line. Both are 0 on TCP.
type Timing struct {
	Char    time.Duration // wire time of one character: start, data, parity and stop bits
	Silence time.Duration // the least silence between two frames: t3.5, 1.75 ms above 19200 baud (Modbus over serial line V1.02, 2.5.1.1)
}

// ErrTimeout says that nothing came within the wait.
var ErrTimeout = errors.New("no answer in time")

// GarbageError says that bytes came, but no answer among them.
type GarbageError struct {
	Got []byte // the first bytes of it, at most 64, a copy; nil after a request with a secret
	N   int    // how many came
	Err error  // the Framer's own, when it ended the exchange; else nil
}

func (e *GarbageError) Error() string {
	s := fmt.Sprintf("%d bytes came, but no valid answer among them", e.N)
	if len(e.Got) > 0 {
		s += fmt.Sprintf(": % x", e.Got)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *GarbageError) Unwrap() error { return e.Err }

// DownError says that there is no line to speak on, and what would help.
type DownError struct {
	Line string // as configured: "/dev/ttyS1", "192.0.2.20:502"
	Err  error
	Hint string // in the installer's words; may be ""
}

func (e *DownError) Error() string {
	s := e.Line + ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *DownError) Unwrap() error { return e.Err }
