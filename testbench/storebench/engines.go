package storebench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	bolt "go.etcd.io/bbolt"
)

// engine keeps blocks: one a commit, each synced when commit returns.
type engine interface {
	commit(n uint64, block []byte) error
	drain(do func(block []byte) error) error // every block, in order
	close() error
}

// yardsticks are the engines that the store is measured beside.
var yardsticks = []struct {
	name string
	open func(dir string) (engine, error)
}{
	{"raw log", openRaw},
	{"bare Badger", func(dir string) (engine, error) { return openBadger(dir, dir) }},
	{"bare Badger, value log in memory", openBadgerInMemory},
	{"bbolt", openBolt},
	{"Pebble", openPebble},
}

// rawLog is the physical limit: an append-only file, each block with its length before it, and fdatasync.
type rawLog struct{ f *os.File }

func openRaw(dir string) (engine, error) {
	f, err := os.OpenFile(dir+"/log", os.O_RDWR|os.O_CREATE, 0o600)
	return &rawLog{f}, err
}

func (l *rawLog) commit(_ uint64, block []byte) error {
	if _, err := l.f.Write(append(binary.AppendUvarint(nil, uint64(len(block))), block...)); err != nil {
		return err
	}
	return syscall.Fdatasync(int(l.f.Fd()))
}

func (l *rawLog) drain(do func([]byte) error) error {
	if _, err := l.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReader(l.f)
	for {
		size, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return nil
		}
		block := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(r, block)
		}
		if err == nil {
			err = do(block)
		}
		if err != nil {
			return err
		}
	}
}

func (l *rawLog) close() error { return l.f.Close() }

func key(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'b'}, n) }

// bareBadger is Badger with the sizes that a small box takes, and nothing around it.
type bareBadger struct {
	db     *badger.DB
	memory string // a folder to be removed; "" for none
}

// openBadgerInMemory gives Badger what the store has: a value log that costs no sync.
func openBadgerInMemory(dir string) (engine, error) {
	memory, err := os.MkdirTemp("/dev/shm", "gatewayd-bench-")
	if err != nil {
		return nil, err
	}
	b, err := openBadger(dir, memory)
	if err != nil {
		os.RemoveAll(memory)
		return nil, err
	}
	b.memory = memory
	return b, nil
}

func openBadger(dir, values string) (*bareBadger, error) {
	o := badger.DefaultOptions(dir).WithValueDir(values)
	o.Logger = nil
	o.SyncWrites = true
	o.MemTableSize, o.NumMemtables = 1<<20, 2
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = 2, 4
	o.BaseTableSize, o.BaseLevelSize = 2<<20, 10<<20
	o.NumCompactors = 2
	o.ValueLogFileSize, o.ValueThreshold = 8<<20, (1<<20)*15/100
	o.Compression, o.BlockCacheSize, o.IndexCacheSize = options.None, 0, 0
	o.DetectConflicts, o.MetricsEnabled = false, false
	db, err := badger.Open(o)
	return &bareBadger{db: db}, err
}

func (b *bareBadger) commit(n uint64, block []byte) error {
	txn := b.db.NewTransaction(true)
	defer txn.Discard()
	if err := txn.Set(key(n), block); err != nil {
		return err
	}
	return txn.Commit()
}

func (b *bareBadger) drain(do func([]byte) error) error {
	return b.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(do); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bareBadger) close() error {
	err := b.db.Close()
	if b.memory != "" {
		err = errors.Join(err, os.RemoveAll(b.memory))
	}
	return err
}

type boltEngine struct{ db *bolt.DB }

var bucketName = []byte("blocks")

func openBolt(dir string) (engine, error) {
	db, err := bolt.Open(dir+"/bolt", 0o600, nil)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucketName); return err })
	return &boltEngine{db}, err
}

func (b *boltEngine) commit(n uint64, block []byte) error {
	return b.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketName).Put(key(n), block) })
}

func (b *boltEngine) drain(do func([]byte) error) error {
	return b.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketName).ForEach(func(_, block []byte) error { return do(block) })
	})
}

func (b *boltEngine) close() error { return b.db.Close() }
