package command

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Level is how much a verb can do, least first.
type Level uint8

// The levels. Observe changes nothing; Operate moves things in the field; Configure changes what the gateway does;
// Admin can stop it.
const (
	Observe Level = iota
	Operate
	Configure
	Admin
)

var levelNames = [...]string{"observe", "operate", "configure", "admin"}

// String is the level as the configuration writes it.
func (l Level) String() string { return levelNames[l] }

// ParseLevel reads what String writes.
func ParseLevel(s string) (Level, error) {
	for i, name := range levelNames {
		if s == name {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("there is no level %q; there are: observe, operate, configure, admin", s)
}

// Verb is one thing that the gateway can be asked to do.
type Verb struct {
	Name  string
	Level Level
	Args  string        // how its arguments are written on the command line
	Does  string        // one line for people
	Limit time.Duration // after which it is broken off with `timeout`; 0 for 30 s
	Long  bool          // it takes its time: others of the same operator do not wait for it, and it tells its progress
	// Run does it. The result is encoded as JSON; one that is an Afterwards also says what follows the reply. An *Error
	// decides the reply's code; other errors are judged by what they wrap. A verb that is broken off returns soon.
	Run func(ctx context.Context, args json.RawMessage) (any, error)
}

// limit is when the verb is broken off.
func (v Verb) limit() time.Duration {
	if v.Limit > 0 {
		return v.Limit
	}
	return 30 * time.Second
}

// Afterwards is a result with something to be done when the reply is safe: a verb that ends the daemon answers first.
type Afterwards struct {
	Result any
	Do     func()
}

// context keys of what a verb is told besides its arguments.
type (
	progressKey struct{}
	callerKey   struct{}
)

// Caller tells a verb who asked.
type Caller struct {
	Operator string // "local" for the command line and the page
	ID       string // of the command; "" for a local one
}

// CallerOf tells who asked for the verb that runs with this context.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Progress tells whoever asked for the verb that runs with this context how far it is: done of total (0 for unknown), and
// what it is at. It may be called often; what comes too fast is left out.
func Progress(ctx context.Context, done, total int, text string) {
	if tell, ok := ctx.Value(progressKey{}).(func(done, total int, text string)); ok {
		tell(done, total, text)
	}
}

// WithProgress gives a context with which Progress calls tell.
func WithProgress(ctx context.Context, tell func(done, total int, text string)) context.Context {
	return context.WithValue(ctx, progressKey{}, tell)
}
