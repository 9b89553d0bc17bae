package native

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/dialect"
	"edgegateway/gatewayd/dialect/dialecttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestContract(t *testing.T) {
	dialecttest.Run(t, func(c dialect.Config) (dialect.Dialect, error) { return New(c) })
}

func newDialect(t testing.TB, c dialect.Config) *Dialect {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGolden(t *testing.T) {
	c := dialecttest.Config()
	feeder, pump := c.Groups[0], c.Groups[2]
	session, err := newDialect(t, c).Session()
	if err != nil {
		t.Fatal(err)
	}

	timeout := dialecttest.Reading(1042, feeder, field.Float32(230.2), field.Value{})
	timeout.Quality = []field.Quality{field.Good, field.Timeout}
	timeout.At.Trust = field.Estimated
	offline := dialecttest.Reading(7, feeder, field.Value{}, field.Value{})
	offline.Quality = []field.Quality{field.Offline, field.Offline}
	silent := dialecttest.Reading(8, feeder, field.Value{}, field.Float32(1.5))
	silent.Quality = []field.Quality{field.Absent, field.Good}
	silent.At.Trust = field.Corrected

	readings := func(backfill bool, r ...field.Record) dialect.Batch {
		return dialect.Batch{Class: field.Readings, Epoch: 3, Backfill: backfill, Records: r}
	}
	event := func(seq uint64, e field.Event) field.Record {
		return field.Record{Seq: seq, At: field.Stamp{Wall: 1763925256123}, Event: &e}
	}
	cases := map[string]dialect.Batch{
		"readings":       readings(false, dialecttest.Reading(1, feeder, field.Float32(230.2), field.Float32(1.25)), dialecttest.Reading(2, pump, field.Bool(true), field.Text("A-7\n\"x\""), field.Uint(12))),
		"backfill":       readings(true, dialecttest.Reading(1, feeder, field.Float32(0.1), field.Float32(1e-9))),
		"quality":        readings(false, timeout, offline, silent),
		"not-finite":     readings(false, dialecttest.Reading(1, feeder, field.Float32(float32(math.NaN())), field.Float32(float32(math.Inf(-1))))),
		"large-integers": readings(false, dialecttest.Reading(1, pump, field.Bool(false), field.Text(""), field.Uint(1<<53)), dialecttest.Reading(2, pump, field.Bool(false), field.Text("\xff"), field.Uint(1<<53+1))),
		"events": {Class: field.Events, Epoch: 3, Records: []field.Record{
			event(1, field.Event{Kind: "change", Subject: "pump-1/running", More: []field.Member{{Name: "value", Value: field.Bool(true)}, {Name: "was", Value: field.Bool(false)}}}),
			event(2, field.Event{Kind: "loss", Text: "4 records were too old", More: []field.Member{{Name: "cause", Value: field.Text("expired")}, {Name: "from_seq", Value: field.Uint(10)}, {Name: "to_seq", Value: field.Uint(13)}, {Name: "count", Value: field.Uint(4)}}}),
		}},
		"replies": {Class: field.Replies, Epoch: 3, Records: []field.Record{
			{Seq: 1, Reply: []byte(`{"v":1,"id":"a","code":"ok"}`)}, {Seq: 2, Reply: []byte(`{"v":1,"id":"b","code":"busy"}`)},
		}},
	}
	for name, batch := range cases {
		t.Run(name, func(t *testing.T) {
			msgs, err := newDialect(t, c).Encode(batch)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, msgs)
		})
	}
	t.Run("session", func(t *testing.T) {
		golden(t, "session", append([]dialect.Message{*session.Will}, session.Births...))
	})
}

// golden compares messages with testdata/<name>/messages, and every payload with JSON.
func golden(t *testing.T, name string, msgs []dialect.Message) {
	t.Helper()
	var got bytes.Buffer
	for _, m := range msgs {
		if !json.Valid(m.Payload) {
			t.Errorf("no JSON: %s", m.Payload)
		}
		fmt.Fprintf(&got, "%s qos=%d retained=%t\n%s\n", m.Topic, m.QoS, m.Retained, m.Payload)
	}
	file := filepath.Join("testdata", name, "messages")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs (-update writes it anew)\ngot:\n%swant:\n%s", file, got.Bytes(), want)
	}
}

// TestSplit: a batch of any length loses no record and keeps their order.
func TestSplit(t *testing.T) {
	d := newDialect(t, dialecttest.Config())
	records := dialecttest.Wide(500, 100)
	msgs, err := d.Encode(dialect.Batch{Class: field.Readings, Epoch: 3, Records: records})
	if err != nil {
		t.Fatal(err)
	}
	if len(msgs) < 2 {
		t.Fatalf("%d messages: the case splits nothing", len(msgs))
	}
	next := uint64(1)
	for i, m := range msgs {
		var data struct {
			Records []struct {
				Seq uint64
				V   map[string]float64
			}
		}
		if err := json.Unmarshal(m.Payload, &data); err != nil {
			t.Fatal(err)
		}
		for _, r := range data.Records {
			if r.Seq != next || len(r.V) != 100 {
				t.Fatalf("message %d: seq %d with %d values, want seq %d with 100", i, r.Seq, len(r.V), next)
			}
			next++
		}
	}
	if next != 501 {
		t.Errorf("%d records arrived, want 500", next-1)
	}
}

// TestOneLongRecord: a record beyond the limit leaves alone, because half a record has no sequence number.
func TestOneLongRecord(t *testing.T) {
	d := newDialect(t, dialecttest.Config())
	g := dialecttest.Config().Groups[2]
	long := dialecttest.Reading(2, g, field.Bool(true), field.Text(strings.Repeat("x", dialect.MaxPayload)), field.Uint(1))
	short := func(seq uint64) field.Record {
		return dialecttest.Reading(seq, g, field.Bool(true), field.Text("x"), field.Uint(1))
	}
	msgs, err := d.Encode(dialect.Batch{Class: field.Readings, Records: []field.Record{short(1), long, short(3)}})
	if err != nil || len(msgs) != 3 {
		t.Fatalf("%d messages, %v; want 3", len(msgs), err)
	}
}

// TestLongBirth: a gateway with very many tags tells of them in parts, and each tag once.
func TestLongBirth(t *testing.T) {
	c := dialecttest.Config()
	c.Groups = nil
	for i := range 30 {
		c.Groups = append(c.Groups, &field.Group{Device: "device-" + strconv.Itoa(i), Name: field.MainGroup, Points: dialecttest.Wide(1, 200)[0].Group.Points})
	}
	session, err := newDialect(t, c).Session()
	if err != nil {
		t.Fatal(err)
	}
	tags := 0
	births := session.Births[1:]
	for i, m := range births {
		if len(m.Payload) > dialect.MaxPayload {
			t.Errorf("part %d has %d bytes", i+1, len(m.Payload))
		}
		var birth struct {
			Part, Parts int
			Devices     []struct {
				Device string
				Tags   []struct{ Tag, Type, Group string }
			}
		}
		if err := json.Unmarshal(m.Payload, &birth); err != nil {
			t.Fatal(err)
		}
		if birth.Part != i+1 || birth.Parts != len(births) {
			t.Errorf("part %d of %d says that it is %d of %d", i+1, len(births), birth.Part, birth.Parts)
		}
		for _, d := range birth.Devices {
			tags += len(d.Tags)
		}
	}
	if len(births) < 2 || tags != 6000 {
		t.Errorf("%d parts with %d tags, want several with 6000", len(births), tags)
	}
}

// TestBytesPerReading holds the limit: 20 MQTT bytes for a reading.
func TestBytesPerReading(t *testing.T) {
	d := newDialect(t, dialecttest.Config())
	records := dialecttest.Wide(10, 100)
	msgs, err := d.Encode(dialect.Batch{Class: field.Readings, Epoch: 3, Records: records})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, m := range msgs {
		total += len(m.Payload) + len(m.Topic) + 7 // fixed header of up to 3 bytes, topic length, packet id
	}
	per := float64(total) / 1000
	t.Logf("%.1f bytes a reading", per)
	if per > 20 {
		t.Errorf("%.1f MQTT bytes a reading, want at most 20", per)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*dialect.Config){
		"no name":          func(c *dialect.Config) { c.Gateway = "" },
		"space in name":    func(c *dialect.Config) { c.Gateway = "bay 3" },
		"wildcard":         func(c *dialect.Config) { c.Prefix = "a/+/b" },
		"empty level":      func(c *dialect.Config) { c.Prefix = "a//b" },
		"slash at the end": func(c *dialect.Config) { c.Prefix = "a/" },
		"foreign key":      func(c *dialect.Config) { c.Options = map[string]string{"group": "x"} },
	} {
		c := dialecttest.Config()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	c := dialecttest.Config()
	c.Gateway, c.Prefix, c.Client = "bay 3", "site/bay-3", "box"
	session, err := newDialect(t, c).Session()
	if err != nil || session.ClientID != "box" || session.Will.Topic != "site/bay-3/state" {
		t.Errorf("client %q, will on %q, %v", session.ClientID, session.Will.Topic, err)
	}
}

func TestCommand(t *testing.T) {
	d := newDialect(t, dialecttest.Config())
	const text = `{"v":1,"id":"01JD","gateway":"sub042-gw1","verb":"write","args":{"value":42.5},"issued":1763925256123,"expires":1763925286123}`
	jws := "eyJhbGciOiJFZERTQSJ9." + base64.RawURLEncoding.EncodeToString([]byte(text)) + ".c2ln"
	for name, payload := range map[string]string{"plain": " " + text + "\n", "jws": jws} {
		r, err := d.Command(dialect.Message{Topic: "gw/sub042-gw1/command", Payload: []byte(payload)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.ID != "01JD" || r.Verb != "write" || r.Expires != 1763925286123 || string(r.Args) != `{"value":42.5}` {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzCommand(f *testing.F) {
	d, err := New(dialecttest.Config())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte("e30.e30.e30"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := d.Command(dialect.Message{Topic: "gw/sub042-gw1/command", Payload: payload})
		if err == nil && r.Args != nil && !json.Valid(r.Args) {
			t.Errorf("args are no JSON: %q", r.Args)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	d := newDialect(b, dialecttest.Config())
	batch := dialect.Batch{Class: field.Readings, Records: dialecttest.Wide(10, 100)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Encode(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/reading")
}
