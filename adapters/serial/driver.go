package serial

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// Options are a line's settings; the zero value serves.
type Options struct {
	// Timeout for one answer of a device that does not state its own; 1 s by default.
	Timeout time.Duration
}

const defaultTimeout = time.Second

// Driver is the framed protocols of one line. It implements field.Driver and field.Listener.
type Driver struct {
	line    link.Line
	timeout time.Duration
	pushing []*Station // the devices that speak by themselves
	stray   time.Time  // until then the answer to a request that was given up may still come
}

// New makes a driver on a line. With a nil line it binds, and every exchange fails with field.ErrLine.
func New(line link.Line, o Options) *Driver {
	if line == nil {
		line = link.Replay(func([]byte) ([]byte, error) {
			return nil, &link.DownError{Line: "no line", Err: errors.New("the device was bound for checking only")}
		})
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Driver{line: line, timeout: o.Timeout}
}

// question is one request and what its answer holds.
type question struct {
	request []byte
	points  []*point
	pattern *regexp.Regexp // of the answer
	need    int            // bytes that the answer must have
}

// group is one group of a device's tags.
type group struct {
	shape     *field.Group
	points    []*point
	questions []*question
}

// Station is one device. It implements field.Station, field.Prober, field.Writer and field.Coster.
type Station struct {
	driver  *Driver
	speech  *speech
	address string
	timeout time.Duration
	groups  []*group
	shapes  []*field.Group
	byName  map[string]*point
}

// Bind checks a device, as field.Driver says. A device without a request speaks by itself: see Listen. The station is
// a *Station.
func (d *Driver) Bind(dev field.Device) (field.Station, error) {
	speech, faults := readSpeech(dev.Quirks, dev.Address)
	s := &Station{driver: d, speech: speech, address: dev.Address, timeout: d.timeout, byName: map[string]*point{}}
	if dev.Timeout > 0 {
		s.timeout = dev.Timeout
	}
	asked := speech.request != nil || slices.ContainsFunc(dev.Tags, func(t field.Tag) bool { return t.Extra["request"] != "" })
	if !asked {
		faults = append(faults, d.judgePushing(speech)...)
	}
	for _, name := range []string{field.MainGroup, field.SlowGroup} {
		g := &group{shape: &field.Group{Device: dev.Name, Name: name, Profile: dev.Profile}}
		for _, tag := range dev.Tags {
			if tag.Group == name || tag.Group == "" && name == field.MainGroup {
				faults = append(faults, s.bindTag(g, tag, asked)...)
			}
		}
		if len(g.points) > 0 {
			s.groups = append(s.groups, g)
			s.shapes = append(s.shapes, g.shape)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if !asked {
		d.pushing = append(d.pushing, s)
	}
	return s, nil
}

// judgePushing says what keeps a device that speaks by itself from being understood on this line.
func (d *Driver) judgePushing(s *speech) (faults []error) {
	if (s.kind == fixed || s.kind == counted) && s.start == nil && s.check.size == 0 {
		faults = append(faults, &field.DeviceError{Key: "frame", Value: kindNames[s.kind],
			Problem: "nothing tells where a frame of a device that speaks by itself begins", Hint: "give a start, or a checksum; or a request, if it is asked"})
	}
	if len(d.pushing) > 0 && !d.pushing[0].speech.framesLike(s) {
		faults = append(faults, &field.DeviceError{Key: "frame", Value: kindNames[s.kind],
			Problem: fmt.Sprintf("device %q speaks by itself on this line and frames otherwise", d.pushing[0].shapes[0].Device),
			Hint:    "give each a line of its own"})
	}
	return faults
}

func (s *Station) bindTag(g *group, tag field.Tag, asked bool) []error {
	p, faults := newPoint(tag, s.speech, s.address)
	fault := func(key, value, problem, hint string) {
		faults = append(faults, &field.TagError{Tag: tag.Name, Key: key, Value: value, Problem: problem, Hint: hint})
	}
	if s.byName[tag.Name] != nil {
		fault("name", tag.Name, "this device has two tags of that name", "give each a name of its own")
	}
	request := s.speech.request
	text, own := tag.Extra["request"]
	switch {
	case own:
		var err error
		if request, err = s.speech.spell(text, s.address, false); err != nil || len(request) == 0 {
			fault("request", text, "this is no request", bytesHint)
		}
	case asked && request == nil:
		fault("request", "", "the request that this tag is read with is missing", "give the device a request, or each tag one")
	}
	if tag.Write && p.writeOK == nil && request == nil {
		fault("write_ok", "", "the device is never asked, so that a write cannot be read back", "say what it confirms a write with")
	}
	if len(faults) > 0 {
		return faults
	}
	s.byName[tag.Name] = p
	p.slot = len(g.points)
	g.points = append(g.points, p)
	g.shape.Points = append(g.shape.Points, p.shape())
	same := func(q *question) bool {
		return string(q.request) == string(request) && textOf(q.pattern) == textOf(p.pattern)
	}
	i := slices.IndexFunc(g.questions, same)
	if i < 0 {
		i = len(g.questions)
		g.questions = append(g.questions, &question{request: request, pattern: p.pattern})
	}
	q := g.questions[i]
	q.points = append(q.points, p)
	q.need = max(q.need, p.need)
	return nil
}

func textOf(re *regexp.Regexp) string {
	if re == nil {
		return ""
	}
	return re.String()
}

// Pushes says that the device speaks by itself and is never asked.
func (s *Station) Pushes() bool {
	for _, g := range s.groups {
		for _, q := range g.questions {
			if q.request != nil {
				return false
			}
		}
	}
	return s.speech.request == nil
}

// Groups implements field.Station.
func (s *Station) Groups() []*field.Group { return s.shapes }

func (s *Station) group(name string) *group {
	for _, g := range s.groups {
		if g.shape.Name == name || name == "" && g.shape.Name == field.MainGroup {
			return g
		}
	}
	return nil
}

// Read implements field.Station. A device that speaks by itself is not asked: its tags have no value then.
func (s *Station) Read(ctx context.Context, name string) (field.Record, error) {
	g := s.group(name)
	if g == nil {
		return field.Record{}, fmt.Errorf("the device has no group %q", name)
	}
	r := g.record(field.Timeout)
	if s.Pushes() {
		return r, fmt.Errorf("%w: the device speaks by itself, and is not asked", field.ErrSilent)
	}
	answered := false
	var first error
	for i, q := range g.questions {
		if i > 0 {
			field.Pause(ctx)
		}
		frame, err := s.ask(ctx, q)
		switch {
		case err == nil:
			answered = true
			q.fill(s.speech, frame, &r)
			continue
		case errors.Is(err, field.ErrLine):
			return g.record(field.Offline), err
		case ctx.Err() != nil:
			return g.record(field.Timeout), ctx.Err()
		case first == nil:
			first = err
		}
		if !answered {
			break // a device that does not answer the first question is not asked the others
		}
	}
	if !answered {
		return g.record(field.Timeout), first
	}
	r.Quality = tidy(r.Quality)
	return r, nil
}

// record is a record in which every point has the quality and no value.
func (g *group) record(q field.Quality) field.Record {
	r := field.Record{Group: g.shape, Values: make([]field.Value, len(g.points)), Quality: make([]field.Quality, len(g.points))}
	for i := range r.Quality {
		r.Quality[i] = q
	}
	return r
}

// tidy gives nil for qualities that are all good.
func tidy(qs []field.Quality) []field.Quality {
	if slices.ContainsFunc(qs, func(q field.Quality) bool { return q != field.Good }) {
		return qs
	}
	return nil
}

// fill puts what a frame holds into a record.
func (q *question) fill(s *speech, frame []byte, r *field.Record) {
	content, _ := s.open(frame)
	var match [][]byte
	if q.pattern != nil {
		match = q.pattern.FindSubmatch(s.legible(content))
	}
	for _, p := range q.points {
		r.Values[p.slot], r.Quality[p.slot] = p.value(frame, content, match)
	}
}

// fits says whether a frame can be the answer; text is its content as a pattern sees it.
func (q *question) fits(text []byte, whole int) bool {
	return whole >= q.need && (q.pattern == nil || q.pattern.Match(text))
}

// ask sends a question and waits for its answer.
func (s *Station) ask(ctx context.Context, q *question) ([]byte, error) {
	return s.exchange(ctx, q.request, s.timeout, q.fits)
}

// exchange sends a request and waits for a frame that fits.
func (s *Station) exchange(ctx context.Context, request []byte, wait time.Duration, fits func(text []byte, whole int) bool) ([]byte, error) {
	d := s.driver
	if err := d.calm(ctx); err != nil {
		return nil, err
	}
	frame, err := d.listen(ctx, request, wait, s.speech, fits)
	if err == nil {
		return frame, nil
	}
	if !errors.Is(err, field.ErrLine) {
		d.stray = time.Now().Add(s.timeout)
	}
	return nil, err
}

// calm waits for an answer that may still come to a request that was given up, so that it is not taken for the next
// one's: these protocols do not say what they answer.
func (d *Driver) calm(ctx context.Context) error {
	wait := time.Until(d.stray)
	if wait <= 0 {
		return nil
	}
	_, err := d.line.Exchange(ctx, nil, wait, func(got []byte) ([]byte, int, int, error) { return nil, len(got), 1, nil })
	var down *link.DownError
	switch {
	case errors.As(err, &down):
		return fmt.Errorf("%w: %w", field.ErrLine, err)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	d.stray = time.Time{}
	return nil
}

// listen sends a request, or nothing, and waits for a frame that fits.
func (d *Driver) listen(ctx context.Context, request []byte, wait time.Duration, s *speech, fits func(text []byte, whole int) bool) ([]byte, error) {
	var rest []byte // of a device whose frames end with silence
	frame, err := d.line.Exchange(ctx, request, wait, func(got []byte) ([]byte, int, int, error) {
		own := 0
		if n := len(request); n > 0 && len(got) >= n && string(got[:n]) == string(request) {
			own = n // the line gives back what was sent
		} else if n > len(got) && string(request[:len(got)]) == string(got) {
			return nil, 0, n - len(got), nil
		}
		rest = got[own:]
		frame, skip, missing := s.find(got[own:], func(content []byte) bool { return fits(s.legible(content), len(content)+s.around()) })
		return frame, own + skip, missing, nil
	})
	var garbage *link.GarbageError
	var down *link.DownError
	switch {
	case err == nil:
		return frame, nil
	case errors.As(err, &down):
		return nil, fmt.Errorf("%w: %w", field.ErrLine, err)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &garbage) && s.kind == silent:
		if frame, ok := s.last(rest, fits); ok {
			return frame, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", field.ErrSilent, err)
}

// around is how many bytes of a frame are not among its content, at the least.
func (s *speech) around() int { return len(s.end) + s.sumSize() }

// last takes what came before the silence for a frame.
func (s *speech) last(rest []byte, fits func(text []byte, whole int) bool) ([]byte, bool) {
	at := s.begin(rest)
	if at < 0 || len(rest)-at > s.most {
		return nil, false
	}
	frame := rest[at:]
	content, sound := s.open(frame)
	return frame, sound && fits(s.legible(content), len(frame))
}

// Probe implements field.Prober: it asks the first question alone.
func (s *Station) Probe(ctx context.Context) error {
	if len(s.groups) == 0 || s.Pushes() {
		return fmt.Errorf("%w: the device is not asked for anything", field.ErrSilent)
	}
	_, err := s.ask(ctx, s.groups[0].questions[0])
	return err
}
