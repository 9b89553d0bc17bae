package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/command"
	"edgegateway/systemd"
)

// fake is a service manager, a journal and a store in memory.
type fake struct {
	mu       sync.Mutex
	did      []string
	fails    error
	events   []field.Event
	busy     bool
	left     string
	queries  []systemd.Query
	journal  []systemd.Entry
	storedAt []time.Time
}

func (f *fake) Status(_ context.Context, name string) (systemd.Unit, error) {
	return systemd.Unit{Name: name, Active: "active"}, f.fails
}

func (f *fake) Restart(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, "restart "+name)
	return f.fails
}

func (f *fake) Reboot(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, "reboot")
	return f.fails
}

func (f *fake) event(e field.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events, f.storedAt = append(f.events, e), append(f.storedAt, time.Now())
}

// done lists what the manager was asked to do, and why the daemon was left.
func (f *fake) done() (did []string, left string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did), f.left
}

func (f *fake) texts() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, e := range f.events {
		fmt.Fprintf(&b, "%s %s: %s\n", e.Kind, e.Subject, e.Text)
	}
	return b.String()
}

func (f *fake) machine(state string) *Machine {
	return New(Options{
		Named: []string{"bluetooth.service"}, State: state, Units: f, Event: f.event, Log: slog.New(slog.DiscardHandler),
		Journal: func(_ context.Context, q systemd.Query) ([]systemd.Entry, bool, error) {
			f.queries = append(f.queries, q)
			return f.journal, true, nil
		},
		Leave: func(why string) { f.mu.Lock(); f.left = why; f.mu.Unlock() },
		Idle:  func() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.busy },
	})
}

// run runs the machine until the test has ended.
func run(t *testing.T, m *Machine) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func ask(m *Machine, verb, args string) command.Reply {
	return command.NewTable("gw", func() int64 { return 0 }, m.Verbs()...).
		Do(context.Background(), command.Request{Verb: verb, Args: json.RawMessage(args)}, command.Admin)
}

func TestOnlyNamedUnits(t *testing.T) {
	f := &fake{}
	m := f.machine(t.TempDir())
	for _, c := range []struct {
		args string
		want command.Code
	}{
		{`{"unit":"bluetooth"}`, command.OK},
		{`{"unit":"bluetooth.service"}`, command.OK},
		{`{"unit":"ssh.service"}`, command.Invalid},
		{`{"unit":"../bluetooth.service"}`, command.Invalid},
		{`{"unit":"bluetooth.socket"}`, command.Invalid},
		{`{"name":"bluetooth.service"}`, command.Invalid},
	} {
		if got := ask(m, "restart", c.args); got.Code != c.want {
			t.Errorf("restart %s: %s %s, want %s", c.args, got.Code, got.Text, c.want)
		}
	}
	if !slices.Equal(f.did, []string{"restart bluetooth.service", "restart bluetooth.service"}) {
		t.Errorf("the manager was asked to %q", f.did)
	}
	f.fails = fmt.Errorf("x: %w", systemd.ErrForbidden)
	if got := ask(m, "restart", `{"unit":"bluetooth"}`); got.Code != command.Refused {
		t.Errorf("polkit's no: %s %s", got.Code, got.Text)
	}
	f.fails = nil
	if got := ask(m, "units", ``); got.Code != command.OK || strings.Count(string(got.Result), `"name"`) != 2 {
		t.Errorf("units: %s %s", got.Code, got.Result)
	}
}

func TestRestartOfTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m := f.machine(t.TempDir())
		run(t, m)
		if got := ask(m, "restart", `{}`); got.Code != command.OK {
			t.Errorf("%s %s", got.Code, got.Text)
		}
		if _, left := f.done(); left != "" {
			t.Errorf("left %q before the answer", left)
		}
		if got := ask(m, "reboot", `{"reason":"x"}`); got.Code != command.Busy {
			t.Errorf("while it leaves: %s", got.Code)
		}
		time.Sleep(grace)
		synctest.Wait()
		if _, left := f.done(); left == "" {
			t.Error("it stays")
		}
	})
	alone := New(Options{})
	if got := ask(alone, "restart", `{}`); got.Code != command.Refused {
		t.Errorf("with nobody to start it again: %s", got.Code)
	}
}

func TestRebootTellsItsReason(t *testing.T) {
	if bootID() == "" {
		t.Skip("this kernel names no boots")
	}
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m := f.machine(state)
		run(t, m)
		for _, args := range []string{`{}`, `{"reason":" "}`, `{"reason":"` + strings.Repeat("x", 401) + `"}`} {
			if got := ask(m, "reboot", args); got.Code != command.Invalid {
				t.Errorf("reboot %s: %s", args, got.Code)
			}
		}
		got := ask(m, "reboot", `{"reason":"new antenna"}`)
		if did, _ := f.done(); got.Code != command.OK || did != nil {
			t.Errorf("%s %s, and did %q before the answer", got.Code, got.Text, did)
		}
		time.Sleep(grace)
		synctest.Wait()
		if did, _ := f.done(); !slices.Equal(did, []string{"reboot"}) || !strings.Contains(f.texts(), "new antenna") {
			t.Errorf("did %q, told:\n%s", did, f.texts())
		}
	})
	noted := filepath.Join(state, rebootFile)
	text, err := os.ReadFile(noted)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ noted, want string }{
		{string(text), "was not rebooted as asked: new antenna"}, // a restart of the daemon came first
		{strings.Replace(string(text), bootID(), "another-boot", 1), "was rebooted as asked: new antenna"},
		{"\x00\x00\x00", ""},
	} {
		if err := os.WriteFile(noted, []byte(c.noted), 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			run(t, f.machine(state))
			if got := f.texts(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
		if _, err := os.Stat(noted); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is told again at the next start: %v", err)
		}
	}
}

func TestRebootThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fails: systemd.ErrForbidden}
		m := f.machine(t.TempDir())
		run(t, m)
		ask(m, "reboot", `{"reason":"x"}`)
		time.Sleep(grace)
		synctest.Wait()
		if !strings.Contains(f.texts(), "could not be rebooted: polkit") {
			t.Errorf("told:\n%s", f.texts())
		}
	})
}

func TestLogsArguments(t *testing.T) {
	f := &fake{journal: []systemd.Entry{{T: 1, Priority: 4, From: "gatewayd", Text: "a"}}}
	m := f.machine(t.TempDir())
	for _, c := range []struct {
		args string
		want command.Code
	}{
		{``, command.OK},
		{`{"unit":"kernel","since":"90s","priority":"err","bytes":2048}`, command.OK},
		{`{"unit":"bluetooth"}`, command.OK},
		{`{"unit":"ssh"}`, command.Invalid},
		{`{"since":"yesterday"}`, command.Invalid},
		{`{"since":"-5m"}`, command.Invalid},
		{`{"since":"9000h"}`, command.Invalid},
		{`{"priority":"loud"}`, command.Invalid},
		{`{"bytes":40000}`, command.Invalid},
		{`{"bytes":10}`, command.Invalid},
	} {
		if got := ask(m, "logs", c.args); got.Code != c.want {
			t.Errorf("logs %s: %s %s, want %s", c.args, got.Code, got.Text, c.want)
		}
	}
	want := []systemd.Query{
		{Unit: Self, Back: time.Hour, Priority: 6, Bytes: replyBytes},
		{Unit: "kernel", Back: 90 * time.Second, Priority: 3, Bytes: 2048},
		{Unit: "bluetooth.service", Back: time.Hour, Priority: 6, Bytes: replyBytes},
	}
	if !slices.Equal(f.queries, want) {
		t.Errorf("the journal was asked %+v\nwant %+v", f.queries, want)
	}
}

// TestLogsGiveWay holds that a transfer waits while anything else does, and never has more than a piece under way.
func TestLogsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{busy: true}
		for i := range 100 {
			f.journal = append(f.journal, systemd.Entry{T: int64(i), Priority: 6, From: "x", Text: strings.Repeat("y", 400)})
		}
		m := f.machine(t.TempDir())
		run(t, m)
		got := ask(m, "logs", `{"send":true}`)
		var answer Logs
		if err := json.Unmarshal(got.Result, &answer); err != nil || answer.Pieces < 10 || answer.Entries != nil || !answer.More {
			t.Fatalf("%s %s: %v", got.Code, got.Result, err)
		}
		time.Sleep(time.Minute)
		if len(f.texts()) != 0 {
			t.Error("it does not wait for a busy link")
		}
		if got := ask(m, "logs", `{"send":true}`); got.Code != command.Busy {
			t.Errorf("a second transfer: %s", got.Code)
		}
		f.mu.Lock()
		f.busy = false
		f.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(f.events) != answer.Pieces {
			t.Fatalf("%d events, want %d", len(f.events), answer.Pieces)
		}
		lines := 0
		for i, e := range f.events {
			lines += strings.Count(e.Text, "\n")
			if len(e.Text) > pieceBytes || e.More[1].Value.String() != fmt.Sprint(i+1) {
				t.Errorf("piece %d: %d bytes, numbered %s", i+1, len(e.Text), e.More[1].Value)
			}
			if i > 0 && f.storedAt[i].Sub(f.storedAt[i-1]) < pieceEvery {
				t.Errorf("piece %d follows after %s", i+1, f.storedAt[i].Sub(f.storedAt[i-1]))
			}
		}
		if lines != 100 {
			t.Errorf("%d lines came, want 100", lines)
		}
	})
}

func TestLogsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{busy: true, journal: []systemd.Entry{{Text: "x"}}}
		m := f.machine(t.TempDir())
		run(t, m)
		ask(m, "logs", `{"send":true}`)
		time.Sleep(sendWithin + time.Minute)
		synctest.Wait()
		if !strings.Contains(f.texts(), "given up") {
			t.Errorf("told %q", f.texts())
		}
	})
}
