package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"edgegateway/adapters/field"
)

// Options say where the store lives, how much it may take and whom it serves. The zero value of each has a default.
type Options struct {
	Dir          string                        // the store's folder, made if missing; "" for memory alone, by choice
	Limit        int64                         // bytes of flash that the folder never exceeds; default 512 MiB, at least MinLimit
	Reserve      int64                         // free bytes of the file system below which nothing is written; default 32 MiB
	Keep         time.Duration                 // records older than this are given up; 0 for no age limit
	KeepOf       map[field.Class]time.Duration // where a class has another age limit than Keep
	Thin         []time.Duration               // at the limit old readings are reduced to these steps, one after the other, before any is given up; rising
	Commit       time.Duration                 // how long a reading may stay unacknowledged in memory alone; default 1 s
	CommitEvents time.Duration                 // how long an event or a reply waits for others to share its commit; default 10 ms, negative for not at all
	DurableFirst bool                          // readings behave like events: synced before they leave
	HeadLimit    int64                         // bytes of memory for what is not on flash; default 16 MiB
	Destinations []string                      // whom records are owed to, at most MaxDestinations; one that is new is owed nothing before it
	Now          func() field.Stamp            // stamps the store's own events; default the system's clock

	// Correct puts a stamp that was taken before the clock could be believed right, as far as is known by now; default
	// none. Records pass it when they leave, never when they come: what is stored stays as it was taken.
	Correct func(field.Stamp) field.Stamp

	// Scratch is a folder in memory (tmpfs), for what the store must have and need not keep: every commit is one sync less
	// with it. It is made in one that is there, and emptied; no other store may use it. "", or one on flash, for none.
	Scratch string

	Log *slog.Logger // default slog.Default

	// Probe opens the store in a folder with Try, in another process, and gives its error. It is asked when this
	// process's predecessors ended several times while opening: a store that kills whoever opens it is set aside, one
	// that was only killed in the middle is not. Without it such a store is set aside unseen.
	Probe func(folder string) error
}

// Bounds of the options and of what the store takes.
const (
	MinLimit        = 16 << 20 // the least Options.Limit, in bytes
	MaxDestinations = 16
	MaxRecord       = 96 << 10 // bytes that one record may take, as Batch.Bytes counts them
)

// errors on which a caller branches.
var (
	// ErrLocked says that another daemon uses the folder.
	ErrLocked = errors.New("the folder is in use by another gatewayd")
	// ErrClosed says that the store was stopped: Run has been told to end.
	ErrClosed = errors.New("the store is closed")
	// ErrDestination says that the store serves no destination of that name.
	ErrDestination = errors.New("no such destination")
)

func (o Options) withDefaults() (Options, error) {
	if o.Limit == 0 {
		o.Limit = 512 << 20
	}
	if o.Reserve == 0 {
		o.Reserve = 32 << 20
	}
	if o.Commit == 0 {
		o.Commit = time.Second
	}
	if o.HeadLimit == 0 {
		o.HeadLimit = 16 << 20
	}
	if o.Now == nil {
		o.Now = func() field.Stamp { return field.Stamp{Wall: time.Now().UnixMilli()} }
	}
	if o.Correct == nil {
		o.Correct = func(at field.Stamp) field.Stamp { return at }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Destinations = slices.Clone(o.Destinations)
	switch {
	case o.Limit < MinLimit:
		return o, fmt.Errorf("the store's limit of %d bytes is too small: it needs %d at least", o.Limit, MinLimit)
	case o.Reserve < 0, o.Keep < 0, o.Commit < 0, o.HeadLimit < 0:
		return o, errors.New("the store's limits and times cannot be negative")
	case !slices.IsSorted(o.Thin), len(o.Thin) > 0 && o.Thin[0] < time.Second:
		return o, errors.New("the steps to thin out to must rise, and be 1 s at least")
	case len(o.Destinations) > MaxDestinations:
		return o, fmt.Errorf("the store serves at most %d destinations, not %d", MaxDestinations, len(o.Destinations))
	}
	for i, name := range o.Destinations {
		if name == "" || slices.Contains(o.Destinations[:i], name) {
			return o, fmt.Errorf("destination %q: each needs a name of its own", name)
		}
	}
	return o, nil
}

// keep is the age limit of a class; 0 for none.
func (o *Options) keep(c field.Class) time.Duration {
	if d, ok := o.KeepOf[c]; ok {
		return d
	}
	return o.Keep
}

// tuning holds the intervals and sizes that follow from how the store is built. Tests shorten them.
type tuning struct {
	gather      time.Duration // how long an event waits for others to share its commit
	cursors     time.Duration // the longest that a moved cursor stays in memory alone
	retry       time.Duration // between two attempts to get a usable store
	lock        time.Duration // how long the lock of a process that ended is waited for
	house       time.Duration // between two looks at disk, age and free space
	bucketBytes int64         // encoded bytes after which a bucket is closed
	bucketAge   time.Duration // age at which it is closed
	idleBytes   int64         // an open bucket that nobody is owed is dropped from this size on
	leaseSpan   time.Duration // how long a range of sequence numbers should last
	leaseLeast  uint64        // and how many it holds at least
	freeWait    time.Duration // how long a settled bucket waits for others that are freed with it
	joinBlocks  uint64        // a closed bucket of so many small blocks is joined
	look        func(string)  // a test's look into the steps of a rewrite
}

func defaultTuning() tuning {
	return tuning{
		gather:      10 * time.Millisecond,
		cursors:     5 * time.Second,
		retry:       60 * time.Second,
		lock:        5 * time.Second,
		house:       10 * time.Second,
		bucketBytes: 1 << 20,
		bucketAge:   time.Hour,
		idleBytes:   256 << 10,
		leaseSpan:   30 * time.Minute,
		leaseLeast:  4096,
		freeWait:    5 * time.Second,
		joinBlocks:  16,
		look:        func(string) {},
	}
}
