package storebench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/testbench/volume"
)

const (
	flashCommits = 500
	flashTurns   = 3
	stateSettles = 30 * time.Second // until sequence numbers are leased for half an hour
	stateLasts   = 30 * time.Second
)

// flash measures what reaches a device: of an ext4 of its own, so that nobody else writes to it.
func flash(ctx context.Context, dir string, w io.Writer) error {
	if !volume.Inside() {
		return volume.Within(ctx, w, "bench", "buffer", "--only", "flash", "--bare")
	}
	var raws, stores []float64
	records := newReference().take(flashCommits * perBlock)
	for turn := range flashTurns {
		raw, err := onVolume(dir, fmt.Sprint("raw", turn), func(folder string) error {
			e, err := openRaw(folder)
			if err != nil {
				return err
			}
			var d dictionary
			enc := field.NewBlockEncoder()
			numbered := slices.Clone(records)
			for i := range numbered {
				numbered[i].Seq = uint64(i + 1)
			}
			for i := range flashCommits {
				block, err := enc.Append(nil, numbered[i*perBlock:(i+1)*perBlock], d.id)
				if err == nil {
					err = e.commit(uint64(i), block)
				}
				if err != nil {
					return err
				}
			}
			return e.close()
		})
		if err != nil {
			return err
		}
		store, err := onVolume(dir, fmt.Sprint("store", turn), func(folder string) error {
			s, err := openStore(buffer.Options{Dir: folder, DurableFirst: true, CommitEvents: -1})
			if err != nil {
				return err
			}
			for i := range flashCommits {
				if err := s.Append(ctx, records[i*perBlock:(i+1)*perBlock]...); err != nil {
					return err
				}
			}
			return s.close()
		})
		if err != nil {
			return err
		}
		raws, stores = append(raws, float64(raw)), append(stores, float64(store))
	}
	raw, store := median(raws), median(stores)
	table(w, fmt.Sprintf("%d commits of %d readings", flashCommits, perBlock*quantities), "bytes to the device", "a commit")
	row(w, "raw log", mib(int64(raw)), fmt.Sprintf("%.1f KiB", raw/flashCommits/1024))
	row(w, "gatewayd's store, opened and closed", mib(int64(store)), fmt.Sprintf("%.1f KiB", store/flashCommits/1024))
	fmt.Fprintf(w, "\nThe store writes %.2f of the raw log's bytes (goal ≤ 1.25): %s\n\n", store/raw, judge(store/raw <= 1.25))

	table(w, "state, at 1,000 readings a second", "bytes to the device a reading", "a day")
	for _, st := range []struct {
		name     string
		o        buffer.Options
		backlog  int  // readings that wait when it begins
		consumes bool // somebody takes and acknowledges at once
	}{
		{name: "link up", consumes: true},
		{name: "outage, commit 1 s"},
		{name: "outage, commit 10 s", o: buffer.Options{Commit: 10 * time.Second}},
		{name: "draining a backlog of 2 million", backlog: 2e6, consumes: true},
		{name: "link up, durable_first", o: buffer.Options{DurableFirst: true}, consumes: true},
		{name: "outage, durable_first", o: buffer.Options{DurableFirst: true}},
	} {
		bytes, readings, err := state(ctx, dir, st.name, st.o, st.backlog, st.consumes)
		if err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		row(w, st.name, fmt.Sprintf("%.1f", float64(bytes)/float64(readings)),
			mib(int64(float64(bytes)/stateLasts.Seconds()*86400)))
	}
	return nil
}

// onVolume runs something in a folder of a fresh volume, and tells what that wrote to the device, all of it flushed.
func onVolume(dir, name string, do func(folder string) error) (int64, error) {
	v, err := freshVolume(dir, name)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	before, err := v.Written()
	if err == nil {
		err = do(v.Dir)
	}
	if err != nil {
		return 0, err
	}
	return since(v, before)
}

func freshVolume(dir, name string) (*volume.Volume, error) {
	folder := filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	return volume.New(folder, 1<<30)
}

// since flushes the volume and tells what was written.
func since(v *volume.Volume, before int64) (int64, error) {
	if err := v.Sync(); err != nil {
		return 0, err
	}
	n, err := v.Written()
	return n - before, err
}

// state appends a thousand readings a second for a while, in ten portions, and tells what reached the device.
func state(ctx context.Context, dir, name string, o buffer.Options, backlog int, consumes bool) (bytes int64, readings int, err error) {
	v, err := freshVolume(dir, "state-"+strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' {
			return '-' // the kernel lists mounts with spaces in a notation of its own
		}
		return r
	}, name))
	if err != nil {
		return 0, 0, err
	}
	defer v.Close()
	o.Dir = filepath.Join(v.Dir, "buffer")
	s, err := openStore(o)
	if err != nil {
		return 0, 0, err
	}
	data := newReference()
	if err := s.fill(ctx, data, backlog/quantities); err != nil {
		return 0, 0, err
	}
	var before int64
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	c := s.cursor()
	settles := stateSettles
	if backlog > 0 {
		settles = 0 // it is gone after a while
	}
	begin := time.Now()
	for measured := false; time.Since(begin) < settles+stateLasts; {
		if !measured && time.Since(begin) > settles {
			measured, readings = true, 0
			if before, err = since(v, 0); err != nil {
				return 0, 0, err
			}
		}
		if err := s.Append(ctx, data.take(10)...); err != nil {
			return 0, 0, err
		}
		readings += 10 * quantities
		for _, lane := range []buffer.Lane{buffer.Events, buffer.Live} {
			if consumes {
				s.drain(lane)
			}
		}
		for range 20 { // about a hundred thousand readings a second of the backlog
			if !consumes {
				break
			}
			if b, ok := c.Next(buffer.Backlog, 50, 64<<10); ok {
				c.Ack(b)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	bytes, err = since(v, before)
	if err != nil {
		return 0, 0, err
	}
	return bytes, readings, s.close()
}
