package serial

import (
	"context"
	"errors"
	"time"

	"edgegateway/adapters/field"
)

// breath is how long one listening goes on before the context is looked at again.
const breath = 5 * time.Second

// Listen implements field.Listener: each frame of a device that speaks by itself becomes a record, in which the tags
// that the frame does not speak of are Absent. It returns nil at once when no such device was bound.
func (d *Driver) Listen(ctx context.Context, emit func(field.Record)) error {
	if len(d.pushing) == 0 {
		return nil
	}
	for ctx.Err() == nil {
		// The devices of one line frame alike, or one would not know the other's frames from noise.
		var heard []byte
		frame, err := d.listen(ctx, nil, breath, d.pushing[0].speech, func([]byte, int) bool { return true })
		if err == nil {
			heard = frame
		} else if errors.Is(err, field.ErrLine) {
			return err
		}
		if heard == nil {
			continue
		}
		for _, s := range d.pushing {
			s.hear(heard, emit)
		}
	}
	return ctx.Err()
}

// hear makes records of a frame.
func (s *Station) hear(frame []byte, emit func(field.Record)) {
	content, sound := s.speech.open(frame)
	if !sound {
		return
	}
	for _, g := range s.groups {
		r := g.record(field.Absent)
		told := false
		for _, q := range g.questions {
			if q.fits(s.speech.legible(content), len(frame)) {
				q.fill(s.speech, frame, &r)
				told = true
			}
		}
		if told {
			r.Quality = tidy(r.Quality)
			emit(r)
		}
	}
}
