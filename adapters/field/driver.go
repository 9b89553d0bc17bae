package field

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Tag is one point of a device as the configuration or a profile states it. Addresses, types and orders are strings
// in the protocol's own notation, parsed by Bind.
type Tag struct {
	Name   string
	At     string            // "input 72", "holding 210 bit 3", "00010000"
	Type   string            // "float32", "int16", "bool", "bcd32", "string", …
	Length int               // of a string: its length in bytes; 0 otherwise
	Order  string            // of bytes and words: "ABCD" (default), "CDAB", "BADC", "DCBA"
	Scale  float64           // value = raw × Scale + Offset; 0 means 1
	Offset float64           //
	Unit   string            // SI or trade notation
	Group  string            // MainGroup (also "") or SlowGroup
	Event  bool              // class = "event": every change is an event
	Null   []string          // raw values that mean "not there", in the notation of the type: "0x8000", "65535", "nan"
	Enum   map[string]string // raw value → word
	Mask   string            // bits of the raw value that count, such as "0x0FFF"; "" for all
	Limits *Limits           // of what may be written; nil for the type's own range
	Write  bool              // named in the device's writable list
	Select bool              // it must be selected before it is written
	// Requires is what other tags of the device must be for a write: tag → value, as a person writes it. ReadBack says
	// that the tag is read after a write, and must be what was written.
	Requires map[string]string
	ReadBack bool
	Extra    map[string]string // further keys of one protocol, as written
}

// Limits bounds what may be written to a tag, in engineering units, both ends allowed.
type Limits struct {
	Min, Max float64
	Step     float64       // the most that one write may change the value by; 0 for any
	Every    time.Duration // the least time between two writes; 0 for none
}

// Device is one box on a line, ready to be bound.
type Device struct {
	Name     string
	Line     string
	Protocol string            // "modbus", "dlt645", …
	Profile  string            // where its tags come from; "" when they stand in the configuration
	Address  string            // in the protocol's notation; leading zeros count
	Mode     string            // the line mode that it is spoken to at, "2400 8E1"; "" for the line's own
	Timeout  time.Duration     // for one answer, 0 for the protocol's own
	Secret   string            // the password that the device asks for, in the protocol's notation; "" when none is known. Never logged
	Quirks   map[string]string // what this device does otherwise: "max_registers" = "60", "holes" = "holding 10-19"
	Tags     []Tag
}

// Driver is one protocol on one line.
type Driver interface {
	// Bind checks the device's address, tags and quirks and plans its requests. It does no I/O, so `gatewayd check`
	// calls it too. It reports every fault at once: errors.Join of *TagError (or of *DeviceError for the address and
	// the quirks).
	Bind(Device) (Station, error)
}

// Station is one bound device. Its methods are called from its line's loop only, never two at once.
type Station interface {
	// Groups are the shapes of what Read yields, main first; the same pointers each time.
	Groups() []*Group
	// Read asks the device for one group. Record.Group is the group's shape, and every point has a value or a
	// quality; Seq and At are left to the caller. The error is nil when the device answered anything at all, also
	// when it answered with exceptions. Otherwise no point has a value, the qualities say why, and errors.Is tells:
	// ErrSilent (nothing came in time), ErrAbsent (a gateway said that the unit is not there), ErrLine (the line
	// itself is down: the fault is not the device's), or the context's own error.
	Read(ctx context.Context, group string) (Record, error)
}

// Prober is a Station that can be asked for a sign of life more cheaply than with Read.
type Prober interface {
	// Probe sends one shortest request; nil when the device answered anything.
	Probe(ctx context.Context) error
}

// Writer is a Station that accepts writes.
type Writer interface {
	// Write sends one value, in engineering units, to the tag; nil only when the device confirmed it. The value was
	// judged against the tag's limits before. Errors as for Read, *ExceptionError when the device refused, and
	// ErrUnknownTag, ErrReadOnly or ErrRange when nothing was sent.
	Write(ctx context.Context, tag string, v Value) error
}

// Listener is a Driver whose devices speak unasked: advertisements, pushing meters.
type Listener interface {
	// Listen blocks until the context ends or the line fails, and calls emit for each record, from one goroutine. A
	// point that a message does not speak of has the quality Absent; a record in which all are is a sign of life. A
	// record without a Group says that the line works, though nobody has spoken yet.
	Listen(ctx context.Context, emit func(Record)) error
}

// Pusher is a Station whose device may speak by itself.
type Pusher interface {
	// Pushes says that the device speaks by itself and is never asked: its records come by its driver's Listener.
	Pushes() bool
}

// Hearer is a Station of which some groups, or all, come unasked, through its driver's Listen.
type Hearer interface {
	// Hears says whether the group comes unasked. It is not polled then; Read waits for what comes next.
	Hears(group string) bool
	// Hear makes the record of one message, as it was captured: for the frames that prove a profile. No I/O.
	Hear(message []byte) (Record, error)
}

// Mute is a Station that can be written and says nothing, such as a broadcast address.
type Mute interface {
	// Mute says that the device never answers: it is not polled, and nobody confirms a write.
	Mute() bool
}

// Sentinels on which a caller branches; adapters wrap them with the story.
var (
	ErrSilent     = errors.New("no answer")
	ErrAbsent     = errors.New("the gateway reports that the unit does not answer")
	ErrLine       = errors.New("the line is down")
	ErrUnknownTag = errors.New("no such tag")
	ErrReadOnly   = errors.New("the tag cannot be written")
	ErrRange      = errors.New("the value does not fit the tag")
	ErrRefused    = errors.New("not allowed now")
)

// ExceptionError is a device's own refusal.
type ExceptionError struct {
	Code int    // in the protocol's numbering
	Name string // in the protocol's words: "illegal data address"
}

func (e *ExceptionError) Error() string {
	return fmt.Sprintf("the device answered exception %d (%s)", e.Code, e.Name)
}

// TagError is a fault in one key of one tag, in words for the installer. The configuration adds file and line.
type TagError struct {
	Tag     string // its name
	Key     string // "at", "type", "order", …
	Value   string // what stands there
	Problem string // what is wrong with it
	Hint    string // what is allowed, what to do next; may be ""
}

func (e *TagError) Error() string {
	s := fmt.Sprintf("tag %q: %s = %q: %s", e.Tag, e.Key, e.Value, e.Problem)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// DeviceError is a fault in one key of a device: "address", a quirk.
type DeviceError struct {
	Key, Value, Problem, Hint string
}

func (e *DeviceError) Error() string {
	s := fmt.Sprintf("%s = %q: %s", e.Key, e.Value, e.Problem)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

type awaitKey struct{}

// WithAwait gives the Station's methods a function to wait with, in which the line's loop goes on with what needs no
// turn on the line: what is heard is taken.
func WithAwait(ctx context.Context, await func(ctx context.Context, done <-chan struct{}) error) context.Context {
	return context.WithValue(ctx, awaitKey{}, await)
}

// Await is how a Station waits for what may take longer than a second: until done is closed, or the context ends,
// whose error it returns.
func Await(ctx context.Context, done <-chan struct{}) error {
	if f, ok := ctx.Value(awaitKey{}).(func(context.Context, <-chan struct{}) error); ok {
		return f(ctx, done)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type pauseKey struct{}

// WithPause gives Station.Read a function to call between two requests, in which the line's loop serves what cannot
// wait for the rest of the group: a command waits for one request, not for thirty.
func WithPause(ctx context.Context, pause func()) context.Context {
	return context.WithValue(ctx, pauseKey{}, pause)
}

// Pause is called by a Station between two requests of one Read, when the line is its own again and nothing is half
// done. What runs inside may use the same line and the same station, so answers of the line are void after it; it gets
// a context of its own, since this one would make it pause again.
func Pause(ctx context.Context) {
	if f, ok := ctx.Value(pauseKey{}).(func()); ok {
		f()
	}
}
