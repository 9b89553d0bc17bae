package collect

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/adapters/field"
)

// Device is one box on the line, bound to its station.
type Device struct {
	field.Device
	Station     field.Station
	Every       time.Duration       // period of the main group; 0 for a device that is not polled
	Slow        time.Duration       // period of the slow group; 0 for the same as Every
	Heartbeat   time.Duration       // an unchanged value under only_changes, or an offline device, is told this often all the same; 0 for 15 minutes
	SilentAfter time.Duration       // of a device that speaks unasked: when it is taken for dead; 0 for never
	OnlyChanges map[string]Deadband // tag → rule; "" is the rule for every other tag; nil when all is sent
}

// Deadband is how far a value must move before it is told again; the zero value lets every change through.
type Deadband struct {
	Absolute float64 // in the tag's unit
	Percent  float64 // of the last value that was told
}

// Options are what a Loop is told of its line.
type Options struct {
	Line    string
	Devices []Device
	// Sink takes records, readings from the loop's own goroutine and events from another one; it may not keep the
	// slice. It should return at once for readings; for events it may take the time of a commit.
	Sink func(context.Context, ...field.Record) error
	// Stamp is the present moment.
	Stamp func() field.Stamp
	// Listen is the field.Listener of a line whose devices speak unasked; nil when there is none. It is called again a
	// second after it failed.
	Listen func(ctx context.Context, emit func(field.Record)) error
	// Silence is what the line needs between two frames: it counts as the line's time too.
	Silence time.Duration
	Log     *slog.Logger // nil for none
}

// Loop owns one line. Make one with New; Run it once.
type Loop struct {
	o        Options
	units    []*unit
	byName   map[string]*unit
	epoch    time.Time // the zero of every time.Duration in this package that is a moment
	calls    chan *call
	loans    chan *call
	lent     atomic.Bool // somebody waits for a loan, or has it
	heard    chan utterance
	done     chan struct{} // closed when Run has ended
	progress atomic.Uint64

	// Below: for the loop's goroutine only.
	ctx     context.Context // of the sink: it outlives Run's, so that what was read is stored
	polling context.Context // of reads: it carries the pause
	out     outbox
	one     [1]field.Record // what the sink is given, so that a reading costs no slice
	down    bool            // the line is
	culprit *unit           // with whose request it went down, until the next one
	upSince time.Duration   // since when it is not, after it was
	retry   time.Duration   // when a line that is down is tried again
	respite time.Duration   // until when silent units leave the line to the others
	vain    uint64          // tries that nobody answered
	served  int             // commands in a row
	leaving bool            // Finish was asked for

	watchers watchers // safe from anywhere

	mu   sync.Mutex // guards what follows, and the ledger of each unit and the last record of each plan
	book lineBook
}

// New makes the loop of one line. No I/O happens before Run.
func New(o Options) *Loop {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Loop{
		o: o, byName: make(map[string]*unit, len(o.Devices)), epoch: time.Now(),
		calls: make(chan *call), loans: make(chan *call), heard: make(chan utterance), done: make(chan struct{}),
	}
	for _, d := range o.Devices {
		u := newUnit(d)
		l.units = append(l.units, u)
		l.byName[d.Name] = u
	}
	return l
}

// Groups are the shapes of the readings records that the loop sends: those of its stations, less the event tags.
func (l *Loop) Groups() []*field.Group {
	var all []*field.Group
	for _, u := range l.units {
		for _, p := range u.plans {
			if p.shape != nil {
				all = append(all, p.shape)
			}
		}
	}
	return all
}

// Progress rises with every turn of the loop and with every request that a station pauses after, at least once a second
// while nobody is asked. One read may take minutes without it: what moves on the line tells then that it lives. It is for
// a watchdog.
func (l *Loop) Progress() uint64 { return l.progress.Load() }

// now is the present moment as the schedule counts it: monotonic.
func (l *Loop) now() time.Duration { return time.Since(l.epoch) }

// idle bounds how long the loop sleeps, so that its progress shows.
const idle = time.Second

// farewell bounds how long the sink may take for the last events once Run was asked to end.
const farewell = 3 * time.Second

// Run owns the line until the context ends; it returns nil then, when the request in progress was broken off, what was
// read has gone to the sink and no goroutine is left.
func (l *Loop) Run(ctx context.Context) error {
	sinking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l.ctx = sinking
	l.polling = field.WithAwait(field.WithPause(ctx, func() { l.pause(ctx) }), l.await)
	l.out = newOutbox()

	var aside sync.WaitGroup
	aside.Go(func() { l.out.run(func(events []field.Record) { l.hand(sinking, events) }) })
	listening, deafen := context.WithCancel(ctx)
	defer deafen()
	if l.o.Listen != nil {
		aside.Go(func() { l.listen(listening) })
	}
	l.plan(l.now())
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for ctx.Err() == nil && !l.leaving {
		l.turn(ctx, timer)
	}
	close(l.done)
	deafen()
	close(l.out)
	last := time.AfterFunc(farewell, cancel)
	defer last.Stop()
	aside.Wait()
	l.watchers.close()
	return nil
}

// turn does one thing: commands that wait, then the read that is most urgent, or a sleep.
func (l *Loop) turn(ctx context.Context, timer *time.Timer) {
	l.progress.Add(1)
	if l.serve(ctx); l.leaving {
		return
	}
	select {
	case h := <-l.heard:
		l.hear(h)
	case c := <-l.loans:
		l.lend(ctx, c)
	default:
	}
	now := l.now()
	wake := l.overdue(now)
	t, due := l.next(now)
	l.served = 0
	if due <= now {
		l.try(ctx, t)
		return
	}
	timer.Reset(min(wake, due) - now)
	select {
	case <-ctx.Done():
	case c := <-l.calls:
		l.perform(ctx, c)
	case c := <-l.loans:
		l.lend(ctx, c)
	case h := <-l.heard:
		l.hear(h)
	case <-timer.C:
	}
}

// inRow is how many commands may go before a read gets its turn.
const inRow = 4

// serve runs commands that wait, as many as may go before a read.
func (l *Loop) serve(ctx context.Context) {
	for l.served < inRow && ctx.Err() == nil && !l.leaving {
		select {
		case c := <-l.calls:
			l.perform(ctx, c)
		default:
			return
		}
	}
}

// pause is called by a station between two requests of one read: a request has gone, so commands may go again.
func (l *Loop) pause(ctx context.Context) {
	l.progress.Add(1)
	l.served = 0
	l.serve(ctx)
}
