package buffer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
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

// rawLog is the yardstick: an append-only file, each block with its length before it, synced with fdatasync.
type rawLog struct {
	f *os.File
}

func (l *rawLog) commit(block []byte) error {
	if _, err := l.f.Write(append(binary.AppendUvarint(nil, uint64(len(block))), block...)); err != nil {
		return err
	}
	return syscall.Fdatasync(int(l.f.Fd()))
}

// plainDictionary is that of the yardstick.
type plainDictionary []*field.Group

func (d *plainDictionary) id(g *field.Group) uint32 {
	i := slices.Index(*d, g)
	if i < 0 {
		i = len(*d)
		*d = append(*d, g)
	}
	return uint32(i)
}

func median(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// BenchmarkBesideRawLog seals, syncs and drains blocks of 50 records (500 readings) through the store, through a bare
// Badger transaction of the same block, and through the raw log, in turns of one run, five times. Reported are medians
// and ratios: commits a second (store/raw, store/badger), the median commit's time (store/raw), drain in readings a
// second (store/raw), and bytes on disk a reading after the last round.
//
//	go test -run '^$' -bench BesideRawLog -benchtime 1x ./buffer
func BenchmarkBesideRawLog(b *testing.B) {
	const rounds, blocks, perBlock = 5, 200, 50
	readings := float64(blocks * perBlock * 10)
	records := reference(blocks * perBlock)
	for b.Loop() {
		var rawRate, badgerRate, storeRate, rawP50, storeP50, rawDrain, storeDrain, perReading []float64
		for range rounds {
			dir := b.TempDir()
			rate, p50, drain := benchRaw(b, filepath.Join(dir, "log"), records, perBlock)
			rawRate, rawP50, rawDrain = append(rawRate, rate), append(rawP50, p50), append(rawDrain, readings/drain)
			badgerRate = append(badgerRate, benchBadger(b, filepath.Join(dir, "badger"), records, perBlock))
			rate, p50, drain, bytes := benchStore(b, filepath.Join(dir, "store"), records, perBlock)
			storeRate, storeP50, storeDrain = append(storeRate, rate), append(storeP50, p50), append(storeDrain, readings/drain)
			perReading = append(perReading, bytes/readings)
		}
		b.ReportMetric(median(storeRate), "commits/s")
		b.ReportMetric(median(rawRate), "raw-commits/s")
		b.ReportMetric(median(storeRate)/median(rawRate), "commits/raw")
		b.ReportMetric(median(storeRate)/median(badgerRate), "commits/badger")
		b.ReportMetric(median(storeP50)/median(rawP50), "p50/raw")
		b.ReportMetric(median(storeDrain), "drained/s")
		b.ReportMetric(median(storeDrain)/median(rawDrain), "drain/raw")
		b.ReportMetric(median(perReading), "B/reading")
	}
}

// clocked runs n commits and gives how many there were a second and the median time of one, in seconds.
func clocked(b *testing.B, n int, commit func(i int) error) (rate, p50 float64) {
	b.Helper()
	times := make([]float64, n)
	begin := time.Now()
	for i := range times {
		t := time.Now()
		if err := commit(i); err != nil {
			b.Fatal(err)
		}
		times[i] = time.Since(t).Seconds()
	}
	return float64(n) / time.Since(begin).Seconds(), median(times)
}

func benchRaw(b *testing.B, name string, records []field.Record, perBlock int) (rate, p50, drain float64) {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	l := &rawLog{f: f}
	var d plainDictionary
	enc := field.NewBlockEncoder()
	numbered := slices.Clone(records)
	for i := range numbered {
		numbered[i].Seq = uint64(i + 1)
	}
	rate, p50 = clocked(b, len(records)/perBlock, func(i int) error {
		block, err := enc.Append(nil, numbered[i*perBlock:(i+1)*perBlock], d.id)
		if err != nil {
			return err
		}
		return l.commit(block)
	})
	begin := time.Now()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(f)
	dec := field.NewBlockDecoder()
	for n := 0; n < len(records); {
		size, err := binary.ReadUvarint(r)
		if err != nil {
			b.Fatal(err)
		}
		block := make([]byte, size)
		if _, err := io.ReadFull(r, block); err != nil {
			b.Fatal(err)
		}
		got, err := dec.Decode(block, func(id uint32) *field.Group { return d[id] })
		if err != nil {
			b.Fatal(err)
		}
		n += len(got)
	}
	return rate, p50, time.Since(begin).Seconds()
}

func benchBadger(b *testing.B, dir string, records []field.Record, perBlock int) float64 {
	f, err := openFlash(dir, newShapes(), testOptions("").Log)
	if err != nil {
		b.Fatal(err)
	}
	defer f.close()
	var d plainDictionary
	enc := field.NewBlockEncoder()
	numbered := slices.Clone(records)
	for i := range numbered {
		numbered[i].Seq = uint64(i + 1)
	}
	rate, _ := clocked(b, len(records)/perBlock, func(i int) error {
		block, err := enc.Append(nil, numbered[i*perBlock:(i+1)*perBlock], d.id)
		if err != nil {
			return err
		}
		return f.commit([]change{{blockKey(field.Readings, 1, uint64(i)), block}})
	})
	return rate
}

func benchStore(b *testing.B, dir string, records []field.Record, perBlock int) (rate, p50, drain, bytes float64) {
	tune := defaultTuning()
	tune.leaseLeast = 1 << 40
	s, err := open(testOptions(dir, "a"), tune)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { ctx, cancel := context.WithCancel(context.Background()); cancel(); s.Run(ctx) }()
	before := usage(dir)
	ctx := context.Background()
	rate, p50 = clocked(b, len(records)/perBlock, func(i int) error {
		if err := s.Append(ctx, records[i*perBlock:(i+1)*perBlock]...); err != nil {
			return err
		}
		if !s.seal(everything) {
			return fmt.Errorf("not sealed: %+v", s.Stats())
		}
		return nil
	})
	bytes = float64(usage(dir) - before)
	c, _ := s.Cursor("a")
	begin := time.Now()
	n := 0
	for {
		batch, ok := c.Next(Backlog, 200, 64<<10)
		if !ok {
			break
		}
		n += len(batch.Records)
		c.Ack(batch)
	}
	if n != len(records) {
		b.Fatalf("%d of %d records came back", n, len(records))
	}
	return rate, p50, time.Since(begin).Seconds(), bytes
}
