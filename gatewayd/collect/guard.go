package collect

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// Write writes one value to one tag, now, if the tag's rules allow it: what it requires of other tags is read just
// before, its present value where a step is bounded, and with read-back what stands there afterwards. It waits for one
// request in progress, and nothing comes between its own. The value is sent once at most.
//
// Errors are those of field.Writer.Write and the context's, and field.ErrRefused when a rule forbids the write: nothing
// was sent. Whether the value is within the tag's limits, and who may write at all, is the caller's to judge.
func (l *Loop) Write(ctx context.Context, device, tag string, v field.Value) error {
	u, w, err := l.writer(device, tag)
	if err != nil {
		return err
	}
	return l.do(ctx, func(ctx context.Context) error {
		g := guard{loop: l, unit: u, tag: u.tag(tag), read: map[string]field.Record{}}
		if err := g.allows(ctx, v); err != nil {
			return err
		}
		err := w.Write(ctx, tag, v)
		l.learn(u, err)
		g.note(err)
		if err != nil || !g.tag.ReadBack {
			return err
		}
		return g.confirm(ctx, v)
	})
}

// Try says whether a write would be allowed now, as Write judges it; nothing is written.
func (l *Loop) Try(ctx context.Context, device, tag string, v field.Value) error {
	u, _, err := l.writer(device, tag)
	if err != nil {
		return err
	}
	return l.do(ctx, func(ctx context.Context) error {
		g := guard{loop: l, unit: u, tag: u.tag(tag), read: map[string]field.Record{}}
		return g.allows(ctx, v)
	})
}

// writer finds who writes a device's tag.
func (l *Loop) writer(device, tag string) (*unit, field.Writer, error) {
	u, err := l.unit(device)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := u.find(tag); err != nil {
		return nil, nil, err
	}
	w, ok := u.Station.(field.Writer)
	if !ok {
		return nil, nil, fmt.Errorf("%w: protocol %s writes nothing", field.ErrReadOnly, u.Protocol)
	}
	return u, w, nil
}

// tag is what the configuration says of a tag.
func (u *unit) tag(name string) field.Tag {
	if i := slices.IndexFunc(u.Tags, func(t field.Tag) bool { return t.Name == name }); i >= 0 {
		return u.Tags[i]
	}
	return field.Tag{Name: name}
}

// guard judges one write.
type guard struct {
	loop *Loop
	unit *unit
	tag  field.Tag
	read map[string]field.Record // groups, as they were read for this write
}

// refused is a rule's no.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", field.ErrRefused, fmt.Sprintf(format, args...))
}

// allows goes through the rules, the cheapest first.
func (g *guard) allows(ctx context.Context, v field.Value) error {
	limits := g.tag.Limits
	if limits != nil && limits.Every > 0 {
		if last, ok := g.unit.written[g.tag.Name]; ok {
			if left := last + limits.Every - g.loop.now(); left > 0 {
				return refused("%s was written a moment ago, and may be every %v: again in %v", g.tag.Name, limits.Every, left.Round(100*time.Millisecond))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.tag.Requires)) {
		want := g.tag.Requires[name]
		got, err := g.present(ctx, name)
		if err != nil {
			return refused("%s requires %s = %s, and that cannot be read: %v", g.tag.Name, name, want, err)
		}
		if !means(got, want) {
			return refused("%s requires %s = %s, and it is %s", g.tag.Name, name, want, got)
		}
	}
	if limits == nil || limits.Step <= 0 {
		return nil
	}
	now, err := g.present(ctx, g.tag.Name)
	if err != nil {
		return refused("a step of %s is %v at most, and its present value cannot be read: %v", g.tag.Name, limits.Step, err)
	}
	from, ok := now.Float()
	to, ok2 := v.Float()
	if step := math.Abs(to - from); !ok || !ok2 || step > limits.Step*(1+1e-9) {
		return refused("%s is %s: to %s is a step of %v, and %v is the most", g.tag.Name, now, v, field.Float64(step), limits.Step)
	}
	return nil
}

// means says that a value is what a rule names: its text, or the same number or truth value.
func means(got field.Value, want string) bool {
	if got.String() == want || got.Kind() == field.KindString && got.AsText() == want {
		return true
	}
	v, err := field.ParseValue(got.Kind(), want)
	return err == nil && v == got
}

// present reads a tag now; its group is read once for one write.
func (g *guard) present(ctx context.Context, name string) (field.Value, error) {
	plans, i, err := g.unit.find(name)
	if err != nil {
		return field.Value{}, err
	}
	group := plans[0].group.Name
	r, ok := g.read[group]
	if !ok {
		if r, err = g.unit.Station.Read(ctx, group); err != nil {
			return field.Value{}, err
		}
		g.read[group] = r
	}
	if q := r.QualityOf(i); q != field.Good {
		return field.Value{}, fmt.Errorf("it is %s", q)
	}
	return r.Values[i], nil
}

// note keeps when a tag was written, if it may have been.
func (g *guard) note(err error) {
	if err != nil && (isRefusal(err) || g.tag.Limits == nil) {
		return
	}
	if g.unit.written == nil {
		g.unit.written = map[string]time.Duration{}
	}
	g.unit.written[g.tag.Name] = g.loop.now()
}

// confirm reads back what was written.
func (g *guard) confirm(ctx context.Context, v field.Value) error {
	clear(g.read)
	got, err := g.present(ctx, g.tag.Name)
	if err != nil {
		return fmt.Errorf("the device confirmed the write, but %s cannot be read back: %w", g.tag.Name, err)
	}
	if !same(got, v, g.tag.Scale) {
		return fmt.Errorf("the device confirmed the write, but %s reads back %s instead of %s", g.tag.Name, got, v)
	}
	return nil
}

// same says that a value came back as it was written, rounded to the tag's steps.
func same(got, want field.Value, scale float64) bool {
	a, ok := got.Float()
	b, ok2 := want.Float()
	if !ok || !ok2 {
		return got == want
	}
	return math.Abs(a-b) <= max(0.51*math.Abs(scale), 1e-6*math.Abs(b))
}
