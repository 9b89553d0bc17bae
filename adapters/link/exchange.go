package link

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	slack  = 200 * time.Millisecond // that what is missing of an answer may come later than the wire explains
	babble = 10 * time.Second       // that an answer which never ends may take beyond its wire time
	most   = 64 << 10               // bytes of one answer with all that came before it
	early  = time.Millisecond       // by which to wake before the rest of an answer is due: timers oversleep by as much
)

// Exchange implements Line.
func (l *line) Exchange(ctx context.Context, request []byte, wait time.Duration, complete Framer) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	began := time.Now()
	defer l.busySince(began)
	l.forget()
	p, err := l.ready(ctx, len(request) == 0)
	if err != nil {
		return nil, err
	}
	l.counters.exchanges.Add(1)
	l.watch(ctx)
	answer, err := l.exchange(ctx, p, request, wait, complete)
	l.dirty = err != nil
	if err == nil {
		l.missed = 0
		return answer, nil
	}
	return nil, l.judge(ctx, err, len(request) == 0)
}

func (l *line) busySince(t time.Time) { l.counters.busyNanos.Add(uint64(time.Since(t))) }

// forget makes room: the last answer is no longer valid from here on.
func (l *line) forget() {
	if l.off > 0 {
		copy(l.buf, l.buf[l.off:l.end])
		l.off, l.end = 0, l.end-l.off
	}
}

// ready gives an open port on which there is silence and, but on a stream, nothing left from before. A port that was
// lost since the last exchange is opened again on the way: nothing was sent yet.
func (l *line) ready(ctx context.Context, listen bool) (port, error) {
	for {
		p, err := l.opened(ctx)
		if err != nil || listen {
			return p, err
		}
		err = l.quieten(ctx, p)
		if err == nil {
			return p, nil
		}
		if e := ctx.Err(); e != nil {
			return nil, e
		}
		if down := l.lost(err); !l.proved {
			return nil, down
		}
	}
}

// quieten keeps the silence that is due and takes in what came meanwhile: a late answer still on its way is waited
// for, but not longer than the longest frame takes.
func (l *line) quieten(ctx context.Context, p port) error {
	late := 0
	if !l.stream {
		late = l.end
		l.end = 0
	}
	giveUp := time.Time{}
	for {
		if err := l.sleepUntil(ctx, l.quietAt); err != nil {
			return err
		}
		if l.end == len(l.buf) && !l.grow() {
			return errors.New("the peer sends without being asked, and does not stop")
		}
		n, err := p.pending(l.buf[l.end:])
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		l.stray(l.buf[l.end : l.end+n])
		l.counters.rxBytes.Add(uint64(n))
		if l.stream {
			l.end += n
			continue
		}
		late += n
		now := time.Now()
		l.quietAt = now.Add(l.silence)
		if giveUp.IsZero() {
			giveUp = now.Add(slack + 260*l.char)
		} else if now.After(giveUp) {
			break
		}
	}
	if late > 0 {
		l.counters.lateBytes.Add(uint64(late))
		l.trace.note("discarded %d late bytes", late)
	}
	if late > 0 || l.dirty {
		p.flush()
	}
	return nil
}

func (l *line) exchange(ctx context.Context, p port, request []byte, wait time.Duration, complete Framer) ([]byte, error) {
	sent := time.Now() // when the request's last bit has left
	if len(request) > 0 {
		secret := SecretOf(ctx)
		l.secret = len(secret) > 0
		if _, err := p.Write(request); err != nil {
			return nil, err
		}
		sent = sent.Add(time.Duration(len(request)) * l.char)
		l.quietAt = sent.Add(l.silence)
		l.counters.txBytes.Add(uint64(len(request)))
		l.trace.bytes(Tx, request, secret...)
	}
	if complete == nil {
		if err := l.sleepUntil(ctx, sent); err != nil {
			return nil, err
		}
		p.drain()
		return nil, nil
	}

	deadline := sent.Add(wait)
	limit := deadline
	for {
		missing := 1
		if l.off < l.end {
			var answer []byte
			var err error
			if answer, missing, err = l.offer(complete); answer != nil || err != nil {
				return answer, err
			}
			limit = deadline
		}
		if l.off < l.end { // the answer has begun
			now := time.Now()
			rest := time.Duration(missing) * l.char
			limit = later(deadline, earlier(now.Add(rest+slack), deadline.Add(rest+time.Duration(l.end)*l.char+babble)))
			// What is missing can't be here before its wire time has passed: one wake-up instead of twenty.
			if rest > 2*early {
				if err := l.sleepUntil(ctx, now.Add(rest-early)); err != nil {
					return nil, err
				}
			}
		}
		if l.end == len(l.buf) && !l.grow() {
			return nil, l.garbage(l.buf[l.off:l.end], errors.New("the answer does not end"))
		}
		n, err := l.read(ctx, p, limit)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if l.off < l.end {
				return nil, l.garbage(l.buf[l.off:l.end], nil)
			}
			return nil, ErrTimeout
		}
		if err != nil {
			return nil, err
		}
		l.quietAt = time.Now().Add(l.silence)
		l.counters.rxBytes.Add(uint64(n))
		l.end += n
	}
}

// stray shows in the trace what came and is no answer, unless it may be the echo of a secret.
func (l *line) stray(got []byte) {
	switch {
	case !l.secret:
		l.trace.bytes(Rx, got)
	case len(got) > 0:
		l.trace.note("%d bytes came that are not shown: they may be the echo of a secret", len(got))
	}
}

// garbage says that what came is no answer, and shows it in the trace.
func (l *line) garbage(got []byte, err error) *GarbageError {
	l.stray(got)
	g := garbage(got, err)
	if l.secret {
		g.Got = nil
	}
	return g
}

// offer shows the framer what there is. After an answer, off stands behind what the framer is done with.
func (l *line) offer(complete Framer) (answer []byte, missing int, err error) {
	got := l.buf[l.off:l.end]
	answer, skip, missing, err := complete(got)
	if err != nil {
		return nil, 0, l.garbage(got, err)
	}
	if answer == nil {
		if l.stream {
			skip = min(max(skip, 0), len(got))
			l.stray(got[:skip])
			l.off += skip
		}
		return nil, max(missing, 1), nil
	}
	// The answer is a part of got: where it stands is known from its capacity.
	start := cap(got) - cap(answer)
	l.stray(got[:start])
	l.trace.bytes(Rx, answer)
	if !l.proved {
		l.proved = true
		l.retry.reset()
	}
	if !l.stream {
		skip = start + len(answer)
	}
	l.off += min(max(skip, 0), len(got))
	return answer, 0, nil
}

// read waits for the next bytes until limit. Interruptions that are not meant for this exchange are slept over.
func (l *line) read(ctx context.Context, p port, limit time.Time) (int, error) {
	for {
		if err := p.SetReadDeadline(limit); err != nil {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := p.Read(l.buf[l.end:])
		if n > 0 {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if e := ctx.Err(); e != nil {
			return 0, e
		}
		if !time.Now().Before(limit) {
			return 0, err
		}
	}
}

// grow makes room for more, up to most.
func (l *line) grow() bool {
	if l.off > 0 {
		l.forget()
		return true
	}
	if len(l.buf) >= most {
		return false
	}
	l.buf = append(l.buf, make([]byte, len(l.buf))...)
	return true
}

// judge turns what ended an exchange into the error of the contract, and closes the port where it must be opened anew.
func (l *line) judge(ctx context.Context, err error, listening bool) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	var g *GarbageError
	switch {
	case errors.Is(err, ErrTimeout):
		l.counters.timeouts.Add(1)
	case errors.As(err, &g):
		l.counters.garbage.Add(1)
	default:
		return l.lost(err)
	}
	l.counters.setError(err)
	l.trace.note("%v", err)
	if g != nil && !l.stream {
		l.off, l.end = 0, 0
	}
	if g != nil && g.Err != nil {
		l.recycle("the bytes are out of step")
		return err
	}
	if g != nil && l.fragile {
		l.recycle("bytes without an answer")
		return err
	}
	if l.misses > 0 && !listening {
		if l.missed++; l.missed >= l.misses {
			l.missed = 0
			l.recycle("no answer several times in a row")
		}
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
