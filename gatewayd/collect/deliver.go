package collect

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// deliver tells what a read, or its failure, yielded: to who watches, and to the sink what is new of it.
func (l *Loop) deliver(p *plan, r field.Record, now time.Duration) {
	l.enter(p, r, now)
	l.watchers.tell(r)
	l.post(p.changes(r))
	if out, ok := p.readings(r, now); ok {
		l.one[0] = out
		l.hand(l.ctx, l.one[:])
	}
}

// hand gives records to the sink. A refusal is logged once for each change of mind.
func (l *Loop) hand(ctx context.Context, records []field.Record) {
	err := l.o.Sink(ctx, records...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.book.refusal = ""
		return
	}
	l.book.refused += uint64(len(records))
	if text := err.Error(); text != l.book.refusal {
		l.book.refusal = text
		l.o.Log.Error("records could not be stored and are lost", "records", len(records), "error", err)
	}
}

// happen logs an event and sends it.
func (l *Loop) happen(level slog.Level, at field.Stamp, kind, subject, text string) {
	l.o.Log.Log(l.ctx, level, text, "event", kind)
	l.post([]field.Record{{At: at, Event: &field.Event{Kind: kind, Subject: subject, Text: text}}})
}

// post sends events without waiting for their commit.
func (l *Loop) post(events []field.Record) {
	if len(events) == 0 {
		return
	}
	for _, e := range events {
		l.watchers.tell(e)
	}
	l.out <- events
}

// outbox holds events on their way to the sink, in order. It is bounded: when a commit takes so long that it is full,
// the line waits, and nothing is lost.
type outbox chan []field.Record

// fullCall is how many events one call of the sink is given, about.
const fullCall = 256

func newOutbox() outbox { return make(outbox, 128) }

// run hands on what is put in, until the outbox is closed and empty. What came during one commit goes with the next.
func (o outbox) run(hand func([]field.Record)) {
	for events := range o {
	more:
		for len(events) < fullCall {
			select {
			case next, ok := <-o:
				if !ok {
					break more
				}
				events = append(events, next...)
			default:
				break more
			}
		}
		hand(events)
	}
}

// rules are the deadbands of a plan's readings, and what was told last.
type rules struct {
	bands []Deadband
	bound []bool // whether the point is under only_changes at all
	told  []told
	fresh []bool // which points of the record at hand are to be told
}

type told struct {
	value   field.Value
	quality field.Quality
	at      time.Duration
}

// eventTag is one tag of class "event", and what was told of it last.
type eventTag struct {
	index   int
	subject string
	band    Deadband
	known   bool        // something was told
	value   field.Value // null when the last change was to a bad quality
}

// rule is the deadband of a tag, and whether it has one.
func (d *Device) rule(tag string) (Deadband, bool) {
	if band, ok := d.OnlyChanges[tag]; ok {
		return band, true
	}
	band, ok := d.OnlyChanges[""]
	return band, ok
}

// shapeUp parts a group into its readings and its event tags.
func (p *plan) shapeUp() {
	d := &p.unit.Device
	isEvent := make(map[string]bool)
	for i := range d.Tags {
		isEvent[d.Tags[i].Name] = d.Tags[i].Event
	}
	var pick []int
	var points []field.Point
	for i, point := range p.group.Points {
		band, _ := d.rule(point.Name)
		if isEvent[point.Name] {
			p.events = append(p.events, eventTag{index: i, subject: d.Name + "/" + point.Name, band: band})
			continue
		}
		pick, points = append(pick, i), append(points, point)
	}
	switch {
	case len(p.events) == 0:
		p.shape = p.group
	case len(points) > 0:
		shape := *p.group
		shape.Points = points
		p.shape, p.pick = &shape, pick
	}
	if p.heard {
		p.next = make([]time.Duration, len(points))
	}
	if d.OnlyChanges == nil || p.shape == nil {
		return
	}
	n := len(points)
	p.rules = &rules{bands: make([]Deadband, n), bound: make([]bool, n), told: make([]told, n), fresh: make([]bool, n)}
	for i, point := range points {
		p.rules.bands[i], p.rules.bound[i] = d.rule(point.Name)
		p.rules.told[i].quality = field.Absent
	}
}

// changes makes an event of each event tag that changed, in the order of the tags. The first value after the start is
// told as a change without "was", so that the platform knows where things stand. A change to a bad quality is one too:
// its value is null, "q" and the text say why, and the value that comes after it has null for its "was".
func (p *plan) changes(r field.Record) []field.Record {
	var out []field.Record
	for i := range p.events {
		e := &p.events[i]
		v, q := r.Values[e.index], r.QualityOf(e.index)
		if q == field.Absent {
			continue // the record does not speak of it
		}
		if q != field.Good {
			v = field.Value{}
		}
		if !e.known && v.IsNull() || e.known && !moved(e.value, v, e.band) {
			continue
		}
		event := &field.Event{Kind: "change", Subject: e.subject, More: []field.Member{{Name: "value", Value: v}}}
		if e.known {
			event.More = append(event.More, field.Member{Name: "was", Value: e.value})
		}
		if v.IsNull() {
			event.More = append(event.More, field.Member{Name: "q", Value: field.Text(q.String())})
			event.Text = fmt.Sprintf("%s is not known any more: %s", e.subject, q)
		}
		e.known, e.value = true, v
		out = append(out, field.Record{At: r.At, Event: event})
	}
	return out
}

// readings is the part of a record that goes to the sink, and whether there is any: no event tags, and under
// only_changes what has moved, changed its quality, or was not told for the time of a heartbeat. A record that goes out
// whole is not copied.
func (p *plan) readings(r field.Record, now time.Duration) (field.Record, bool) {
	if p.shape == nil {
		return r, false
	}
	if p.pick != nil {
		whole := r
		r.Group, r.Values, r.Quality = p.shape, make([]field.Value, len(p.pick)), nil
		if whole.Quality != nil {
			r.Quality = make([]field.Quality, len(p.pick))
		}
		for i, from := range p.pick {
			r.Values[i] = whole.Values[from]
			if whole.Quality != nil {
				r.Quality[i] = whole.Quality[from]
			}
		}
	}
	if p.heard {
		r = p.thin(r, now)
	}
	if p.rules == nil {
		return r, r.Readings() > 0
	}
	fresh := 0
	for i := range r.Values {
		if p.rules.fresh[i] = p.fresh(i, r.Values[i], r.QualityOf(i), now); p.rules.fresh[i] {
			p.rules.told[i] = told{r.Values[i], r.QualityOf(i), now}
			fresh++
		}
	}
	if fresh == 0 || fresh == len(r.Values) {
		return r, fresh > 0
	}
	quality := make([]field.Quality, len(r.Values))
	copy(quality, r.Quality)
	r.Values, r.Quality = slices.Clone(r.Values), quality
	for i, fresh := range p.rules.fresh {
		if !fresh {
			r.Values[i], r.Quality[i] = field.Value{}, field.Absent
		}
	}
	return r, true
}

// fresh says whether a point is to be told. Half a period is the best that a heartbeat can be kept to.
func (p *plan) fresh(i int, v field.Value, q field.Quality, now time.Duration) bool {
	if q == field.Absent {
		return false
	}
	last := &p.rules.told[i]
	return !p.rules.bound[i] || q != last.quality || now-last.at+p.period/2 >= p.unit.Heartbeat || moved(last.value, v, p.rules.bands[i])
}

// moved says whether a value has left the deadband around the one that was told. What is no number has none.
func moved(from, to field.Value, band Deadband) bool {
	if from == to {
		return false
	}
	a, ok := from.Float()
	b, ok2 := to.Float()
	if !ok || !ok2 || from.Kind() == field.KindBool {
		return true
	}
	size := band.Absolute
	if band.Percent > 0 {
		size = band.Percent / 100 * max(a, -a)
	}
	return max(b-a, a-b) >= size
}
