// Package clock says what time it is and whether that can be believed. Gateways have no battery-backed clock more
// often than not: they start in the past and jump when the network comes.
//
// It promises that Stamp is cheap, safe from any goroutine and never waits; that a stamp also carries the boot and the
// time since boot, which nobody can set, so that it can be put right later; that a boot keeps its ordinal however
// often the daemon restarts, and that no two boots share one. A caller may not assume that stamps rise: a wall clock
// that is set back takes them with it. What schedules uses Go's monotonic time, never a stamp.
package clock

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"edgegateway/adapters/field"
)

const (
	asking  = 15 * time.Second // between two questions to who vouches for the clock where the kernel does not tell
	refresh = 5 * time.Second  // how often the kernel is asked; a step is noticed at once
	step    = time.Second      // a wall clock that moved by more than this against the time since boot was set
)

// earliest is the floor of a build that does not carry its date: the wall clock was never before it in this project.
var earliest = time.Date(2025, time.November, 1, 0, 0, 0, 0, time.UTC)

// Options are what a Clock is told.
type Options struct {
	Trusted bool // the wall clock is believed whatever the kernel says: containers, test machines
	// Ask is asked whether the clock is synchronised where the kernel refuses to tell, from Run's goroutine, until it says
	// yes; it may take seconds. Nil for nobody to ask.
	Ask   func(context.Context) (bool, error)
	Event func(field.Event) // told of kind "clock": synchronised, or set by more than a second; from Run's goroutine; may be nil
	Log   *slog.Logger      // nil for none
}

// Clock stamps. Make one with New.
type Clock struct {
	o        Options
	dir      string
	floor    time.Time
	wall     func() time.Time
	sinceUp  func() time.Duration            // since boot, suspended time included
	judge    func() (source string, ok bool) // whether the wall clock is synchronised, and who says so
	bootID   func() (string, error)
	boot     atomic.Uint32
	refused  func() bool // whether the kernel refuses to tell
	vouched  atomic.Bool // somebody who was asked said that it is synchronised
	believed atomic.Bool // latched: once synchronised in a boot, the clock only drifts

	mu     sync.Mutex
	source string
	table  table
	offset time.Duration // of the wall clock against the time since boot, when it was last looked at
	kept   bool          // the table stands on disk
	said   string        // the last trouble with the table
}

// New makes a clock that keeps its table of boots in dir, which exists. The error says that this system cannot tell
// the time since boot. A table that cannot be kept is no error: it is logged, stamps carry boot 0 (unknown), and Run
// tries again.
func New(dir string, o Options) (*Clock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return nil, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	c := &Clock{o: o, dir: dir, floor: built(), wall: time.Now, sinceUp: sinceUp, judge: kernel, refused: kernelRefuses, bootID: bootID}
	c.start()
	return c, nil
}

// start takes the first look; it tells no one, since nothing has changed yet.
func (c *Clock) start() {
	if c.o.Log == nil {
		c.o.Log = slog.New(slog.DiscardHandler)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = c.measure()
	c.keep()
	if source, ok := c.synchronised(); ok {
		c.believe(source)
	}
}

// Stamp is this moment. Its Trust is Synchronised when the clock was synchronised at any time since this boot (it only
// drifts since) and does not stand before the day on which the daemon was built; else Estimated.
func (c *Clock) Stamp() field.Stamp {
	wall := c.wall()
	s := field.Stamp{Wall: wall.UnixMilli(), Mono: c.sinceUp().Milliseconds(), Boot: c.boot.Load(), Trust: field.Estimated}
	if c.believed.Load() && !wall.Before(c.floor) {
		s.Trust = field.Synchronised
	}
	return s
}

// Correct puts an Estimated stamp right when the clock of its boot has been synchronised since, and marks it
// Corrected: the time since boot was always right. Any other stamp is returned as it is.
func (c *Clock) Correct(s field.Stamp) field.Stamp {
	if s.Trust != field.Estimated || s.Boot == 0 {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	offset, ok := c.table.offset(s.Boot)
	if s.Boot == c.boot.Load() && c.believed.Load() {
		offset, ok = c.offset.Milliseconds(), true
	}
	if !ok || offset+s.Mono < c.floor.UnixMilli() {
		return s
	}
	s.Wall, s.Trust = s.Mono+offset, field.Corrected
	return s
}

// Synchronised says whether the clock can be believed, and who says so: "kernel", "systemd-timesyncd", "systemd-timedated",
// "configuration", or "earlier in this boot".
func (c *Clock) Synchronised() (source string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.source, c.believed.Load() && !c.wall().Before(c.floor)
}

// Run watches the kernel's word on the clock and whether somebody sets it, until the context ends; it returns nil
// then. Without it the clock stamps, but learns nothing new.
func (c *Clock) Run(ctx context.Context) error {
	w, err := newSetWatch(ctx)
	if err != nil {
		c.o.Log.Warn("a step of the clock is noticed late", "by", refresh, "error", err)
	}
	defer w.close()
	var asked time.Time
	for ctx.Err() == nil {
		if time.Since(asked) >= asking || asked.IsZero() {
			c.ask(ctx)
			asked = time.Now()
		}
		w.wait(ctx, refresh)
		if ctx.Err() != nil {
			break // whoever takes the events may be ending too
		}
		for _, e := range c.look() {
			c.o.Log.Info(e.Text)
			if c.o.Event != nil {
				c.o.Event(e)
			}
		}
	}
	return nil
}

// ask asks who vouches for the clock, while nobody has yet and the kernel does not tell.
func (c *Clock) ask(ctx context.Context) {
	if c.o.Ask == nil || c.believed.Load() || !c.refused() {
		return
	}
	yes, err := c.o.Ask(ctx)
	if err != nil {
		c.o.Log.Debug("nobody tells whether the clock is synchronised", "error", err)
	}
	c.vouched.Store(yes)
}

// look compares the clock with what was known of it, and says what changed.
func (c *Clock) look() []field.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.measure()
	moved := now - c.offset
	c.offset = now
	var told []field.Event
	if moved.Abs() > step {
		told = append(told, c.event(fmt.Sprintf("the clock was set by %s", signed(moved)), moved))
	}
	if !c.believed.Load() {
		if source, ok := c.synchronised(); ok {
			c.believe(source)
			told = append(told, c.event("the clock is synchronised ("+source+"): times are right from here on", 0))
		}
	}
	if len(told) > 0 && c.believed.Load() {
		c.table.know(c.boot.Load(), c.offset.Milliseconds())
		c.kept = false
	}
	if !c.kept {
		c.keep()
	}
	return told
}

func (c *Clock) event(text string, moved time.Duration) field.Event {
	e := field.Event{Kind: "clock", Text: text, More: []field.Member{{Name: "synchronised", Value: field.Bool(c.believed.Load())}}}
	if moved != 0 {
		e.More = append(e.More, field.Member{Name: "step_ms", Value: field.Int(moved.Milliseconds())})
	}
	return e
}

func (c *Clock) believe(source string) {
	c.source = source
	c.believed.Store(true)
	c.table.know(c.boot.Load(), c.offset.Milliseconds())
	c.kept = false
}

// synchronised asks everybody who may know. A clock before the floor is wrong, whoever vouches for it.
func (c *Clock) synchronised() (source string, ok bool) {
	if c.wall().Before(c.floor) {
		return "", false
	}
	if c.o.Trusted {
		return "configuration", true
	}
	if source, ok := c.judge(); ok {
		return source, true
	}
	if c.vouched.Load() {
		return "systemd-timedated", true
	}
	if _, ok := c.table.offset(c.boot.Load()); ok {
		return "earlier in this boot", true
	}
	return "", false
}

// measure tells how far the wall clock is ahead of the time since boot.
func (c *Clock) measure() time.Duration {
	up := c.sinceUp()
	return time.Duration(c.wall().UnixNano()) - up
}

// built is the day of the sources that the daemon was built from: no clock can rightly stand before it.
func built() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t
			}
		}
	}
	return earliest
}

func signed(d time.Duration) string {
	if d < 0 {
		return "-" + d.Abs().Round(time.Millisecond).String()
	}
	return "+" + d.Round(time.Millisecond).String()
}
