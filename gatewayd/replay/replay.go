// Package replay keeps how far Bluetooth devices have numbered their encrypted messages, over restarts: what was recorded
// on the air before one is refused after it, as it is without.
//
// The numbers stand in one small file, which is replaced whole, and spares the flash: it is written ten minutes after a
// number rose, at a clean stop, and never while all is as it was. So a crash or a power cut leaves a window: what was
// recorded in the ten minutes before it is believed once more, until the device itself is heard again. A caller may not
// assume more, nor that a damaged file holds anything: the numbers begin anew then, and the log says so.
package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"edgegateway/adapters/ble"
	"edgegateway/gatewayd/durable"
)

// every is how often the file is written at most.
const every = 10 * time.Minute

// count is how far one device has come in one format.
type count struct {
	Device string `json:"device"`
	Format string `json:"format"`
	Seal   string `json:"seal"` // what the numbers belong to: see ble.Series
	Last   uint32 `json:"last"`
}

// name is what there is one count of.
type name struct{ device, format string }

// content is the file's. Counts is never nil in one that was written whole.
type content struct {
	Counts []count `json:"counts"`
}

// Book is the account of all devices. It implements ble.Counters and may be used from any goroutine.
type Book struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	counts  map[name]count
	changed bool   // since the file was written
	said    string // why it could not be
}

// Open reads the file; it need not be there. Nothing is written before Run.
func Open(path string, log *slog.Logger) *Book {
	b := &Book{path: path, log: log, counts: map[name]count{}}
	c, err := read(path)
	if err != nil {
		log.Warn("the numbers of encrypted bluetooth messages cannot be read and begin anew: one that was recorded is believed, until its device is heard",
			"file", path, "error", err)
	}
	for _, c := range c.Counts {
		b.counts[name{c.Device, c.Format}] = c
	}
	return b
}

func read(path string) (content, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return content{}, nil
	}
	if err != nil {
		return content{}, err
	}
	var c content
	if err = json.Unmarshal(text, &c); err == nil && c.Counts == nil {
		err = errors.New("it holds no list of numbers")
	}
	if err != nil {
		return content{}, err
	}
	return c, nil
}

// Last implements ble.Counters.
func (b *Book) Last(s ble.Series) (n uint32, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.counts[name{s.Device, s.Format}]
	return c.Last, ok && c.Seal == s.Seal
}

// Note implements ble.Counters. A device has one series in a format: another seal takes the place of the one before.
func (b *Book) Note(s ble.Series, n uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, c := name{s.Device, s.Format}, count{s.Device, s.Format, s.Seal, n}
	if b.counts[at] != c {
		b.counts[at], b.changed = c, true
	}
}

// Forget forgets the devices that are not among those configured.
func (b *Book) Forget(configured func(device string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.counts)
	maps.DeleteFunc(b.counts, func(n name, _ count) bool { return !configured(n.device) })
	b.changed = b.changed || len(b.counts) != before
}

// Run writes what has changed, every ten minutes and at the end; it returns nil when ctx ends.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.save()
			return nil
		case <-tick.C:
			b.save()
		}
	}
}

// save writes the file if anything has changed. What hinders it is logged once, and it is tried again.
func (b *Book) save() {
	text, changed := b.take()
	if !changed {
		return
	}
	err := durable.WriteFile(b.path, text, 0o600)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.said = ""
		return
	}
	b.changed = true
	if err.Error() != b.said {
		b.said = err.Error()
		b.log.Warn("the numbers of encrypted bluetooth messages cannot be kept: after a restart one that was recorded is believed, until its device is heard",
			"error", err, "hint", "the state folder must be writable")
	}
}

// take gives the file's new content, if anything has changed.
func (b *Book) take() (text []byte, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.changed {
		return nil, false
	}
	counts := slices.AppendSeq([]count{}, maps.Values(b.counts))
	slices.SortFunc(counts, func(a, b count) int {
		return cmp.Or(strings.Compare(a.Device, b.Device), strings.Compare(a.Format, b.Format))
	})
	text, err := json.Marshal(content{counts})
	b.changed = err != nil // it is a list of texts and numbers: there is none
	return append(text, '\n'), err == nil
}
