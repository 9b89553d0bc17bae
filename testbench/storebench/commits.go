package storebench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
	slice      = 20   // of one engine before the next has its share
)

// commits puts 500 readings a block through every engine, in turns.
func commits(ctx context.Context, dir string, w io.Writer) error {
	records := newReference().take(commitsRun * perBlock)
	all := map[string][]figures{}
	names := []string{"gatewayd's store"}
	for _, y := range yardsticks {
		names = append(names, y.name)
	}
	for n := range turns {
		var candidates []*candidate
		folder := filepath.Join(dir, fmt.Sprint("commits-", n))
		for i, name := range names {
			own := filepath.Join(folder, fmt.Sprint(i))
			if err := os.MkdirAll(own, 0o700); err != nil {
				return err
			}
			var c *candidate
			var err error
			if i == 0 {
				c, err = candidateStore(ctx, own, records)
			} else {
				c, err = candidateEngine(own, yardsticks[i-1].open, records)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			candidates = append(candidates, c)
		}
		figures, err := turn(candidates)
		if err != nil {
			return err
		}
		for i, f := range figures {
			all[names[i]] = append(all[names[i]], f)
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
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
	for _, name := range []string{"bare Badger, value log in memory", "bbolt", "Pebble"} {
		row(w, "commits, of "+name+"'s", fmt.Sprintf("%.2f", mid(self, rate)/mid(name, rate)), "", "")
		row(w, "drain, of "+name+"'s", fmt.Sprintf("%.2f", mid(self, drain)/mid(name, drain)), "", "")
	}
	return nil
}

// candidate is one engine in the middle of a turn.
type candidate struct {
	commit func(i int) error
	finish func() (figures, error) // closes it, drains it, and tells all but the times
	times  []float64
}

// turn lets every engine commit the same blocks, some of one and then some of the next, so that whatever else goes on in
// the machine hits all of them.
func turn(candidates []*candidate) ([]figures, error) {
	for from := 0; from < commitsRun; from += slice {
		for _, c := range candidates {
			for i := from; i < from+slice; i++ {
				at := time.Now()
				if err := c.commit(i); err != nil {
					return nil, err
				}
				c.times = append(c.times, time.Since(at).Seconds())
			}
		}
	}
	var all []figures
	for _, c := range candidates {
		f, err := c.finish()
		if err != nil {
			return nil, err
		}
		sum := 0.0
		for _, t := range c.times {
			sum += t
		}
		f.rate, f.p50 = float64(len(c.times))/sum, median(c.times)
		all = append(all, f)
	}
	return all, nil
}

func candidateEngine(dir string, open func(string) (engine, error), records []field.Record) (*candidate, error) {
	e, err := open(dir)
	if err != nil {
		return nil, err
	}
	var d dictionary
	enc, dec := field.NewBlockEncoder(), field.NewBlockDecoder()
	numbered := slices.Clone(records)
	for i := range numbered {
		numbered[i].Seq = uint64(i + 1)
	}
	return &candidate{
		commit: func(i int) error {
			block, err := enc.Append(nil, numbered[i*perBlock:(i+1)*perBlock], d.id)
			if err != nil {
				return err
			}
			return e.commit(uint64(i), block)
		},
		finish: func() (f figures, err error) {
			runtime.GC() // what committing left is not the drain's
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
		},
	}, nil
}

func candidateStore(ctx context.Context, dir string, records []field.Record) (*candidate, error) {
	s, err := openStore(buffer.Options{Dir: dir, DurableFirst: true, CommitEvents: -1})
	if err != nil {
		return nil, err
	}
	return &candidate{
		commit: func(i int) error { return s.Append(ctx, records[i*perBlock:(i+1)*perBlock]...) },
		finish: func() (f figures, err error) {
			// Drained from flash, not from what it has just read.
			if err := s.close(); err != nil {
				return f, err
			}
			f.bytes = float64(onDisk(dir, "ballast")) / float64(len(records)*quantities)
			if s, err = openStore(buffer.Options{Dir: dir}); err != nil {
				return f, err
			}
			runtime.GC()
			begin := time.Now()
			n := s.drain(buffer.Backlog)
			f.drain = float64(n*quantities) / time.Since(begin).Seconds()
			if n != len(records) {
				return f, fmt.Errorf("%d of %d records came back", n, len(records))
			}
			return f, s.close()
		},
	}, nil
}
