// Package native is gatewayd's own dialect: JSON over MQTT 3.1.1, QoS 1, below one topic prefix.
//
//	{prefix}/state    retained  who is there, since when; the Will says the same with online = false
//	{prefix}/birth    retained  the devices and tags that data speaks of
//	{prefix}/data               batches of records
//	{prefix}/event              batches of events
//	{prefix}/reply              one answer to one command
//	{prefix}/command  down      one command
//
// It promises that the same batch always encodes to the same bytes, that every payload is valid JSON and at most
// dialect.MaxPayload bytes long (except a single record that is longer by itself), and that a payload once returned is
// never touched again. A caller may not assume that a record appears: one whose points are all absent says nothing,
// yet it is sent (with an empty "v"), because its sequence number would else look like a gap.
package native

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/dialect"
)

// Dialect speaks the native dialect for one gateway. It is safe for concurrent use.
type Dialect struct {
	config dialect.Config
	prefix string

	mu     sync.Mutex
	shapes map[*field.Group]*shape
	buf    []byte // the message under construction
	rec    []byte // the record under construction
}

// shape is a group with its names already written as JSON: names are the larger part of a payload and never change.
type shape struct {
	device []byte   // `"device":"feeder-1"`
	names  [][]byte // `"voltage_l1":`
}

// maxShapes bounds the cache, should a store ever hand out a new pointer for each record.
const maxShapes = 4096

// New makes the dialect for a gateway. It fails, in words for the installer, when the prefix or the client id cannot
// stand in MQTT, or when the platform's table has keys that this dialect does not know.
func New(c dialect.Config) (*Dialect, error) {
	if c.Gateway == "" {
		return nil, fmt.Errorf("the gateway has no name: set [gateway] name")
	}
	if len(c.Options) > 0 {
		keys := make([]string, 0, len(c.Options))
		for k := range c.Options {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return nil, fmt.Errorf("dialect native has no key %s: take it out, or choose the dialect that it belongs to", strings.Join(keys, ", "))
	}
	prefix := c.Prefix
	if prefix == "" {
		prefix = "gw/" + c.Gateway
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	return &Dialect{config: c, prefix: prefix, shapes: make(map[*field.Group]*shape)}, nil
}

// checkPrefix keeps to the characters that every broker takes: some close the connection over a space.
func checkPrefix(p string) error {
	for i := range len(p) {
		c := p[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-/", c) >= 0
		if !ok {
			return fmt.Errorf("prefix = %q: %q cannot stand in a topic: letters, digits, _ . - and / are allowed; set [platform] prefix", p, p[i:i+1])
		}
	}
	if strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.Contains(p, "//") {
		return fmt.Errorf("prefix = %q: a topic has no empty levels: take out the extra /", p)
	}
	return nil
}

// Encode turns a batch into messages on the topic of its class.
func (d *Dialect) Encode(b dialect.Batch) ([]dialect.Message, error) {
	if len(b.Records) == 0 {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch b.Class {
	case field.Replies:
		return d.replies(b), nil
	case field.Events:
		return d.events(b), nil
	case field.Readings:
		return d.readings(b), nil
	}
	return nil, fmt.Errorf("dialect native has no words for class %s", b.Class)
}

func (d *Dialect) replies(b dialect.Batch) []dialect.Message {
	msgs := make([]dialect.Message, 0, len(b.Records))
	for i := range b.Records {
		if r := b.Records[i].Reply; r != nil {
			msgs = append(msgs, d.message("/reply", bytes.Clone(r)))
		}
	}
	return msgs
}

func (d *Dialect) events(b dialect.Batch) []dialect.Message {
	d.buf = d.envelope(d.buf[:0], b.Epoch)
	d.buf = append(d.buf, `,"events":[`...)
	return d.pack("/event", b.Records, appendEvent)
}

func (d *Dialect) readings(b dialect.Batch) []dialect.Message {
	d.buf = d.envelope(d.buf[:0], b.Epoch)
	d.buf = append(d.buf, `,"backfill":`...)
	d.buf = strconv.AppendBool(d.buf, b.Backfill)
	d.buf = append(d.buf, `,"records":[`...)
	return d.pack("/data", b.Records, d.appendReading)
}

// envelope opens the object that every payload upwards is.
func (d *Dialect) envelope(to []byte, epoch uint32) []byte {
	to = append(to, `{"v":1,"gateway":`...)
	to = field.AppendJSONString(to, d.config.Gateway)
	to = append(to, `,"epoch":`...)
	return strconv.AppendUint(to, uint64(epoch), 10)
}

// pack fills messages whose opening stands in d.buf with records, and begins a new message where the next record
// would not fit. appendOne gives back what it got when a record is none of its own.
func (d *Dialect) pack(topic string, records []field.Record, appendOne func([]byte, *field.Record) []byte) []dialect.Message {
	const closing = "]}"
	var msgs []dialect.Message
	opening := len(d.buf)
	for i := range records {
		d.rec = appendOne(d.rec[:0], &records[i])
		if len(d.rec) == 0 {
			continue
		}
		if len(d.buf) > opening {
			if len(d.buf)+1+len(d.rec)+len(closing) > dialect.MaxPayload {
				msgs = append(msgs, d.message(topic, bytes.Clone(append(d.buf, closing...))))
				d.buf = d.buf[:opening]
			} else {
				d.buf = append(d.buf, ',')
			}
		}
		d.buf = append(d.buf, d.rec...)
	}
	if len(d.buf) > opening {
		msgs = append(msgs, d.message(topic, bytes.Clone(append(d.buf, closing...))))
	}
	return msgs
}

func (d *Dialect) message(topic string, payload []byte) dialect.Message {
	return dialect.Message{Topic: d.prefix + topic, Payload: payload, QoS: 1}
}

func (d *Dialect) appendReading(to []byte, r *field.Record) []byte {
	if r.Group == nil {
		return to
	}
	s := d.shape(r.Group)
	to = append(to, `{"seq":`...)
	to = strconv.AppendUint(to, r.Seq, 10)
	to = append(to, ',')
	to = append(to, s.device...)
	to = append(to, `,"t":`...)
	to = strconv.AppendInt(to, r.At.Wall, 10)
	to = append(to, `,"v":{`...)
	wrong := 0
	first := true
	for i, name := range s.names {
		q := quality(r, i)
		if q != field.Good {
			if q != field.Absent {
				wrong++
			}
			continue
		}
		if !first {
			to = append(to, ',')
		}
		first = false
		to = append(to, name...)
		to = r.Values[i].AppendJSON(to)
	}
	to = append(to, '}')
	if wrong > 0 {
		to = append(to, `,"q":{`...)
		for i, name := range s.names {
			q := quality(r, i)
			if q == field.Good || q == field.Absent {
				continue
			}
			to = append(to, name...)
			to = append(to, '"')
			to = append(to, q.String()...)
			to = append(to, '"', ',')
		}
		to[len(to)-1] = '}'
	}
	return append(appendTrust(to, r.At.Trust), '}')
}

// quality is the point's quality as the contract tells it: what JSON cannot write as a value is invalid.
func quality(r *field.Record, i int) field.Quality {
	if q := r.QualityOf(i); q != field.Good {
		return q
	}
	if v := r.Values[i]; v.IsNull() || !v.Finite() {
		return field.Invalid
	}
	return field.Good
}

func appendTrust(to []byte, t field.Trust) []byte {
	if t == field.Synchronised {
		return to
	}
	to = append(to, `,"tq":"`...)
	to = append(to, t.String()...)
	return append(to, '"')
}

func appendEvent(to []byte, r *field.Record) []byte {
	e := r.Event
	if e == nil {
		return to
	}
	to = append(to, `{"seq":`...)
	to = strconv.AppendUint(to, r.Seq, 10)
	to = append(to, `,"t":`...)
	to = strconv.AppendInt(to, r.At.Wall, 10)
	to = append(to, `,"kind":`...)
	to = field.AppendJSONString(to, e.Kind)
	if e.Subject != "" {
		to = append(to, `,"subject":`...)
		to = field.AppendJSONString(to, e.Subject)
	}
	if e.Text != "" {
		to = append(to, `,"text":`...)
		to = field.AppendJSONString(to, e.Text)
	}
	for _, m := range e.More {
		to = append(to, ',')
		to = field.AppendJSONString(to, m.Name)
		to = append(to, ':')
		to = m.Value.AppendJSON(to)
	}
	return append(appendTrust(to, r.At.Trust), '}')
}

func (d *Dialect) shape(g *field.Group) *shape {
	if s := d.shapes[g]; s != nil {
		return s
	}
	if len(d.shapes) >= maxShapes {
		clear(d.shapes)
	}
	s := &shape{
		device: field.AppendJSONString([]byte(`"device":`), g.Device),
		names:  make([][]byte, len(g.Points)),
	}
	for i, p := range g.Points {
		s.names[i] = append(field.AppendJSONString(nil, p.Name), ':')
	}
	d.shapes[g] = s
	return s
}
