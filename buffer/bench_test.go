package buffer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// reference makes the reference data: smooth meter data, 20 meters with 10 quantities each, one record a meter and
// second, every value a float32 that walks at random in steps of 0.01, at most five at a time. Seeded, so always the
// same.
func reference(records int) []field.Record {
	r := rand.New(rand.NewPCG(7, 8))
	var groups [20]*field.Group
	var walk [20][10]int
	for m := range walk {
		g := &field.Group{Device: fmt.Sprint("meter-", m), Name: field.MainGroup}
		for p := range walk[m] {
			g.Points = append(g.Points, field.Point{Name: fmt.Sprint("quantity-", p), Kind: field.KindFloat32})
			walk[m][p] = 10000 + r.IntN(15000)
		}
		groups[m] = g
	}
	rs := make([]field.Record, records)
	for i := range rs {
		m, at := i%len(walk), int64(i/len(walk))*1000
		rs[i] = field.Record{At: field.Stamp{Wall: wall + at + int64(m*37), Mono: at + int64(m*37), Boot: 3}, Group: groups[m]}
		for p := range walk[m] {
			walk[m][p] += r.IntN(11) - 5
			rs[i].Values = append(rs[i].Values, field.Float32(float32(walk[m][p])/100))
		}
	}
	return rs
}

// BenchmarkAppend takes a record of ten readings into memory, has it offered and acknowledges it: the way of all
// records while the link is up.
func BenchmarkAppend(b *testing.B) {
	o := testOptions(b.TempDir(), "a")
	o.Commit = time.Hour
	tune := defaultTuning()
	tune.leaseLeast = 1 << 40
	s, err := open(o, tune)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { ctx, cancel := context.WithCancel(context.Background()); cancel(); s.Run(ctx) }()
	c, _ := s.Cursor("a")
	rec := reference(1)[0]
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Append(ctx, rec); err != nil {
			b.Fatal(err)
		}
		batch, _ := c.Next(Live, 1, 1<<16)
		c.Ack(batch)
	}
}
