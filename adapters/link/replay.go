package link

import (
	"context"
	"errors"
	"time"
)

// Replay is a Line in memory where answer stands for the device: it is given each request and gives what comes back,
// at once. An empty answer is silence; an empty request is that the driver listens. What comes back upon a request that
// waits for nothing is there for whoever listens next. It is for captured frames: of profiles, and of tests.
func Replay(answer func(request []byte) ([]byte, error)) Line { return &replay{answer: answer} }

type replay struct {
	answer func([]byte) ([]byte, error)
	kept   []byte
}

func (r *replay) Exchange(ctx context.Context, request []byte, _ time.Duration, complete Framer) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	got := r.kept
	r.kept = nil
	if len(request) > 0 || len(got) == 0 {
		var err error
		if got, err = r.answer(request); err != nil {
			return nil, err
		}
	}
	switch {
	case complete == nil:
		r.kept = got
		return nil, nil
	case len(got) == 0:
		return nil, ErrTimeout
	}
	frame, _, _, err := complete(got)
	if frame == nil || err != nil {
		return nil, garbage(got, err)
	}
	r.kept = got[cap(got)-cap(frame)+len(frame):] // for whoever listens next
	return frame, nil
}

func (*replay) Timing() Timing { return Timing{} }
func (*replay) Close() error   { return nil }

// None is the line of a driver that only checks: every Exchange fails with a *DownError.
func None() Line { return none{} }

type none struct{}

func (none) Exchange(context.Context, []byte, time.Duration, Framer) ([]byte, error) {
	return nil, &DownError{Line: "no line", Err: errors.New("the device was bound for checking only")}
}
func (none) Timing() Timing { return Timing{} }
func (none) Close() error   { return nil }
