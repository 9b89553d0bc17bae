package collect

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// station is a scripted device. Its requests take virtual time; what it is and does may be changed between reads.
type station struct {
	name     string
	groups   []*field.Group
	cost     time.Duration // of one request that is answered
	timeout  time.Duration // of one that is not
	requests int           // in one read, with a pause between them

	mu      sync.Mutex
	err     error // of every request, nil for an answer
	values  map[string]field.Value
	quality map[string]field.Quality
	starts  []time.Duration // of reads, since the rig's beginning
	written []field.Value
	rig     *rig
}

func (s *station) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *station) put(tag string, v field.Value, q field.Quality) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[tag], s.quality[tag] = v, q
}

func (s *station) reads() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.starts)
}

func (s *station) Groups() []*field.Group { return s.groups }

func (s *station) request(ctx context.Context) error {
	s.rig.enter(s.name)
	defer s.rig.leave()
	s.mu.Lock()
	err, takes := s.err, s.cost
	s.mu.Unlock()
	if err != nil {
		takes = s.timeout
	}
	t := time.NewTimer(takes)
	defer t.Stop()
	select {
	case <-t.C:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *station) Read(ctx context.Context, group string) (field.Record, error) {
	s.mu.Lock()
	s.starts = append(s.starts, s.rig.since())
	s.mu.Unlock()
	for i := range max(s.requests, 1) {
		if i > 0 {
			field.Pause(ctx)
		}
		if err := s.request(ctx); err != nil {
			return field.Record{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if g.Name != group {
			continue
		}
		r := field.Record{Group: g}
		for i, p := range g.Points {
			v, ok := s.values[p.Name]
			if q := s.quality[p.Name]; q != field.Good {
				if r.Quality == nil {
					r.Quality = make([]field.Quality, len(g.Points))
				}
				r.Quality[i], v, ok = q, field.Value{}, true
			}
			if !ok {
				v = field.Int(int64(len(s.starts)))
			}
			r.Values = append(r.Values, v)
		}
		return r, nil
	}
	return field.Record{}, fmt.Errorf("no group %q", group)
}

func (s *station) Write(ctx context.Context, _ string, v field.Value) error {
	if err := s.request(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, v)
	return nil
}

// prober is a station that can be probed.
type prober struct {
	*station
	probes []time.Duration
}

func (p *prober) Probe(ctx context.Context) error {
	p.mu.Lock()
	p.probes = append(p.probes, p.rig.since())
	p.mu.Unlock()
	return p.request(ctx)
}

// rig is one loop with what it is made of, and what came out of it.
type rig struct {
	t       *testing.T
	loop    *Loop
	begin   time.Time
	options Options
	stop    context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	records []field.Record
	commit  time.Duration // how long the sink takes for events
	skew    time.Duration // of the wall clock
	busy    string        // the station that is on the wire
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, begin: time.Now(), ended: make(chan struct{})}
	r.options = Options{Line: "rs485-1", Sink: r.sink, Stamp: r.stamp}
	return r
}

func (r *rig) since() time.Duration { return time.Since(r.begin) }

func (r *rig) enter(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy != "" {
		r.t.Errorf("%s was asked while %s was on the wire", name, r.busy)
	}
	r.busy = name
}

func (r *rig) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = ""
}

func (r *rig) stamp() field.Stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	return field.Stamp{Wall: time.Now().Add(r.skew).UnixMilli(), Mono: r.since().Milliseconds(), Boot: 1}
}

func (r *rig) sink(ctx context.Context, records ...field.Record) error {
	r.mu.Lock()
	commit := r.commit
	r.mu.Unlock()
	if records[0].Class() == field.Events && commit > 0 {
		t := time.NewTimer(commit)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, records...)
	return nil
}

// device adds a device with the given tags; "tag!" is an event tag.
func (r *rig) device(name string, every time.Duration, tags ...string) (*Device, *station) {
	d := Device{Device: field.Device{Name: name, Line: r.options.Line, Address: name}, Every: every}
	g := &field.Group{Device: name, Name: field.MainGroup}
	if len(tags) == 0 {
		tags = []string{"level"}
	}
	for _, tag := range tags {
		event := tag[len(tag)-1] == '!'
		if event {
			tag = tag[:len(tag)-1]
		}
		d.Tags = append(d.Tags, field.Tag{Name: tag, Event: event})
		g.Points = append(g.Points, field.Point{Name: tag, Kind: field.KindInt})
	}
	s := &station{
		name: name, groups: []*field.Group{g}, cost: 20 * time.Millisecond, timeout: time.Second, rig: r,
		values: map[string]field.Value{}, quality: map[string]field.Quality{},
	}
	d.Station = s
	r.options.Devices = append(r.options.Devices, d)
	return &r.options.Devices[len(r.options.Devices)-1], s
}

// run starts the loop; the test ends it, or its end does.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.stop = cancel
	r.loop = New(r.options)
	go func() {
		defer close(r.ended)
		if err := r.loop.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}()
	r.t.Cleanup(r.halt)
}

func (r *rig) halt() {
	r.stop()
	<-r.ended
}

// taken gives the records that came out so far, of one class, and forgets them all.
func (r *rig) taken(class field.Class) []field.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []field.Record
	for _, rec := range r.records {
		if rec.Class() == class {
			out = append(out, rec)
		}
	}
	r.records = nil
	return out
}

// happened lists events as "kind subject".
func happened(events []field.Record) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Event.Kind+" "+e.Event.Subject)
	}
	return out
}

func of(records []field.Record, device string) []field.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r field.Record) bool { return r.Group.Device != device })
}

// words prints readings as a test reads them: "level=3 flow:timeout", absent ones left out.
func words(r field.Record) string {
	s := ""
	for i, p := range r.Group.Points {
		switch q := r.QualityOf(i); q {
		case field.Absent:
			continue
		case field.Good:
			s += " " + p.Name + "=" + r.Values[i].String()
		default:
			s += " " + p.Name + ":" + q.String()
		}
	}
	if s == "" {
		return s
	}
	return s[1:]
}

// p95 is the 95th percentile of the intervals between moments, by nearest rank.
func p95(moments []time.Duration) time.Duration {
	var intervals []time.Duration
	for i := 1; i < len(moments); i++ {
		intervals = append(intervals, moments[i]-moments[i-1])
	}
	slices.Sort(intervals)
	return intervals[(len(intervals)*95+99)/100-1]
}
