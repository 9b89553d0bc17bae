package command_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/command"
)

// office is a desk with two operators, and what came of it.
type office struct {
	t     *testing.T
	dir   string
	keys  map[string]ed25519.PrivateKey
	table *command.Table

	desk     *command.Desk
	log      *audit.Log
	stop     context.CancelFunc
	done     chan struct{}
	believed bool
	ahead    time.Duration // the clock is, of the true time
	resolve  func(audit.Entry) (*command.Reply, bool)
	sendErr  error

	mu      sync.Mutex
	ran     []string // what the verbs did
	replies []command.Reply
	went    []string // the replies, as "id code platform"
	events  []field.Event
}

func newOffice(t *testing.T) *office {
	o := &office{t: t, dir: t.TempDir(), believed: true, keys: map[string]ed25519.PrivateKey{}}
	for _, name := range []string{"control-room", "guest"} {
		_, o.keys[name], _ = ed25519.GenerateKey(nil)
	}
	do := func(name string) func(context.Context, json.RawMessage) (any, error) {
		return func(_ context.Context, args json.RawMessage) (any, error) {
			o.note(name + string(args))
			return map[string]string{"did": name}, nil
		}
	}
	o.table = command.NewTable("gw1", now, []command.Verb{
		{Name: "status", Run: do("status")},
		{Name: "write", Level: command.Operate, Run: do("write")},
		{Name: "reboot", Level: command.Admin, Run: do("reboot")},
		{Name: "drill", Level: command.Operate, Long: true, Limit: time.Hour, Run: func(ctx context.Context, _ json.RawMessage) (any, error) {
			o.note("drill")
			command.Progress(ctx, 1, 2, "half")
			<-ctx.Done()
			return nil, ctx.Err()
		}},
		{Name: "slow", Level: command.Operate, Limit: time.Second, Run: func(ctx context.Context, _ json.RawMessage) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}},
	}...)
	o.open()
	return o
}

func now() int64 { return time.Now().UnixMilli() }

func (o *office) note(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ran = append(o.ran, s)
}

// leave writes what a run that crashed left in the log: entries of control-room's writes.
func (o *office) leave(entries ...audit.Entry) {
	o.t.Helper()
	log, _, _, err := audit.Open(o.dir, audit.Options{Now: now})
	if err != nil {
		o.t.Fatal(err)
	}
	defer log.Close()
	for _, e := range entries {
		e.Operator, e.Verb, e.Expires = "control-room", "write", now()+30_000
		if _, err := log.Append(e, true); err != nil {
			o.t.Fatal(err)
		}
	}
}

// open begins a run of the desk with what the log holds.
func (o *office) open() {
	o.t.Helper()
	log, entries, broken, err := audit.Open(o.dir, audit.Options{Now: now})
	if err != nil || broken != nil {
		o.t.Fatal(err, broken)
	}
	o.log = log
	o.desk = command.NewDesk(command.DeskOptions{
		Gateway: "gw1", Table: o.table, Audit: log, Entries: entries, Log: slog.New(slog.DiscardHandler),
		Clock: func() (int64, bool) { return now() + o.ahead.Milliseconds(), o.believed },
		Resolve: func(e audit.Entry) (*command.Reply, bool) {
			if o.resolve == nil {
				return nil, false
			}
			return o.resolve(e)
		},
		Send: func(_ context.Context, platform string, reply []byte, e field.Event) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.sendErr != nil {
				return o.sendErr
			}
			if reply != nil {
				var r command.Reply
				if err := json.Unmarshal(reply, &r); err != nil {
					o.t.Error(err)
				}
				o.replies = append(o.replies, r)
				o.went = append(o.went, fmt.Sprintf("%s %s %s", r.ID, r.Code, platform))
			}
			if e.Kind != "" {
				o.events = append(o.events, e)
			}
			return nil
		},
	}, []command.Operator{
		{Name: "control-room", Key: o.keys["control-room"].Public().(ed25519.PublicKey), Verbs: []string{"status", "write", "drill", "slow", "reboot"}, Level: command.Operate},
		{Name: "guest", Key: o.keys["guest"].Public().(ed25519.PublicKey), Verbs: []string{"status"}, Level: command.Admin},
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	o.stop, o.done = stop, done
	go func() {
		defer close(done)
		if err := o.desk.Run(ctx); err != nil {
			o.t.Error(err)
		}
	}()
}

// close ends the run.
func (o *office) close() {
	o.stop()
	<-o.done
	o.log.Close()
}

func request(id, verb string) command.Request {
	return command.Request{V: 1, ID: id, Gateway: "gw1", Verb: verb, Issued: now(), Expires: now() + 30_000}
}

// sign makes what the platform would send, as the dialect reads it.
func (o *office) sign(operator string, r command.Request) command.Request {
	o.t.Helper()
	payload, err := json.Marshal(r)
	if err != nil {
		o.t.Fatal(err)
	}
	r.Token = command.Sign(o.keys[operator], operator, payload)
	return r
}

func (o *office) give(r command.Request) { o.giveOn("platform", r) }

func (o *office) giveOn(platform string, r command.Request) {
	o.desk.Take(o.t.Context(), platform, []string{"status"}, r)
	synctest.Wait()
}

// where gives what was answered since it was last asked, sorted, as "id code platform".
func (o *office) where() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.went
	o.went = nil
	slices.Sort(all)
	return all
}

// took gives what was answered since it was last asked, as "id code".
func (o *office) took() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, r := range o.replies {
		all = append(all, r.ID+" "+string(r.Code))
	}
	o.replies = nil
	return all
}

func (o *office) did() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.ran
	o.ran = nil
	return all
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestHostileRequestsReachNoVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		with := func(id, verb string, change func(*command.Request)) command.Request {
			r := request(id, verb)
			if change != nil {
				change(&r)
			}
			return r
		}
		stranger := func(r command.Request) command.Request {
			_, key, _ := ed25519.GenerateKey(nil)
			payload, _ := json.Marshal(r)
			r.Token = command.Sign(key, "control-room", payload)
			return r
		}
		altered := o.sign("control-room", request("altered", "write"))
		parts := bytes.Split(altered.Token, []byte("."))
		other := bytes.Split(o.sign("control-room", with("altered", "write", func(r *command.Request) { r.Args = json.RawMessage(`{"value":99}`) })).Token, []byte("."))
		altered.Token = bytes.Join([][]byte{parts[0], other[1], parts[2]}, []byte("."))
		none := request("none", "write")
		none.Token = []byte("eyJhbGciOiJub25lIn0." + string(parts[1]) + ".")
		for _, c := range []struct {
			r    command.Request
			code command.Code
		}{
			{with("retained", "write", nil), command.Unauthorized},
			{o.sign("control-room", with("expired", "write", func(r *command.Request) { r.Issued, r.Expires = now()-60_000, now()-1 })), command.Expired},
			{o.sign("control-room", with("future", "write", func(r *command.Request) { r.Issued, r.Expires = now()+31_000, now()+60_000 })), command.Invalid},
			{o.sign("control-room", with("endless", "write", func(r *command.Request) { r.Expires = now() + 25*3_600_000 })), command.Invalid},
			{o.sign("control-room", with("timeless", "write", func(r *command.Request) { r.Expires = 0 })), command.Invalid},
			{o.sign("control-room", with("issueless", "write", func(r *command.Request) { r.Issued = 0 })), command.Invalid},
			{o.sign("control-room", with("elsewhere", "write", func(r *command.Request) { r.Gateway = "gw2" })), command.Unauthorized},
			{o.sign("control-room", with("old-version", "write", func(r *command.Request) { r.V = 2 })), command.Invalid},
			{o.sign("control-room", with("fly", "fly", nil)), command.UnknownVerb},
			{o.sign("control-room", with("level", "reboot", nil)), command.Unauthorized},
			{o.sign("guest", with("guest", "write", nil)), command.Unauthorized},
			{with("unsigned", "write", nil), command.Unauthorized},
			{stranger(with("stranger", "write", nil)), command.Unauthorized},
			{altered, command.Unauthorized},
			{none, command.Unauthorized},
		} {
			o.give(c.r)
			want(t, c.r.ID, o.took(), c.r.ID+" "+string(c.code))
		}
		kept := o.sign("control-room", request("kept", "write"))
		kept.Retained = true
		o.give(kept)
		want(t, "retained", o.took(), "kept retained")
		o.give(kept)
		want(t, "retained, again at the next connect", o.took())
		kept.Retained = false
		o.give(kept)
		want(t, "the same, not retained", o.took(), "kept repeated")

		o.believed = false
		o.give(o.sign("control-room", request("clockless", "write")))
		want(t, "no clock", o.took(), "clockless refused")
		want(t, "what was done", o.did())
		o.give(o.sign("control-room", request("look", "status")))
		want(t, "no clock, but only looking", o.took(), "look ok")
		want(t, "looking", o.did(), "status")

		// The ids of what strangers sent are still free for those whose they are.
		o.believed = true
		for _, id := range []string{"stranger", "altered", "none", "unsigned"} {
			o.give(o.sign("control-room", request(id, "write")))
			want(t, "the true "+id, o.took(), id+" ok")
		}
		if n := len(o.did()); n != 4 {
			t.Errorf("%d true ones were done", n)
		}
	})
}

func TestAnIDIsRunOnceAlsoAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		r := o.sign("control-room", request("1", "write"))
		o.give(r)
		o.give(r)
		want(t, "twice", o.took(), "1 ok", "1 repeated")
		o.close()
		o.open()
		o.give(r)
		o.mu.Lock()
		last := o.replies[len(o.replies)-1]
		o.mu.Unlock()
		if last.Code != command.Repeated || string(last.Result) != `{"did":"write"}` || !strings.Contains(last.Text, "ok") {
			t.Errorf("after a restart: %+v", last)
		}
		want(t, "after a restart", o.took(), "1 repeated")
		time.Sleep(time.Minute)
		o.give(r)
		want(t, "long expired", o.took(), "1 repeated")
		want(t, "what was done", o.did(), "write")
		o.close()
		if s, err := audit.Verify(o.dir, 0, ""); err != nil || s.Entries < 4 {
			t.Errorf("the audit log: %+v, %v", s, err)
		}
	})
}

func TestACrashInTheMiddleIsAnsweredAsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		// A crash is a log that ends early: taken and never done; done and never told.
		o.close()
		reply, _ := json.Marshal(command.Reply{V: 1, ID: "ended", Gateway: "gw1", Verb: "write", Code: command.OK, Result: json.RawMessage(`{"x":1}`)})
		o.leave(
			audit.Entry{Kind: audit.Taken, ID: "middle"},
			audit.Entry{Kind: audit.Taken, ID: "ended"},
			audit.Entry{Kind: audit.Done, ID: "ended", Code: "ok", Reply: reply},
			audit.Entry{Kind: audit.Taken, ID: "told"},
			audit.Entry{Kind: audit.Done, ID: "told", Code: "ok", Reply: reply},
			audit.Entry{Kind: audit.Told, ID: "told"},
			audit.Entry{Kind: audit.Taken, ID: "known"},
			audit.Entry{Kind: audit.Taken, ID: "going-on"},
		)
		o.resolve = func(e audit.Entry) (*command.Reply, bool) {
			switch e.ID {
			case "known":
				return &command.Reply{V: 1, Gateway: "gw1", Code: command.Refused, Result: json.RawMessage("{}")}, false
			case "going-on":
				return nil, true
			}
			return nil, false
		}
		o.open()
		synctest.Wait()
		got := o.took()
		slices.Sort(got)
		want(t, "after the crash", got, "ended ok", "known refused", "middle failed")
		o.desk.Complete(t.Context(), "control-room", "going-on", "well", nil)
		o.desk.Complete(t.Context(), "control-room", "going-on", "well", nil)
		want(t, "what went on", o.took(), "going-on ok")
		for _, id := range []string{"middle", "ended", "told", "known"} {
			o.give(o.sign("control-room", request(id, "write")))
			want(t, id+" again", o.took(), id+" repeated")
		}
		o.close()
		o.open()
		synctest.Wait()
		want(t, "after another restart", o.took())
		want(t, "what was done", o.did())
		o.close()
	})
}

func TestAReplyGoesWhereTheCommandCameFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		done := o.sign("control-room", request("done", "write"))
		o.giveOn("a", done)
		o.giveOn("a", o.sign("control-room", request("refused", "fly")))
		o.giveOn("b", request("stranger", "write"))
		o.giveOn("b", request("plain", "status"))
		o.giveOn("b", done)
		want(t, "each", o.where(), "done ok a", "done repeated b", "plain ok b", "refused unknown_verb a", "stranger unauthorized b")

		long := o.sign("control-room", request("long", "drill"))
		for _, platform := range []string{"a", "a", "b", "b", "c"} {
			o.giveOn(platform, long)
		}
		want(t, "while it runs", o.where())
		o.desk.Cancel("control-room", "long", "control-room")
		synctest.Wait()
		want(t, "one command on three platforms", o.where(), "long failed a", "long repeated b", "long repeated c")

		o.giveOn("b", o.sign("control-room", request("stopped", "drill")))
		o.giveOn("a", o.sign("control-room", request("lasting", "drill")))
		o.sendErr = errors.New("full")
		o.giveOn("b", o.sign("control-room", request("kept", "write")))
		o.close()
		o.sendErr = nil
		// An older version may have said nothing of the platform.
		o.leave(audit.Entry{Kind: audit.Taken, ID: "old"})
		o.resolve = func(e audit.Entry) (*command.Reply, bool) { return nil, e.ID == "lasting" }
		o.open()
		synctest.Wait()
		want(t, "after a restart", o.where(), "kept ok b", "old failed ", "stopped failed b")
		o.giveOn("b", o.sign("control-room", request("lasting", "drill")))
		o.desk.Complete(t.Context(), "control-room", "lasting", "well", nil)
		want(t, "what went on", o.where(), "lasting ok a", "lasting repeated b")
		o.close()
	})
}

func TestAReplyThatCouldNotBeStoredIsGivenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.sendErr = errors.New("full")
		o.give(o.sign("control-room", request("1", "write")))
		o.give(o.sign("control-room", request("2", "fly")))
		want(t, "while full", o.took())
		o.give(o.sign("control-room", request("1", "write")))
		want(t, "again, before the first answer could leave", o.took())
		o.close()
		o.sendErr = nil
		o.open()
		synctest.Wait()
		got := o.took()
		slices.Sort(got)
		want(t, "after a restart", got, "1 ok", "2 unknown_verb")
		o.close()
	})
}

func TestCountersSetTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		give := func(ctr uint64) {
			r := request(fmt.Sprint(ctr), "write")
			r.Counter, r.Args = ctr, json.RawMessage(fmt.Sprint(ctr))
			o.give(o.sign("control-room", r))
		}
		give(12)
		give(10)
		give(11)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want(t, "overtaken on the way", o.did(), "write10", "write11", "write12")
		give(13)
		want(t, "the next, at once", o.did(), "write13")
		o.took()
		give(9)
		want(t, "too late", o.took(), "9 refused")
		o.close()
		o.open()
		give(13 - 5)
		want(t, "too late after a restart", o.took(), "8 refused")
		give(20)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want(t, "after a gap", o.did(), "write20")
		o.close()
	})
}

func TestLongOnesHoldUpNobodyAndCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.give(o.sign("control-room", request("long", "drill")))
		o.give(o.sign("control-room", request("short", "write")))
		want(t, "behind a long one", o.took(), "short ok")
		o.give(o.sign("control-room", request("long", "drill")))
		want(t, "a second time while it runs", o.took())
		if o.desk.Cancel("guest", "long", "guest") || o.desk.Cancel("control-room", "none", "x") {
			t.Error("somebody cancelled what is not theirs")
		}
		if !o.desk.Cancel("control-room", "long", "control-room") {
			t.Error("it cannot be cancelled")
		}
		synctest.Wait()
		o.mu.Lock()
		if r := o.replies[0]; r.Code != command.Failed || !strings.Contains(r.Text, "cancelled by control-room") {
			t.Errorf("cancelled: %+v", r)
		}
		if e := o.events[0]; e.Kind != "command" || e.Text != "half" {
			t.Errorf("progress: %+v", e)
		}
		o.mu.Unlock()
		o.took()
		for i := range 5 {
			o.give(o.sign("control-room", request(fmt.Sprint("d", i), "drill")))
		}
		want(t, "too many long ones", o.took(), "d4 busy")
		begun := time.Now()
		o.give(o.sign("control-room", request("slow", "slow")))
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, "a verb over its limit", o.took(), "slow timeout")
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("it took %s", d)
		}
		o.close()
		o.open()
		synctest.Wait()
		got := o.took()
		slices.Sort(got)
		want(t, "broken off by a stop", got, "d0 failed", "d1 failed", "d2 failed", "d3 failed")
		o.close()
	})
}

// TestAWrongClockForgetsNothing: a clock that stood in the future, unbelieved, must not open the way for a second run.
func TestAWrongClockForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		r := request("1", "write")
		r.Expires = now() + 12*3_600_000
		once := o.sign("control-room", r)
		o.give(once)
		want(t, "once", o.took(), "1 ok")
		o.close()
		o.ahead, o.believed = 30*24*time.Hour, false
		o.open()
		synctest.Wait()
		o.close()
		o.ahead, o.believed = 0, true
		o.open()
		o.give(once)
		want(t, "when the clock is right again", o.took(), "1 repeated")
		want(t, "what was done", o.did(), "write")
		o.close()
	})
}

func TestStrangersAreAnsweredOnlyWhileTheyAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		for i := range 200 {
			o.give(request(fmt.Sprint(i), "write"))
			o.desk.Unreadable(t.Context(), "platform", errors.New("garbage"))
		}
		if n := len(o.took()); n == 0 || n > 50 {
			t.Errorf("%d strangers were answered", n)
		}
		o.give(o.sign("control-room", request("true", "write")))
		want(t, "meanwhile", o.took(), "true ok")
	})
}

func TestUnsignedOnesMayLookWhereThatIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		plain := request("1", "status")
		plain.Expires, plain.Issued = 0, 0
		o.give(plain)
		o.give(plain)
		want(t, "plain", o.took(), "1 ok", "1 repeated")
		if n, _ := o.log.Head(); n != 0 {
			t.Errorf("the audit log has %d entries of somebody who only looked", n)
		}
		old := request("2", "status")
		old.Issued, old.Expires = now()-2000, now()-1000
		o.give(old)
		want(t, "expired", o.took(), "2 expired")
	})
}

func TestLocalOnesAreInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		if r := o.desk.Local(t.Context(), command.Request{Verb: "write"}, command.Observe); r.Code != command.Unauthorized {
			t.Errorf("from the page: %+v", r)
		}
		if r := o.desk.Local(t.Context(), command.Request{Verb: "write"}, command.Admin); r.Code != command.OK {
			t.Errorf("from the socket: %+v", r)
		}
		want(t, "what was done", o.did(), "write")
		if n, _ := o.log.Head(); n != 2 {
			t.Errorf("the audit log has %d entries", n)
		}
	})
}
