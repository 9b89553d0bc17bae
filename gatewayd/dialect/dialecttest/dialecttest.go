// Package dialecttest is the contract of dialect.Dialect as a suite: every dialect runs it, and a new one has its own
// golden files beside it.
//
// It promises to hold a dialect against what the uplink and the buffer rely on. A caller may not assume that it knows
// the platform's words: what stands in a payload is for golden files.
package dialecttest

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/dialect"
)

// Config is the gateway that the suite builds dialects for: two devices, one with a slow group.
func Config() dialect.Config {
	return dialect.Config{
		Gateway: "sub042-gw1", Site: "Substation 42, bay 3", Version: "1.2.3", Epoch: 3, Since: 1763925200000,
		Groups: []*field.Group{
			{Device: "feeder-1", Name: field.MainGroup, Profile: "eastron-sdm630", Points: []field.Point{
				{Name: "voltage_l1", Kind: field.KindFloat32, Unit: "V"},
				{Name: "current_l1", Kind: field.KindFloat32, Unit: "A"},
			}},
			{Device: "feeder-1", Name: field.SlowGroup, Profile: "eastron-sdm630", Points: []field.Point{
				{Name: "energy", Kind: field.KindFloat64, Unit: "kWh"},
			}},
			{Device: "pump-1", Name: field.MainGroup, Points: []field.Point{
				{Name: "running", Kind: field.KindBool},
				{Name: "serial", Kind: field.KindString},
				{Name: "total", Kind: field.KindUint},
			}},
		},
	}
}

// Reading makes a record of the group with the values, all good.
func Reading(seq uint64, g *field.Group, values ...field.Value) field.Record {
	return field.Record{Seq: seq, At: field.Stamp{Wall: 1763925256123 + int64(seq)}, Group: g, Values: values}
}

// Wide gives n records of a device with tags float32 points, with short names.
func Wide(n, tags int) []field.Record {
	g := &field.Group{Device: "meter-1", Name: field.MainGroup}
	for i := range tags {
		g.Points = append(g.Points, field.Point{Name: fmt.Sprintf("t%02d", i), Kind: field.KindFloat32})
	}
	records := make([]field.Record, n)
	for i := range records {
		values := make([]field.Value, tags)
		for j := range values {
			values[j] = field.Float32(float32(math.Round(2300*math.Sin(float64(i+j)))) / 10)
		}
		records[i] = Reading(uint64(i+1), g, values...)
	}
	return records
}

// Run holds what open makes against the contract.
func Run(t *testing.T, open func(dialect.Config) (dialect.Dialect, error)) {
	t.Helper()
	d, err := open(Config())
	if err != nil {
		t.Fatalf("the suite's gateway: %v", err)
	}
	session, err := d.Session()
	if err != nil {
		t.Fatalf("Session: %v", err)
	}
	t.Run("session", func(t *testing.T) { sessionHolds(t, d, session) })
	t.Run("encode", func(t *testing.T) { encodeHolds(t, d, session) })
	t.Run("long batch", func(t *testing.T) { longBatch(t, d) })
	t.Run("payloads stay", func(t *testing.T) { payloadsStay(t, d) })
	t.Run("command", func(t *testing.T) { commandHolds(t, d, session) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, d) })
}

func sessionHolds(t *testing.T, d dialect.Dialect, s dialect.Session) {
	if s.ClientID == "" {
		t.Error("no client id: the broker could not keep our session")
	}
	up := append(append([]dialect.Message{}, s.Births...), s.Farewell...)
	if s.Will != nil {
		up = append(up, *s.Will)
	}
	for _, m := range up {
		checkMessage(t, m)
	}
	for _, f := range s.Subscribe {
		if f == "" {
			t.Error("an empty topic filter")
		}
	}
	again, err := d.Session()
	if err != nil {
		t.Fatalf("Session the second time: %v", err)
	}
	if fmt.Sprint(again.Births) != fmt.Sprint(s.Births) || again.ClientID != s.ClientID {
		t.Error("two sessions of one dialect differ: it keeps state")
	}
}

func batches() []dialect.Batch {
	groups := Config().Groups
	mixed := Reading(2, groups[0], field.Value{}, field.Float32(float32(math.NaN())))
	mixed.Quality = []field.Quality{field.Timeout, field.Good}
	return []dialect.Batch{
		{Class: field.Readings, Epoch: 3, Records: []field.Record{
			Reading(1, groups[0], field.Float32(230.2), field.Float32(-0.5)), mixed,
			Reading(3, groups[2], field.Bool(true), field.Text("a\"\x00\xff"), field.Uint(math.MaxUint64)),
		}},
		{Class: field.Readings, Epoch: 3, Backfill: true, Records: Wide(3, 10)},
		{Class: field.Events, Epoch: 3, Records: []field.Record{
			{Seq: 1, Event: &field.Event{Kind: "change", Subject: "pump-1/running", More: []field.Member{{Name: "value", Value: field.Bool(true)}}}},
		}},
		{Class: field.Replies, Epoch: 3, Records: []field.Record{{Seq: 1, Reply: []byte(`{"v":1,"id":"a"}`)}}},
	}
}

func encodeHolds(t *testing.T, d dialect.Dialect, s dialect.Session) {
	for _, b := range batches() {
		before := fmt.Sprint(b)
		msgs, err := d.Encode(b)
		if err != nil {
			t.Errorf("%s: %v", b.Class, err)
			continue
		}
		for _, m := range msgs {
			checkMessage(t, m)
			if m.Retained {
				t.Errorf("%s: %s is retained: a record is no state", b.Class, m.Topic)
			}
			if s.Delivery == dialect.ByPuback && m.QoS != 1 {
				t.Errorf("%s: %s has QoS %d: delivery by PUBACK needs 1", b.Class, m.Topic, m.QoS)
			}
		}
		if fmt.Sprint(b) != before {
			t.Errorf("%s: Encode changed the records", b.Class)
		}
		again, err := d.Encode(b)
		if err != nil || !same(msgs, again) {
			t.Errorf("%s: the same batch encodes otherwise the second time (%v)", b.Class, err)
		}
	}
	if msgs, err := d.Encode(dialect.Batch{Class: field.Readings}); err != nil || len(msgs) != 0 {
		t.Errorf("a batch without records makes %d messages, %v", len(msgs), err)
	}
}

func longBatch(t *testing.T, d dialect.Dialect) {
	msgs, err := d.Encode(dialect.Batch{Class: field.Readings, Epoch: 1, Records: Wide(400, 100)})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		checkMessage(t, m)
	}
}

func payloadsStay(t *testing.T, d dialect.Dialect) {
	all := batches()
	first, err := d.Encode(all[0])
	if err != nil {
		t.Fatal(err)
	}
	kept := make([][]byte, len(first))
	for i, m := range first {
		kept[i] = bytes.Clone(m.Payload)
	}
	for _, b := range all {
		if _, err := d.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range first {
		if !bytes.Equal(m.Payload, kept[i]) {
			t.Error("a payload changed under a later Encode: it may still be in flight")
		}
	}
}

func commandHolds(t *testing.T, d dialect.Dialect, s dialect.Session) {
	topics := append([]string{"nowhere"}, s.Subscribe...)
	payloads := []string{"", "{", "{}x", "\x00\xff", "a.b.c", "..", strings.Repeat("[", 200_000)}
	for _, topic := range topics {
		for _, p := range payloads {
			if _, err := d.Command(dialect.Message{Topic: topic, Payload: []byte(p)}); err == nil {
				t.Errorf("Command took %.10q on %s", p, topic)
			}
		}
	}
}

func concurrent(t *testing.T, d dialect.Dialect) {
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			var err error
			for deadline := time.Now().Add(20 * time.Millisecond); err == nil && time.Now().Before(deadline); {
				_, err = d.Encode(dialect.Batch{Class: field.Readings, Records: Wide(2, 10)})
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func checkMessage(t *testing.T, m dialect.Message) {
	t.Helper()
	if m.Topic == "" || strings.ContainsAny(m.Topic, "+# \x00") {
		t.Errorf("topic %q cannot be published to with every broker", m.Topic)
	}
	if len(m.Payload) > dialect.MaxPayload {
		t.Errorf("%s: a payload of %d bytes, %d are allowed", m.Topic, len(m.Payload), dialect.MaxPayload)
	}
	if m.QoS > 1 {
		t.Errorf("%s: QoS %d: 2 needs state across connections, which we do not keep", m.Topic, m.QoS)
	}
}

func same(a, b []dialect.Message) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Topic != b[i].Topic || a[i].Retained != b[i].Retained || a[i].QoS != b[i].QoS || !bytes.Equal(a[i].Payload, b[i].Payload) {
			return false
		}
	}
	return true
}
