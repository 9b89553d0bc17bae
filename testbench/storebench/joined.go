package storebench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"edgegateway/buffer"
)

// joined makes one block of ten readings a commit, as a deadline of a second does where ten readings come in it, until
// the store closes buckets of them, and waits until they are joined.
func joined(ctx context.Context, dir string, w io.Writer) error {
	folder := filepath.Join(dir, "joined")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	s, err := openStore(buffer.Options{Dir: folder, DurableFirst: true, CommitEvents: -1})
	if err != nil {
		return err
	}
	const n = 30000
	data := newReference()
	for range n {
		if err := s.Append(ctx, data.next()); err != nil {
			return err
		}
	}
	records, before := s.blocks()
	last := before
	for quiet := 0; quiet < 30; quiet++ {
		if err := pause(ctx, 1); err != nil {
			return err
		}
		if _, now := s.blocks(); now != last {
			last, quiet = now, 0
		}
	}
	table(w, "", "bytes of blocks", "a reading")
	row(w, "as the deadline sealed them, one record of ten readings each", fmt.Sprint(before), fmt.Sprintf("%.2f", float64(before)/float64(records*quantities)))
	row(w, "joined, but for the bucket that still grows", fmt.Sprint(last), fmt.Sprintf("%.2f", float64(last)/float64(records*quantities)))
	if got := s.drain(buffer.Backlog); got != n {
		return fmt.Errorf("%d of %d records came back", got, n)
	}
	return s.close()
}
