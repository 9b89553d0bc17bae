//go:build linux && (amd64 || arm64)

package powercut

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
)

// The worker is the process whose power goes. It fills and drains a store on the machine's disk, and says on its
// standard output what it knows, a line each:
//
//	up EPOCH                              the store is open
//	w DEST CLASS EPOCH SEQ ID             found waiting for the destination
//	e DEST TOPIC EPOCH FROM TO COUNT WHY  an event that explains numbers was found waiting for it, or was given to it
//	ready
//	f N                                   readings 1…N of this life are on flash, or lost and about to be said so
//	t CLASS ID                            a record's Append returned: it is on flash
//	g DEST CLASS EPOCH SEQ ID             given to the destination
//	k DEST CLASS EPOCH SEQ                about to be acknowledged by it
//	! TEXT                                something is wrong
//
// IDs name records whatever their numbers; 0 is the store's own. A life's number stands in an ID's upper half.
type worker struct {
	store *buffer.Store
	life  uint64
	now   bool // readings are durable first
	mu    sync.Mutex
}

const (
	workerDir  = "POWERCUT_WORKER"
	workerLife = "POWERCUT_LIFE"
	workerSync = "POWERCUT_SYNC"
	workerRun  = "POWERCUT_RUN"
	probeDir   = "POWERCUT_PROBE"
)

// fast is a destination that takes what is live, slow one that takes what is on flash alone.
const fast, slow = "fast", "slow"

func (w *worker) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(os.Stdout, format, args...) // unbuffered: what is said is out
}

// runWorker lives until it is killed.
func runWorker(dir string) error {
	if os.Getenv(workerSync) == "off" {
		if err := WithoutSyncing(); err != nil {
			return err
		}
	}
	w := &worker{}
	if _, err := fmt.Sscan(os.Getenv(workerLife), &w.life); err != nil {
		return err
	}
	w.now = w.life%4 == 3
	var err error
	w.store, err = buffer.Open(buffer.Options{
		Dir: filepath.Join(dir, "buffer"), Scratch: os.Getenv(workerRun), Limit: buffer.MinLimit, Reserve: 1 << 20, Commit: 40 * time.Millisecond,
		DurableFirst: w.now, Probe: probe, HeadLimit: 512 << 10, Destinations: []string{fast, slow},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	w.say("up %d\n", w.store.Epoch())
	if st := w.store.Stats(); !st.Durable {
		w.say("! the store is not usable: %s\n", st.Trouble)
	}
	w.inventory()
	w.say("ready\n")
	r := rand.New(rand.NewPCG(w.life, uint64(time.Now().UnixNano())))
	go w.take(fast, true, r.IntN(3) == 0)
	go w.take(slow, false, r.IntN(2) == 0)
	go w.events()
	go w.watch()
	go w.readings(r.IntN(3))
	return w.store.Run(context.Background())
}

// probe has another process try the store: several cuts in a row may fall into its opening.
func probe(folder string) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), probeDir+"="+folder)
	return cmd.Run()
}

// inventory says what waits.
func (w *worker) inventory() {
	for _, dest := range []string{fast, slow} {
		var b strings.Builder
		err := w.store.Export(context.Background(), dest, func(epoch uint32, r field.Record) error {
			b.WriteString(describe("w", dest, epoch, &r))
			return nil
		})
		if err != nil {
			fmt.Fprintf(&b, "! export: %v\n", err)
		}
		w.say("%s", b.String())
	}
	w.balance()
}

func (w *worker) balance() {
	for _, d := range w.store.Stats().Destinations {
		for c, b := range d.Books {
			if b.Taken != b.Delivered+b.Buffered+b.Lost {
				w.say("! the books of %s, %s, do not balance: %+v\n", d.Name, field.Class(c), b)
			}
		}
	}
}

// describe gives the lines of a record, and of what it explains.
func describe(word, dest string, epoch uint32, r *field.Record) string {
	id := uint64(r.At.Mono)
	if r.Event != nil && r.Event.Kind != "change" {
		id = 0
	}
	line := fmt.Sprintf("%s %s %s %d %d %d\n", word, dest, r.Class(), epoch, r.Seq, id)
	if r.Event == nil || r.Event.Kind != "loss" && r.Event.Kind != "skip" {
		return line
	}
	of, cause := map[string]uint64{"count": 1}, "unclean_stop"
	for _, m := range r.Event.More {
		if m.Name == "cause" {
			cause = m.Value.AsText()
		}
		of[m.Name] = m.Value.Bits()
		if m.Name == "destination" && m.Value.AsText() != dest {
			return line // it explains nothing to this one
		}
	}
	return line + fmt.Sprintf("e %s %s %d %d %d %d %s\n", dest, r.Event.Subject, of["of_epoch"], of["from_seq"], of["to_seq"], of["count"], cause)
}

// id names the n-th record of a class.
func (w *worker) id(c field.Class, n uint64) uint64 { return w.life<<32 | uint64(c)<<28 | n }

var shape = &field.Group{Device: "feeder-1", Name: field.MainGroup, Points: []field.Point{{Name: "noise", Kind: field.KindString}}}

// readings appends readings that do not compress, as fast as the pace says: 0 is slow, 2 more than the flash takes.
func (w *worker) readings(pace int) {
	noise := make([]byte, 3000)
	for n := uint64(1); ; n++ {
		for i := range noise {
			noise[i] = byte(' ' + rand.IntN(90))
		}
		size := 100 + rand.IntN(len(noise)-100)
		id := w.id(field.Readings, n)
		r := field.Record{At: field.Stamp{Wall: time.Now().UnixMilli(), Mono: int64(id)}, Group: shape,
			Values: []field.Value{field.Text(string(noise[:size]))}}
		w.append(r, id)
		time.Sleep([]time.Duration{5 * time.Millisecond, time.Millisecond, 100 * time.Microsecond}[pace])
	}
}

// append appends, and says so when the record is on flash then.
func (w *worker) append(r field.Record, id uint64) {
	class := r.Class()
	err := w.store.Append(context.Background(), r)
	switch {
	case err != nil:
		w.say("! append: %v\n", err)
	case (class != field.Readings || w.now) && w.store.Stats().Durable:
		w.say("t %s %d\n", class, id)
	}
}

// events appends events and replies.
func (w *worker) events() {
	for n := uint64(1); ; n++ {
		id := w.id(field.Events, n)
		w.append(field.Record{At: field.Stamp{Mono: int64(id)}, Event: &field.Event{Kind: "change", Subject: "pump-1/running"}}, id)
		if n%3 == 0 {
			id := w.id(field.Replies, n)
			w.append(field.Record{At: field.Stamp{Mono: int64(id)}, Reply: []byte(`{"code":"ok"}`)}, id)
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
}

// watch says how far readings are on flash, and whether the books balance. slow takes nothing live, so what is in
// memory are the youngest, without a hole.
func (w *worker) watch() {
	for ; ; time.Sleep(5 * time.Millisecond) {
		w.balance()
		st := w.store.Stats()
		taken := st.Destinations[1].Books[field.Readings]
		appended := taken.Taken - taken.Found
		for _, run := range w.store.Backlog(0) {
			if run.Where == "memory" && run.Class == field.Readings.String() {
				appended -= min(appended, run.Records)
			}
		}
		if w.store.Stats().Durable {
			w.say("f %d\n", appended)
		}
	}
}

// take plays a destination: it takes batches, acknowledges most, and loses its connection now and then.
func (w *worker) take(dest string, live, eager bool) {
	c, err := w.store.Cursor(dest)
	if err != nil {
		panic(err)
	}
	pause := 20 * time.Millisecond
	if eager {
		pause = time.Millisecond
	}
	for ; ; time.Sleep(pause) {
		for _, lane := range buffer.Lanes {
			if lane == buffer.Live && !live {
				continue
			}
			b, ok := c.Next(lane, 50, 64<<10)
			if !ok {
				continue
			}
			var said, known strings.Builder
			for i := range b.Records {
				said.WriteString(describe("g", dest, b.Epoch, &b.Records[i]))
				fmt.Fprintf(&known, "k %s %s %d %d\n", dest, b.Class, b.Epoch, b.Records[i].Seq)
			}
			switch rand.IntN(20) {
			case 0:
				w.say("%s", said.String())
				c.Rewind()
			case 1:
				w.say("%s", said.String()) // in flight for good
			default:
				w.say("%s%s", said.String(), known.String())
				c.Ack(b)
			}
		}
		if rand.IntN(2000) == 0 {
			if _, err := w.store.Drop(dest, "to see what a cut makes of it"); err != nil {
				w.say("! drop: %v\n", err)
			}
		}
	}
}
