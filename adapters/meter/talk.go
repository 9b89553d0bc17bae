package meter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// Talk asks questions on a line.
type Talk struct {
	Line  link.Line
	Guard time.Duration // how long after a question that was not answered its answer may still come in
	late  []lateness
}

// lateness is a question that was given up: until then its answer may still come.
type lateness struct {
	twin  string
	until time.Time
}

// Question is one request and what is known of its answer.
type Question struct {
	Request []byte      // empty only listens
	Secret  []link.Span // of Request: what no trace and no error may show
	Who     string      // whom it goes to, for errors: "meter 000012345670"
	// Twin is the same for two questions when the answer to the one could be taken for the answer to the other.
	Twin    string
	Timeout time.Duration // to the first byte of the answer
	Answer  link.Framer   // finds the answer; nil sends and does not wait for one
	Stray   link.Framer   // finds the late answer to a twin
	Fault   *string       // what Answer found wrong with what came, in words; may be nil
	Stats   *Stats        // of the device; may be nil
}

// Ask sends a question and gives the answer, valid until the next one. The error wraps field.ErrSilent, field.ErrLine,
// or is the context's.
func (t *Talk) Ask(ctx context.Context, q Question) ([]byte, error) {
	if q.Stats == nil {
		q.Stats = new(Stats)
	}
	if err := t.awaitStray(ctx, q); err != nil {
		return nil, err
	}
	q.Stats.requests.Add(1)
	began := time.Now()
	answer, err := t.Line.Exchange(link.WithSecret(ctx, q.Secret...), q.Request, q.Timeout, q.Answer)
	if err != nil {
		return nil, t.failed(ctx, q, err)
	}
	if q.Answer != nil {
		q.Stats.answers.Add(1)
		q.Stats.turned(time.Since(began) - time.Duration(len(q.Request)+len(answer))*t.Line.Timing().Char)
	}
	return answer, nil
}

// awaitStray listens for the answer to a twin of the question that was given up.
func (t *Talk) awaitStray(ctx context.Context, q Question) error {
	now := time.Now()
	kept := t.late[:0]
	var until time.Time
	for _, l := range t.late {
		switch {
		case !l.until.After(now):
		case l.twin == q.Twin:
			until = l.until
		default:
			kept = append(kept, l)
		}
	}
	t.late = kept
	if until.IsZero() || q.Stray == nil {
		return nil
	}
	if _, err := t.Line.Exchange(ctx, nil, until.Sub(now), q.Stray); err == nil {
		q.Stats.late.Add(1)
	}
	if ctx.Err() != nil {
		t.late = append(t.late, lateness{q.Twin, until})
		return ctx.Err()
	}
	return nil // nothing came, or rubbish: the line is as quiet as it gets
}

// failed counts a question without an answer, remembers that the answer may be late, and puts the error into the words
// of the seam.
func (t *Talk) failed(ctx context.Context, q Question, err error) error {
	var down *link.DownError
	var garbage *link.GarbageError
	if !errors.As(err, &down) && q.Stray != nil {
		t.late = append(t.late, lateness{q.Twin, time.Now().Add(t.Guard)})
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &down):
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	case errors.Is(err, link.ErrTimeout):
		q.Stats.timeouts.Add(1)
		return fmt.Errorf("%s: %w within %v", q.Who, field.ErrSilent, q.Timeout)
	case errors.As(err, &garbage):
		q.Stats.garbage.Add(1)
		if q.Fault != nil && *q.Fault != "" {
			return fmt.Errorf("%s: %w to what was asked: %s (%w)", q.Who, field.ErrSilent, *q.Fault, err)
		}
		return fmt.Errorf("%s: %w: %w", q.Who, field.ErrSilent, err)
	default: // the line can't be set to the device's mode: others speak on it
		return fmt.Errorf("%s: %w: %w", q.Who, field.ErrSilent, err)
	}
}

// Collided says that an error of Ask was bytes without an answer among them: two devices that answer at once.
func Collided(err error) bool {
	var garbage *link.GarbageError
	return errors.As(err, &garbage)
}

// FirstPositive is the first of some times that is given.
func FirstPositive(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}
