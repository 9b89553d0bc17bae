package link

import (
	"context"
	"time"
)

// Replay is a Line in memory where answer stands for the device: it is given each request and gives what comes back,
// at once. An empty answer is silence; an empty request is that the driver listens. It is for captured frames: of profiles, and of tests.
func Replay(answer func(request []byte) ([]byte, error)) Line { return replay{answer} }

type replay struct {
	answer func([]byte) ([]byte, error)
}

func (r replay) Exchange(ctx context.Context, request []byte, _ time.Duration, complete Framer) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	got, err := r.answer(request)
	switch {
	case err != nil:
		return nil, err
	case complete == nil:
		return nil, nil
	case len(got) == 0:
		return nil, ErrTimeout
	}
	frame, _, _, err := complete(got)
	if frame == nil || err != nil {
		return nil, garbage(got, err)
	}
	return frame, nil
}

func (replay) Timing() Timing { return Timing{} }
func (replay) Close() error   { return nil }
