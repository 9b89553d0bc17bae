package storebench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// running is a store at work.
type running struct {
	*buffer.Store
	stop   context.CancelFunc
	done   chan error
	memory string // a folder in memory; "" where there is none
}

// platform is the destination that everything is owed to.
const platform = "platform"

func openStore(o buffer.Options) (*running, error) {
	o.Destinations = []string{platform}
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	memory, err := os.MkdirTemp("/dev/shm", "gatewayd-bench-")
	if err == nil {
		o.Scratch = filepath.Join(memory, "buffer") // as the service has it below /run
	}
	s, err := buffer.Open(o)
	if err == nil && !s.Stats().Durable {
		err = fmt.Errorf("the store is not usable: %s", s.Stats().Trouble)
	}
	if err != nil {
		os.RemoveAll(memory)
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{s, stop, make(chan error, 1), memory}
	go func() { r.done <- s.Run(ctx) }()
	return r, nil
}

func (r *running) close() error {
	r.stop()
	defer os.RemoveAll(r.memory)
	return <-r.done
}

func (r *running) cursor() *buffer.Cursor {
	c, err := r.Cursor(platform)
	if err != nil {
		panic(err) // it stands in the options
	}
	return c
}

// drain takes and acknowledges whatever waits in a lane, and counts the records.
func (r *running) drain(lane buffer.Lane) int {
	c, n := r.cursor(), 0
	for {
		b, ok := c.Next(lane, 200, 64<<10)
		if !ok {
			return n
		}
		n += len(b.Records)
		c.Ack(b)
	}
}

// blocks sums what waits on flash: the readings' records and their bytes as encoded.
func (r *running) blocks() (records uint64, bytes int64) {
	for _, w := range r.Backlog(0) {
		if w.Where == "flash" && w.Class == field.Readings.String() {
			records, bytes = records+w.Records, bytes+w.Bytes
		}
	}
	return records, bytes
}

// fill puts n records of the reference data on flash, in large commits, each synced.
func (r *running) fill(ctx context.Context, data *reference, n int) error {
	const chunk = 5000
	for n > 0 {
		k := min(n, chunk)
		if err := r.Append(ctx, data.take(k)...); err != nil {
			return err
		}
		n -= k
		if err := r.await(ctx, "sealing", func(st *buffer.Stats) bool { return st.HeadRecords < chunk }); err != nil {
			return err
		}
	}
	return r.await(ctx, "sealing", func(st *buffer.Stats) bool { return st.HeadRecords == 0 })
}

func (r *running) await(ctx context.Context, what string, ok func(*buffer.Stats) bool) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		st := r.Stats()
		if ok(&st) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within 2 min: %+v", what, st)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
