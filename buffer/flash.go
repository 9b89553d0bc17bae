package buffer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"edgegateway/adapters/field"
)

// The keys. Integers are big endian, so that keys sort as the numbers do. Readings sort first, and what is small last:
// a compaction of what is new then touches few of the old tables.
//
//	b rank(1) bucket(4) end(8)   a block: header, then field's block; end is the position behind its last record, so
//	                             that seeking a position finds the block that holds it. The largest end is the summary.
//	c number(1) class(1)         a destination's cursor
//	d id(4)                      a group's shape
//	l ordinal(8)                 a ledger entry, as JSON
//	m                            epoch and destinations, as JSON
//	s class(1)                   next bucket and chain
const summaryEnd = math.MaxUint64

func bucketKey(c field.Class, id uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{'b', byte(field.Readings - c)}, id)
}

func blockKey(c field.Class, id uint32, end uint64) []byte {
	return binary.BigEndian.AppendUint64(bucketKey(c, id), end)
}

func cursorKey(number uint8, c field.Class) []byte { return []byte{'c', number, byte(c)} }
func shapeKey(id uint32) []byte                    { return binary.BigEndian.AppendUint32([]byte{'d'}, id) }
func ledgerKey(ordinal uint64) []byte              { return binary.BigEndian.AppendUint64([]byte{'l'}, ordinal) }
func streamKey(c field.Class) []byte               { return []byte{'s', byte(c)} }

var metaKey = []byte{'m'}

// The sizes of Badger's parts. Everything small: what it maps is address space that a 32-bit box does not have, and
// what it buffers is memory. The value threshold is the largest that is allowed, so nothing ever goes to the value
// log, which would need collecting, and which keeps less than it says after a power cut.
//
// BlockSize is larger than any two values. On 32 bits ristretto's allocator starts over at its beginning when its
// first buffer is full, and Badger then builds tables that cannot be read back. That buffer has room for two tables; with
// blocks that never grow, and are filled by more than half, a table needs less than two.
const (
	memTable   = 1 << 20
	txnBytes   = memTable * 15 / 100 // Badger's own bound of a transaction
	sealBytes  = 96 << 10            // rough size of what one transaction seals; the rest of txnBytes is slack
	blockBytes = 48 << 10            // rough size of one block's records
)

func badgerOptions(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = &badgerLog{log: log}
	o.SyncWrites = true
	o.MemTableSize = memTable
	o.NumMemtables = 2
	o.NumLevelZeroTables = 2
	o.NumLevelZeroTablesStall = 4
	o.BaseTableSize = 2 << 20
	o.BaseLevelSize = 10 << 20
	o.NumCompactors = 2
	o.ValueLogFileSize = 8 << 20
	o.ValueThreshold = txnBytes
	o.Compression = options.None
	o.BlockSize = 256 << 10
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.DetectConflicts = false
	o.MetricsEnabled = false
	o.NumGoroutines = 1
	o.NumVersionsToKeep = 1
	o.VerifyValueChecksum = true
	o.ChecksumVerificationMode = options.NoVerification // our own CRC tells, and costs one block, not the table
	o.CompactL0OnClose = false
	if strconv.IntSize == 32 {
		// Allocators are pooled whatever their size: tables of deeper levels, which Badger makes larger, and those of
		// level zero merged into one, which it does from four on, would not fit the ones of the others.
		o.TableSizeMultiplier = 1
		o.NumLevelZeroTablesStall = 3
	}
	return o
}

// badgerLog passes Badger's own words on, a level below what they claim: what matters to the gateway the store says.
// What Badger repeats every second, as it does where it cannot write, is passed on once a minute.
type badgerLog struct {
	log *slog.Logger

	mu   sync.Mutex
	said string
	at   time.Time
}

func (l *badgerLog) say(level slog.Level, format string, args []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	l.mu.Lock()
	again := format == l.said && time.Since(l.at) < time.Minute
	if !again {
		l.said, l.at = format, time.Now()
	}
	l.mu.Unlock()
	if !again {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

func (l *badgerLog) Errorf(format string, args ...any)   { l.say(slog.LevelWarn, format, args) }
func (l *badgerLog) Warningf(format string, args ...any) { l.say(slog.LevelWarn, format, args) }
func (l *badgerLog) Infof(format string, args ...any)    { l.say(slog.LevelDebug, format, args) }
func (l *badgerLog) Debugf(format string, args ...any)   { l.say(slog.LevelDebug, format, args) }

var (
	errNoFlash = errors.New("the store on flash is closed")
	errTables  = errors.New("its tables are damaged") // found where the store cannot go on with them
)

// flash is the store on flash. Its methods may be called from any goroutine; commit, drop and close are the writer's.
type flash struct {
	dir        string
	scratch    string // for Badger's value log; "" for dir
	log        *slog.Logger
	compact    bool        // Badger's compactors run; the writer's
	compacting atomic.Bool // the same, for everybody

	mu     sync.RWMutex // held for reading by whoever uses db, for writing by close
	db     *badger.DB   // nil once closed
	ids    []uint8      // persistent number of each destination, in the order of Options.Destinations
	shapes *shapes
	dec    *field.BlockDecoder
	cache  blockCache

	decoded atomic.Uint64 // blocks
}

func openFlash(dir, scratch string, shapes *shapes, log *slog.Logger) (*flash, error) {
	db, err := openBadger(dir, scratch, log, false)
	if err != nil {
		return nil, err
	}
	return &flash{dir: dir, scratch: scratch, log: log, db: db, shapes: shapes, dec: field.NewBlockDecoder()}, nil
}

// index gives the place of a destination's persistent number in Options.Destinations, or -1.
func (f *flash) index(number uint64) int {
	for i, id := range f.ids {
		if uint64(id) == number {
			return i
		}
	}
	return -1
}

// outward turns places into persistent numbers, inward the reverse; numbers that are nobody's any more vanish.
func (f *flash) outward(m mask) mask {
	var out mask
	for i, id := range f.ids {
		out |= m >> i & 1 << id
	}
	return out
}

func (f *flash) inward(m mask) mask {
	var in mask
	for i, id := range f.ids {
		in |= m >> id & 1 << i
	}
	return in
}

// change is one key to be written, or deleted when value is nil.
type change struct{ key, value []byte }

func sizeOf(changes []change) int {
	n := 0
	for _, c := range changes {
		n += len(c.key) + len(c.value)
	}
	return n
}

// commit writes changes as one synced transaction.
func (f *flash) commit(changes []change) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errNoFlash
	}
	txn := f.db.NewTransaction(true)
	defer txn.Discard()
	for _, c := range changes {
		var err error
		if c.value == nil {
			err = txn.Delete(c.key)
		} else {
			err = txn.Set(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return txn.Commit()
}

// drop frees buckets. Writes that run at the same time fail, hence the one writer. Badger reads the tables that it
// thins out, and panics over some damaged ones; here that is an error like any other.
func (f *flash) drop(c field.Class, ids ...uint32) (err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errNoFlash
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("freeing: %w: %v", errTables, r)
		}
	}()
	var prefixes [][]byte
	for _, id := range ids {
		f.cache.drop(c, id)
		prefixes = append(prefixes, bucketKey(c, id))
	}
	return f.db.DropPrefix(prefixes...)
}

func (f *flash) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db == nil {
		return nil
	}
	db := f.db
	f.db = nil
	return db.Close()
}

// view runs a read. Badger panics over some damaged tables; here that is an error like any other.
func (f *flash) view(do func(*badger.Txn) error) (err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errNoFlash
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading: %v", r)
		}
	}()
	return f.db.View(do)
}

// each calls do for every key with a prefix, in order, from the given key on, until it says false. The value may be
// used inside do alone.
func (f *flash) each(prefix, from []byte, do func(key []byte, value func() ([]byte, error)) (bool, error)) error {
	return f.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = prefix
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
			item := it.Item()
			value := func() (b []byte, err error) {
				err = item.Value(func(v []byte) error { b = v; return nil })
				return b, err
			}
			if more, err := do(item.Key(), value); err != nil || !more {
				return err
			}
		}
		return nil
	})
}
