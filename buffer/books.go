package buffer

import (
	"fmt"
	"time"

	"edgegateway/adapters/field"
)

// Cause says why records were lost.
type Cause uint8

// The causes, in the words of the contract.
const (
	Evicted  Cause = iota // given up for want of space, or because an operator or the configuration said so
	Expired               // older than Options.Keep
	Thinned               // reduced to coarser steps
	Corrupt               // could not be read back
	Poison                // refused by the platform, or impossible to store
	DiskFull              // given up from memory because the disk was full
	causes
)

var causeNames = [causes]string{"evicted", "expired", "thinned", "corrupt", "poison", "disk_full"}

// String is the contract's word.
func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return "cause?"
}

// MarshalText is String, for JSON.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Cause) UnmarshalText(b []byte) error {
	for i, name := range causeNames {
		if name == string(b) {
			*c = Cause(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no cause of a loss", b)
}

// Books is the account of one class for one destination, in records. Taken = Delivered + Buffered + Lost.
type Books struct {
	Taken     uint64         // appended since the store was opened, plus Found
	Found     uint64         // waiting on flash when the store was opened
	Delivered uint64         // acknowledged
	Buffered  uint64         // in the head or in blocks, not acknowledged
	Lost      uint64         // the sum of ByCause
	ByCause   [causes]uint64 // index is the Cause
}

// books is Books while it is kept.
type books struct {
	taken, found, delivered uint64
	inHead, inBlocks        uint64
	lost                    [causes]uint64
}

func (b *books) snapshot() Books {
	s := Books{Taken: b.taken, Found: b.found, Delivered: b.delivered, Buffered: b.inHead + b.inBlocks, ByCause: b.lost}
	for _, n := range b.lost {
		s.Lost += n
	}
	return s
}

// DestinationStats is the account of one destination.
type DestinationStats struct {
	Name   string
	Books  [len(field.Classes)]Books // index is the field.Class
	Oldest int64                     // stamp of the oldest record that waits, Unix milliseconds, about right within a bucket; 0 when none waits
}

// Backlog counts the records that wait for the destination, over all classes.
func (d *DestinationStats) Backlog() uint64 {
	var n uint64
	for _, b := range d.Books {
		n += b.Buffered
	}
	return n
}

// Stats is what the store looks like at one moment.
type Stats struct {
	Durable      bool   // false while records live in memory alone
	Trouble      string // why not, in words; "" when Durable
	Epoch        uint32 // of the numbers given now
	Destinations []DestinationStats
	Taken        uint64 // records appended since the store was opened, its own events included
	HeadRecords  uint64 // in memory, not acknowledged by all
	HeadBytes    int64
	BlockRecords uint64 // on flash and still owed to somebody
	DiskBytes    int64  // taken by the folder, measured every few seconds
	Limit        int64
	FreeBytes    int64         // of the file system
	Commits      uint64        // synced transactions and lease files
	Written      uint64        // bytes handed to them; the device writes more
	Inflow       float64       // bytes a second that it would take on flash if nothing were delivered, at the present rate
	Holds        time.Duration // how long it holds an outage that begins now, at the present rate; 0 while that is not known
}

// Stats gives one consistent picture. Safe from any goroutine, and cheap.
func (s *Store) Stats() Stats {
	free := s.freeBytes()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Durable: s.usable, Trouble: s.trouble, Epoch: s.streams[field.Readings].lease.epoch, Taken: s.taken,
		HeadBytes: s.weight, DiskBytes: s.disk, Limit: s.opt.Limit, FreeBytes: free, Commits: s.commits, Written: s.written}
	out.Inflow, out.Holds = s.forecast()
	for _, st := range s.streams {
		for _, e := range st.head.entries {
			if e.state != gone {
				out.HeadRecords++
			}
		}
		for _, b := range st.buckets {
			out.BlockRecords += b.owed.most()
		}
	}
	for i, d := range s.dests {
		ds := DestinationStats{Name: d.name}
		for c := range field.Classes {
			ds.Books[c] = d.tracks[c].books.snapshot()
			if at := s.oldest(i, field.Class(c)); at != 0 && (ds.Oldest == 0 || at < ds.Oldest) {
				ds.Oldest = at
			}
		}
		out.Destinations = append(out.Destinations, ds)
	}
	return out
}

// oldest is about the stamp of the oldest record of a class that a destination still lacks; 0 when it has all.
func (s *Store) oldest(d int, c field.Class) int64 {
	st, t := s.streams[c], &s.dests[d].tracks[c]
	if t.books.inBlocks > 0 {
		for _, b := range st.buckets {
			if b.owed[d] == 0 {
				continue
			}
			done := float64(max(t.low, b.first)-b.first) / float64(b.end-b.first)
			return b.oldest + int64(done*float64(b.newest-b.oldest))
		}
	}
	for _, e := range st.head.entries {
		if e.owed&(1<<d) != 0 {
			return e.rec.At.Wall
		}
	}
	return 0
}

// Epoch is that of the sequence numbers given now; Batch.Epoch tells that of those given before.
func (s *Store) Epoch() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[field.Readings].lease.epoch
}
