package storebench

import "github.com/cockroachdb/pebble"

type pebbleEngine struct{ db *pebble.DB }

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

func openPebble(dir string) (engine, error) {
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}, MemTableSize: 1 << 20})
	return &pebbleEngine{db}, err
}

func (p *pebbleEngine) commit(n uint64, block []byte) error {
	return p.db.Set(key(n), block, pebble.Sync)
}

func (p *pebbleEngine) drain(do func([]byte) error) error {
	it, err := p.db.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		if err := do(it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}

func (p *pebbleEngine) close() error { return p.db.Close() }
