package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/consumer"
)

const (
	patience = time.Minute // for what must come, on a slow day too
	askEvery = 30 * time.Millisecond
)

// condition says whether something is so. The status is nil while the daemon does not run.
type condition func(*health.Status) bool

func (s *scenario) cmdAwait(ts *testscript.TestScript, args []string) error {
	limit := patience
	if len(args) > 0 {
		if d, err := time.ParseDuration(args[0]); err == nil {
			limit, args = d, args[1:]
		}
	}
	begin := time.Now()
	if err := s.await(begin.Add(limit), args); err != nil {
		return err
	}
	ts.Logf("so after %s", time.Since(begin).Round(time.Millisecond))
	return nil
}

func (s *scenario) cmdWithin(ts *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errors.New("within LIMIT CONDITION…")
	}
	limit, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	mark := s.mark
	if err := s.await(time.Now().Add(patience), args[1:]); err != nil {
		return err
	}
	took := time.Since(mark)
	ts.Logf("so after %s", took.Round(time.Millisecond))
	if took > limit {
		return fmt.Errorf("it took %s, and %s are allowed", took, limit)
	}
	return nil
}

// await asks until the condition holds, or fails after the deadline, or when the daemon ends.
func (s *scenario) await(deadline time.Time, args []string) error {
	holds, err := s.condition(args)
	if err != nil {
		return err
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	was := s.running()
	for {
		var status *health.Status
		if s.running() {
			// A daemon that was just started does not answer yet, and one that hangs fails the wait.
			ctx, cancel := context.WithDeadline(s.ctx, deadline)
			got, err := s.daemon.Status(ctx)
			cancel()
			if err == nil {
				status = &got
				s.note(args[0], status)
			}
		} else if was {
			return fmt.Errorf("the daemon ended while waiting for %q", args)
		}
		if holds(status) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still not: %s", strings.Join(args, " "))
		}
		<-tick.C
	}
}

// note remembers how often the daemon has connected. While a loss is awaited the number stays: one that was over before
// anybody looked is a loss all the same.
func (s *scenario) note(awaited string, status *health.Status) {
	if awaited == "disconnected" {
		return
	}
	for _, p := range s.platforms {
		onStatus(p, func(q *health.Platform) bool { p.connects = q.Connects; return true })(status)
	}
}

// condition makes one of a script's words.
func (s *scenario) condition(args []string) (condition, error) {
	if len(args) == 0 {
		return nil, errors.New("a condition is needed")
	}
	word, args := args[0], args[1:]
	switch word {
	case "connected", "disconnected", "drained", "backfill":
		return s.ofPlatform(word, args)
	case "backlog", "records", "state", "trouble":
		return s.ofPlatformWith(word, args)
	case "event", "change", "value":
		return s.ofConsumer(word, args)
	case "polls", "device", "line", "renewed":
		return s.ofField(word, args)
	}
	return nil, fmt.Errorf("there is no condition %q", word)
}

// onStatus is a condition on the daemon's status of a platform.
func onStatus(p *platform, holds func(*health.Platform) bool) condition {
	return func(status *health.Status) bool {
		if status == nil {
			return false
		}
		i := slices.IndexFunc(status.Platforms, func(q health.Platform) bool { return q.Name == p.name })
		return i >= 0 && holds(&status.Platforms[i])
	}
}

func (s *scenario) ofPlatform(word string, args []string) (condition, error) {
	p, err := s.named(args, 0)
	if err != nil {
		return nil, err
	}
	switch word {
	case "connected":
		return onStatus(p, func(q *health.Platform) bool { return q.Connected }), nil
	case "disconnected":
		return onStatus(p, func(q *health.Platform) bool { return !q.Connected || q.Connects > p.connects }), nil
	case "drained":
		return onStatus(p, func(q *health.Platform) bool { return q.Connected && q.Backlog == 0 }), nil
	}
	return func(*health.Status) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.backfill.IsZero()
	}, nil
}

func (s *scenario) ofPlatformWith(word string, args []string) (condition, error) {
	p, err := s.named(args, 1)
	if err != nil {
		return nil, err
	}
	switch word {
	case "backlog":
		n, err := strconv.ParseUint(args[0], 10, 64)
		return onStatus(p, func(q *health.Platform) bool { return q.Backlog >= n }), err
	case "records":
		n, err := strconv.Atoi(args[0])
		before := p.recorder.Books().Unique
		return func(*health.Status) bool { return p.recorder.Books().Unique >= before+n }, err
	case "trouble":
		return onStatus(p, func(q *health.Platform) bool { return !q.Connected && strings.Contains(q.LastError, args[0]) }), nil
	}
	online := args[0] == "online"
	return func(*health.Status) bool {
		state, ok := p.recorder.State(p.prefix)
		return ok && state.Online == online
	}, nil
}

func (s *scenario) ofConsumer(word string, args []string) (condition, error) {
	n := 2
	if word == "value" {
		n = 3
	}
	p, err := s.named(args, n)
	if err != nil {
		return nil, err
	}
	mark := s.mark
	switch word {
	case "event":
		return func(*health.Status) bool {
			return p.happened(mark, func(e *consumer.Event) bool { return e.Kind == args[0] && e.Subject == args[1] })
		}, nil
	case "change":
		return func(*health.Status) bool {
			return p.happened(mark, func(e *consumer.Event) bool {
				return e.Kind == "change" && e.Subject == args[0] && string(e.Members["value"]) == args[1]
			})
		}, nil
	}
	return func(*health.Status) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.last[args[0]+"/"+args[1]] == args[2]
	}, nil
}

func (s *scenario) ofField(word string, args []string) (condition, error) {
	switch {
	case word == "renewed" && s.authority != nil:
		return func(*health.Status) bool { return s.authority.renewed() }, nil
	case word == "polls" && len(args) == 1:
		n, err := strconv.ParseUint(args[0], 10, 64)
		return func(status *health.Status) bool {
			if status == nil {
				return false
			}
			sum := uint64(0)
			for _, d := range status.Devices {
				sum += d.Polls
			}
			return sum >= n
		}, err
	case word == "device" && len(args) >= 2:
		state := strings.Join(args[1:], " ")
		return func(status *health.Status) bool {
			return status != nil && slices.ContainsFunc(status.Devices, func(d health.Device) bool {
				return d.Name == args[0] && d.State == state
			})
		}, nil
	case word == "line" && len(args) == 2:
		return func(status *health.Status) bool {
			return status != nil && slices.ContainsFunc(status.Lines, func(l health.Line) bool {
				return l.Name == args[0] && l.Up == (args[1] == "up")
			})
		}, nil
	}
	return nil, fmt.Errorf("%s %q: not so", word, args)
}
