package storebench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

const (
	cyclesRun  = 20
	cycleLimit = 24 << 20
)

// cycles fills the store to its cap, drains it, and does so again, looking at the disk all the while.
func cycles(ctx context.Context, dir string, w io.Writer) error {
	folder := filepath.Join(dir, "cycles")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	s, err := openStore(buffer.Options{Dir: folder, Limit: cycleLimit, Commit: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	data := newReference()
	var most int64
	excess, emptied := 0.0, int64(0)
	look := func() {
		_, live := s.blocks()
		disk := onDisk(folder, "ballast")
		most = max(most, onDisk(folder))
		excess = max(excess, float64(disk)-1.2*float64(live))
	}
	var fills, drains []float64
	table(w, "cycle", "filled, readings a second", "drained, readings a second")
	for range cyclesRun {
		begin, n := time.Now(), 0
		lost := evicted(s)
		for evicted(s) == lost {
			if err := s.fill(ctx, data, 20000); err != nil {
				return err
			}
			n += 20000
			look()
		}
		fills = append(fills, float64(n*quantities)/time.Since(begin).Seconds())
		begin, n = time.Now(), 0
		c := s.cursor()
		for turn := 0; ; turn++ {
			b, ok := c.Next(buffer.Backlog, 200, 64<<10)
			if !ok {
				break
			}
			n += len(b.Records)
			c.Ack(b)
			if turn%200 == 0 {
				look()
			}
		}
		drains = append(drains, float64(n*quantities)/time.Since(begin).Seconds())
		s.drain(buffer.Events)
		if err := s.await(ctx, "emptying", func(st *buffer.Stats) bool { return st.BlockRecords == 0 && len(s.Backlog(0)) == 0 }); err != nil {
			return err
		}
		if err := pause(ctx, 12); err != nil { // the open bucket is freed with the next look after the house
			return err
		}
		emptied = max(emptied, onDisk(folder, "ballast"))
		i := len(fills) - 1
		row(w, fmt.Sprint(i+1), fmt.Sprintf("%.2f M", fills[i]/1e6), fmt.Sprintf("%.2f M", drains[i]/1e6))
	}
	fmt.Fprintln(w)
	table(w, "", "measured", "goal", "")
	row(w, "most that the folder took, ballast included", mib(most), "≤ its limit, "+mib(cycleLimit), judge(most <= cycleLimit))
	row(w, "disk beyond 1.2 × the live payload, at most", mib(int64(excess)), "≤ 16.0 MiB", judge(excess <= 16<<20))
	row(w, "left when emptied, at most, ballast apart", mib(emptied), "≤ 1.0 MiB", judge(emptied <= 1<<20))
	// One cycle alone may be disturbed by the machine: the ends are medians of five.
	n := len(fills)
	f, d := median(fills[n-5:])/median(fills[:5]), median(drains[n-5:])/median(drains[:5])
	row(w, "filling, last five cycles beside the first", fmt.Sprintf("%.2f", f), "≥ 0.90", judge(f >= 0.9))
	row(w, "draining, last five cycles beside the first", fmt.Sprintf("%.2f", d), "≥ 0.90", judge(d >= 0.9))
	return s.close()
}

func evicted(s *running) uint64 {
	st := s.Stats()
	return st.Destinations[0].Books[field.Readings].ByCause[buffer.Evicted]
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func pause(ctx context.Context, seconds int) error {
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
