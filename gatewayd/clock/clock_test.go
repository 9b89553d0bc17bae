package clock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// box is a machine whose clocks a test sets.
type box struct {
	mu     sync.Mutex
	dir    string
	wall   time.Time
	up     time.Duration
	synced bool
	id     string
}

func newBox(t *testing.T) *box {
	return &box{dir: t.TempDir(), wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), up: time.Minute, id: "boot-a"}
}

// pass lets time pass, set sets the wall clock, reboot starts the machine anew with the wall clock that it then has.
func (b *box) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wall, b.up = b.wall.Add(d), b.up+d
}

func (b *box) set(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wall = b.wall.Add(by)
}

func (b *box) reboot(id string, wall time.Time) {
	b.id, b.wall, b.up, b.synced = id, wall, time.Second, false
}

func (b *box) sync() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.synced = true
}

func (b *box) clock(o Options) *Clock {
	c := &Clock{o: o, dir: b.dir, floor: earliest,
		wall:    func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.wall },
		sinceUp: func() time.Duration { b.mu.Lock(); defer b.mu.Unlock(); return b.up },
		judge:   func() (string, bool) { b.mu.Lock(); defer b.mu.Unlock(); return "kernel", b.synced },
		bootID:  func() (string, error) { return b.id, nil },
		refused: func() bool { return o.Ask != nil },
	}
	c.start()
	return c
}

func TestABootKeepsItsOrdinal(t *testing.T) {
	b := newBox(t)
	expect := func(what string, want uint32) {
		t.Helper()
		if got := b.clock(Options{}).Stamp().Boot; got != want {
			t.Errorf("%s: boot %d, want %d", what, got, want)
		}
	}
	expect("the first boot", 1)
	expect("a restart of the daemon", 1)
	b.reboot("boot-b", b.wall)
	expect("a reboot", 2)
	for i := range 3 * remembered {
		b.reboot(strings.Repeat("x", i+1), b.wall)
		expect("many reboots", uint32(i+3))
	}
	if info, err := os.Stat(filepath.Join(b.dir, tableFile)); err != nil || info.Size() > 8<<10 {
		t.Errorf("the table has grown: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, tableFile+".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestADamagedTableNeverGivesAnOrdinalAgain(t *testing.T) {
	for _, damage := range []string{"", "{", "null", `{"boots":[]}`, "\x00\x00\x00"} {
		b := newBox(t)
		if err := os.WriteFile(filepath.Join(b.dir, tableFile), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		first := b.clock(Options{}).Stamp().Boot
		if first < 1<<30 {
			t.Errorf("%q: boot %d, want one that cannot have been", damage, first)
		}
		if again := b.clock(Options{}).Stamp().Boot; again != first {
			t.Errorf("%q: a restart makes boot %d of boot %d", damage, again, first)
		}
	}
}

func TestAFolderThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	b := newBox(t)
	folder := b.dir
	b.dir = filepath.Join(folder, "later")
	c := b.clock(Options{})
	if got := c.Stamp(); got.Boot != 0 || got.Trust != field.Estimated {
		t.Errorf("stamp %+v, want boot 0", got)
	}
	b.sync()
	c.look()
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.look()
	if got := c.Stamp(); got.Boot != 1 || got.Trust != field.Synchronised {
		t.Errorf("stamp %+v, want boot 1", got)
	}
	b.mu.Lock()
	b.synced = false
	b.mu.Unlock()
	if got := b.clock(Options{}).Stamp(); got.Trust != field.Synchronised {
		t.Error("that the clock was synchronised in this boot was not kept")
	}
}

func TestStampsArePutRightWhenTheClockIs(t *testing.T) {
	b := newBox(t)
	c := b.clock(Options{})
	early := c.Stamp()
	if early.Trust != field.Estimated {
		t.Fatalf("stamp %+v", early)
	}
	if got := c.Correct(early); got != early {
		t.Errorf("corrected before anything is known: %+v", got)
	}
	b.pass(10 * time.Second)
	b.set(3 * time.Hour)
	b.sync()
	told := c.look()
	if len(told) != 2 || told[0].Kind != "clock" || !strings.Contains(told[0].Text, "+3h") || !strings.Contains(told[1].Text, "synchronised (kernel)") {
		t.Errorf("events %+v", told)
	}
	want := early
	want.Wall += (3 * time.Hour).Milliseconds()
	want.Trust = field.Corrected
	if got := c.Correct(early); got != want {
		t.Errorf("corrected %+v, want %+v", got, want)
	}
	if got := c.Stamp(); got.Trust != field.Synchronised || c.Correct(got) != got {
		t.Errorf("a good stamp %+v becomes %+v", got, c.Correct(got))
	}
	if got := (field.Stamp{Wall: 5, Mono: 5, Boot: 77, Trust: field.Estimated}); c.Correct(got) != got {
		t.Error("a stamp of an unknown boot was changed")
	}

	b.reboot("boot-b", b.wall)
	later := b.clock(Options{})
	if got := later.Stamp(); got.Trust != field.Estimated || got.Boot != 2 {
		t.Errorf("after a reboot: %+v", got)
	}
	if got := later.Correct(early); got != want {
		t.Errorf("after a reboot corrected %+v, want %+v", got, want)
	}
}

func TestOnceSynchronisedAClockOnlyDrifts(t *testing.T) {
	b := newBox(t)
	b.synced = true
	c := b.clock(Options{})
	if source, ok := c.Synchronised(); !ok || source != "kernel" {
		t.Errorf("%q, %v", source, ok)
	}
	b.mu.Lock()
	b.synced = false // after hours without a server
	b.mu.Unlock()
	if told := c.look(); len(told) != 0 {
		t.Errorf("events %+v", told)
	}
	if got := c.Stamp(); got.Trust != field.Synchronised {
		t.Errorf("stamp %+v", got)
	}
	b.pass(time.Hour)
	b.set(900 * time.Millisecond)
	if told := c.look(); len(told) != 0 {
		t.Errorf("a small correction is told: %+v", told)
	}
	b.set(-2 * time.Second)
	told := c.look()
	if len(told) != 1 || len(told[0].More) != 2 || told[0].More[1].Value != field.Int(-2000) {
		t.Errorf("events %+v", told)
	}
}

func TestAClockBeforeTheBuildIsNotBelieved(t *testing.T) {
	b := newBox(t)
	b.synced = true
	now := b.wall
	b.wall = time.Unix(0, 0)
	c := b.clock(Options{Trusted: true})
	if got := c.Stamp(); got.Trust != field.Estimated {
		t.Errorf("1970 is believed: %+v", got)
	}
	b.wall = now
	c.look()
	if source, ok := c.Synchronised(); !ok || source != "configuration" {
		t.Errorf("%q, %v", source, ok)
	}
	b.wall = time.Unix(0, 0)
	if got := c.Stamp(); got.Trust != field.Estimated {
		t.Errorf("1970 is believed later: %+v", got)
	}
}

// TestRunOnThisMachine: the real clocks, the real timer of the kernel, and an end when asked.
func TestRunOnThisMachine(t *testing.T) {
	var told []field.Event
	c, err := New(t.TempDir(), Options{Trusted: true, Event: func(e field.Event) { told = append(told, e) }})
	if err != nil {
		t.Fatal(err)
	}
	a := c.Stamp()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	time.Sleep(50 * time.Millisecond)
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(4 * time.Second): // less than a refresh
		t.Fatal("Run does not end")
	}
	z := c.Stamp()
	if passed := z.Mono - a.Mono; passed < 50 || z.Boot != 1 || z.Trust != field.Synchronised {
		t.Errorf("stamps %+v and %+v", a, z)
	}
	if now := time.Now().UnixMilli(); z.Wall < now-60_000 || z.Wall > now+60_000 {
		t.Errorf("stamp %+v at %d", z, now)
	}
	if len(told) > 0 {
		t.Logf("the clock of this machine moved meanwhile: %+v", told)
	}
}

// TestWithoutTheKernelsTimerTheClockIsStillWatched.
func TestWithoutTheKernelsTimerTheClockIsStillWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *setWatch
		began := time.Now()
		w.wait(t.Context(), refresh)
		if took := time.Since(began); took != refresh {
			t.Errorf("waited %s", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("over"))
		w.wait(ctx, refresh)
		if took := time.Since(began); took != refresh {
			t.Errorf("waited %s for a context that had ended", took)
		}
		w.close()
	})
}

func BenchmarkStamp(b *testing.B) {
	c, err := New(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Stamp()
	}
}

// TestAskedWhereTheKernelRefuses: in a sandbox the time service's word counts, and is asked for until it is yes.
func TestAskedWhereTheKernelRefuses(t *testing.T) {
	b := newBox(t)
	asked, say := 0, false
	c := b.clock(Options{Ask: func(context.Context) (bool, error) { asked++; return say, nil }})
	look := func(want bool) {
		t.Helper()
		c.ask(t.Context())
		c.look()
		if _, got := c.Synchronised(); got != want {
			t.Errorf("after %d questions: synchronised %t, want %t", asked, got, want)
		}
	}
	look(false)
	say = true
	look(true)
	say = false // once believed, it only drifts, and nobody is asked again
	look(true)
	if asked != 2 {
		t.Errorf("asked %d times, want twice", asked)
	}
	if source, _ := c.Synchronised(); source != "systemd-timedated" {
		t.Errorf("the source is %q", source)
	}
}
