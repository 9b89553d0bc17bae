package storebench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// figures are what one engine showed in one turn.
type figures struct {
	rate, p50 float64 // commits a second; the median time of one, in seconds
	drain     float64 // readings a second
	bytes     float64 // on disk, a reading
}

const (
	turns      = 5
	commitsRun = 1000 // commits in a turn
)

// commits puts 500 readings a block through every engine, in turns.
func commits(ctx context.Context, dir string, w io.Writer) error {
	records := newReference().take(commitsRun * perBlock)
	all := map[string][]figures{}
	names := []string{"gatewayd's store"}
	for _, y := range yardsticks {
		names = append(names, y.name)
	}
	for turn := range turns {
		for i, name := range names {
			folder := filepath.Join(dir, fmt.Sprintf("commits-%d-%d", turn, i))
			if err := os.Mkdir(folder, 0o700); err != nil {
				return err
			}
			f, err := figures{}, error(nil)
			if i == 0 {
				f, err = measureStore(ctx, folder, records)
			} else {
				f, err = measureEngine(folder, yardsticks[i-1].open, records)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			all[name] = append(all[name], f)
			if err := os.RemoveAll(folder); err != nil {
				return err
			}
		}
	}
	mid := func(name string, of func(figures) float64) float64 {
		var xs []float64
		for _, f := range all[name] {
			xs = append(xs, of(f))
		}
		return median(xs)
	}
	rate := func(f figures) float64 { return f.rate }
	p50 := func(f figures) float64 { return f.p50 }
	drain := func(f figures) float64 { return f.drain }
	bytes := func(f figures) float64 { return f.bytes }
	table(w, "engine", "commits a second", "p50 of a commit", "drained readings a second", "bytes on disk a reading")
	for _, name := range names {
		row(w, name, fmt.Sprintf("%.0f", mid(name, rate)), time.Duration(mid(name, p50)*1e9).Round(time.Microsecond).String(),
			fmt.Sprintf("%.2f M", mid(name, drain)/1e6), fmt.Sprintf("%.2f", mid(name, bytes)))
	}
	fmt.Fprintf(w, "\nMedians of %d turns of %d commits of %d readings each.\n\n", turns, commitsRun, perBlock*quantities)
	table(w, "store beside", "measured", "goal", "")
	goal := func(what string, got float64, sign string, want float64) {
		ok := sign == "≥" && got >= want || sign == "≤" && got <= want
		row(w, what, fmt.Sprintf("%.2f", got), fmt.Sprintf("%s %.2f", sign, want), judge(ok))
	}
	self := names[0]
	goal("commits, of the raw log's", mid(self, rate)/mid("raw log", rate), "≥", 0.6)
	goal("p50 of a commit, of the raw log's", mid(self, p50)/mid("raw log", p50), "≤", 1.5)
	goal("drain, of the raw log's", mid(self, drain)/mid("raw log", drain), "≥", 0.45)
	goal("Append, of a bare Badger transaction's rate", mid(self, rate)/mid("bare Badger", rate), "≥", 0.85)
	goal("bytes on disk a reading", mid(self, bytes), "≤", 3.0)
	for _, name := range []string{"bbolt", "Pebble"} {
		row(w, "commits, of "+name+"'s", fmt.Sprintf("%.2f", mid(self, rate)/mid(name, rate)), "", "")
		row(w, "drain, of "+name+"'s", fmt.Sprintf("%.2f", mid(self, drain)/mid(name, drain)), "", "")
	}
	return nil
}

// clocked runs n commits.
func clocked(n int, commit func(i int) error) (rate, p50 float64, err error) {
	times := make([]float64, n)
	begin := time.Now()
	for i := range times {
		at := time.Now()
		if err := commit(i); err != nil {
			return 0, 0, err
		}
		times[i] = time.Since(at).Seconds()
	}
	return float64(n) / time.Since(begin).Seconds(), median(times), nil
}

func measureEngine(dir string, open func(string) (engine, error), records []field.Record) (f figures, err error) {
	e, err := open(dir)
	if err != nil {
		return f, err
	}
	var d dictionary
	enc, dec := field.NewBlockEncoder(), field.NewBlockDecoder()
	numbered := slices.Clone(records)
	for i := range numbered {
		numbered[i].Seq = uint64(i + 1)
	}
	f.rate, f.p50, err = clocked(len(records)/perBlock, func(i int) error {
		block, err := enc.Append(nil, numbered[i*perBlock:(i+1)*perBlock], d.id)
		if err != nil {
			return err
		}
		return e.commit(uint64(i), block)
	})
	if err != nil {
		return f, err
	}
	begin, n := time.Now(), 0
	err = e.drain(func(block []byte) error {
		got, err := dec.Decode(block, d.group)
		n += len(got)
		return err
	})
	f.drain = float64(n*quantities) / time.Since(begin).Seconds()
	if err == nil && n != len(records) {
		err = fmt.Errorf("%d of %d records came back", n, len(records))
	}
	if e := e.close(); err == nil {
		err = e
	}
	f.bytes = float64(onDisk(dir)) / float64(n*quantities)
	return f, err
}

func measureStore(ctx context.Context, dir string, records []field.Record) (f figures, err error) {
	s, err := openStore(buffer.Options{Dir: dir, DurableFirst: true, CommitEvents: -1})
	if err != nil {
		return f, err
	}
	f.rate, f.p50, err = clocked(len(records)/perBlock, func(i int) error {
		return s.Append(ctx, records[i*perBlock:(i+1)*perBlock]...)
	})
	if err != nil {
		return f, err
	}
	// As the others, it is measured closed; and it is drained from flash, not from what it has just read.
	if err := s.close(); err != nil {
		return f, err
	}
	f.bytes = float64(onDisk(dir, "ballast")) / float64(len(records)*quantities)
	if s, err = openStore(buffer.Options{Dir: dir}); err != nil {
		return f, err
	}
	begin := time.Now()
	n := s.drain(buffer.Backlog)
	f.drain = float64(n*quantities) / time.Since(begin).Seconds()
	if n != len(records) {
		return f, fmt.Errorf("%d of %d records came back", n, len(records))
	}
	return f, s.close()
}
