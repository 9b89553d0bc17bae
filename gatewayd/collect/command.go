package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
)

// errEnded is what a command gets from a loop that has ended.
var errEnded = errors.New("the line is given up: the daemon stops, or its configuration was changed")

// call is a command on its way into the loop.
type call struct {
	ctx  context.Context
	do   func(context.Context) error
	err  error
	done chan struct{}
}

// Read reads a device once, now: the group that holds the tag, of which the record then holds that tag alone, or all
// groups where tag is "". It waits for one request in progress. Nothing of it goes to the sink.
//
// The records are there with an error also, and their qualities say why there are no values. Errors are those of
// field.Station.Read, field.ErrUnknownTag, and the context's.
func (l *Loop) Read(ctx context.Context, device, tag string) ([]field.Record, error) {
	u, err := l.unit(device)
	if err != nil {
		return nil, err
	}
	plans, index, err := u.find(tag)
	if err != nil {
		return nil, err
	}
	var records []field.Record
	err = l.do(ctx, func(ctx context.Context) error {
		var failures []error
		for _, p := range plans {
			r, err := u.Station.Read(ctx, p.group.Name)
			r.At = l.o.Stamp()
			l.learn(u, err)
			if r.Group != nil {
				records = append(records, r)
			}
			if err != nil {
				failures = append(failures, err)
				break // what is silent would be silent again
			}
		}
		return errors.Join(failures...)
	})
	if index >= 0 {
		for i := range records {
			records[i] = single(records[i], index)
		}
	}
	return records, err
}

// Use has f called from the loop's goroutine, between two requests, so that f may speak to the device's station by
// interfaces that the loop does not know. Errors are f's own, the context's, and that there is no such device.
func (l *Loop) Use(ctx context.Context, device string, f func(context.Context) error) error {
	u, err := l.unit(device)
	if err != nil {
		return err
	}
	return l.do(ctx, func(ctx context.Context) error {
		err := f(ctx)
		l.learn(u, err)
		return err
	})
}

// Finish has Run return after the read that is under way, so that nothing which was answered is thrown away. It waits
// for one request in progress, not for Run. The error is the context's; a loop that has ended already is none.
func (l *Loop) Finish(ctx context.Context) error {
	err := l.do(ctx, func(context.Context) error {
		l.leaving = true
		return nil
	})
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// do has the loop call f between two requests, and waits until it has. When it returns an error of the context's before
// f was called, f never is.
func (l *Loop) do(ctx context.Context, f func(context.Context) error) error {
	return l.pass(ctx, l.calls, f)
}

// pass is do by way of one of the loop's channels.
func (l *Loop) pass(ctx context.Context, to chan<- *call, f func(context.Context) error) error {
	c := &call{ctx: ctx, do: f, done: make(chan struct{})}
	select {
	case to <- c:
	case <-ctx.Done():
		return fmt.Errorf("line %s is busy: %w", l.o.Line, ctx.Err())
	case <-l.done:
		return fmt.Errorf("line %s: %w", l.o.Line, errEnded)
	}
	<-c.done
	return c.err
}

// perform runs a command; it ends when its caller gives up or the loop is asked to end.
func (l *Loop) perform(ctx context.Context, c *call) {
	l.served++
	both, cancel := context.WithCancel(c.ctx)
	stop := context.AfterFunc(ctx, cancel)
	start := l.now()
	c.err = c.do(field.WithAwait(both, l.await))
	now := l.now()
	stop()
	cancel()
	l.mu.Lock()
	l.book.commands++
	l.occupy(now, now-start)
	l.mu.Unlock()
	close(c.done)
}

// learn takes a command's outcome as a sign of life where it is one. That it failed counts against nobody: the next read
// will see.
func (l *Loop) learn(u *unit, err error) {
	if err == nil || isRefusal(err) {
		now, at := l.now(), l.o.Stamp()
		l.lineWorks(now, at)
		l.answered(u, now, at)
	}
}

// isRefusal says that a device answered, and refused.
func isRefusal(err error) bool {
	var refused *field.ExceptionError
	return errors.As(err, &refused)
}

func (l *Loop) unit(name string) (*unit, error) {
	if u, ok := l.byName[name]; ok {
		return u, nil
	}
	names := make([]string, len(l.units))
	for i, u := range l.units {
		names[i] = u.Name
	}
	return nil, fmt.Errorf("line %s has no device %q; it has: %s", l.o.Line, name, strings.Join(names, ", "))
}

// find gives the plan that holds a tag, and the tag's place in it; every plan and -1 for "".
func (u *unit) find(tag string) (plans []*plan, index int, err error) {
	if tag == "" {
		return u.plans, -1, nil
	}
	var names []string
	for _, p := range u.plans {
		for i, point := range p.group.Points {
			if point.Name == tag {
				return []*plan{p}, i, nil
			}
			names = append(names, point.Name)
		}
	}
	return nil, 0, fmt.Errorf("%w: device %q has no tag %q; it has: %s", field.ErrUnknownTag, u.Name, tag, strings.Join(names, ", "))
}

// single is the part of a record that one tag is.
func single(r field.Record, i int) field.Record {
	g := *r.Group
	g.Points = g.Points[i : i+1]
	r.Group, r.Values = &g, r.Values[i:i+1]
	if r.Quality != nil {
		r.Quality = r.Quality[i : i+1]
	}
	return r
}
