package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/gatewayd/audit"
	"edgegateway/gatewayd/command"
)

// TestWhatComesAtTheEndIsAnswered: platforms are connected still when the desk has ended.
func TestWhatComesAtTheEndIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.stop()
		<-o.done
		o.give(o.sign("control-room", request("1", "write")))
		o.give(o.sign("guest", request("2", "status")))
		want(t, "after the end", o.took(), "1 failed", "2 failed")
		o.close()
		o.open()
		synctest.Wait()
		want(t, "after the next start", o.took())
		want(t, "what was done", o.did())
		o.close()
	})
}

// TestAnAnswerThatComesTwoWaysIsGivenOnce: a trial can end while the desk still goes through what the last run left.
func TestAnAnswerThatComesTwoWaysIsGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.close()
		o.leave(audit.Entry{Kind: audit.Taken, ID: "trial"})
		o.resolve = func(e audit.Entry) (*command.Reply, bool) {
			o.desk.Complete(t.Context(), e.Operator, e.ID, "kept", nil)
			return &command.Reply{V: 1, Gateway: "gw1", Code: command.OK, Result: json.RawMessage("{}")}, false
		}
		o.open()
		synctest.Wait()
		want(t, "answers", o.took(), "trial ok")
		o.close()
	})
}

// TestALookIsOnFlashBeforeItIsTold holds that how a command ended is synced before its reply is stored, also where it
// only looked: else a power cut leaves a command that was taken, and a second answer, "outcome unknown", follows.
func TestALookIsOnFlashBeforeItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.close()
		// What takes every line and cannot be synced.
		names, err := filepath.Glob(filepath.Join(o.dir, "audit-*.log"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		if err := os.Remove(names[0]); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(os.DevNull, names[0]); err != nil {
			t.Fatal(err)
		}
		o.open()
		defer o.close()
		o.give(o.sign("control-room", request("1", "status")))
		want(t, "the answer", o.took(), "1 ok")
		if _, err := o.log.Append(audit.Entry{Kind: audit.Note}, false); err == nil {
			t.Error("nothing had to be synced")
		}
	})
}

// TestABrokenLogHasNothingRunTwice holds that what was issued before the log was set aside is not run: it may have been.
func TestABrokenLogHasNothingRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		signed := func(id, verb string) command.Request {
			r := request(id, verb)
			r.Expires = now() + time.Hour.Milliseconds()
			return o.sign("control-room", r)
		}
		first, second := signed("1", "write"), signed("2", "write")
		o.give(first)
		want(t, "at first", o.took(), "1 ok")
		o.close()
		names, err := filepath.Glob(filepath.Join(o.dir, "audit-*.log"))
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		if err := os.WriteFile(names[0], []byte("spoilt\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		log, _, broken, err := audit.Open(o.dir, audit.Options{Now: func() int64 { return 1 }}) // the clock is behind at boot
		if err != nil || broken == nil {
			t.Fatal(broken, err)
		}
		log.Close()
		o.open()
		o.give(first)
		want(t, "sent again by the broker", o.took(), "1 refused")
		o.give(signed("look", "status"))
		want(t, "looking", o.took(), "look ok")
		time.Sleep(31 * time.Second)
		o.give(signed("new", "write"))
		want(t, "a new one", o.took(), "new ok")
		o.give(second)
		want(t, "one from before that never came", o.took(), "2 refused")
		o.close()
		o.open()
		o.give(first)
		want(t, "after another start", o.took(), "1 repeated")
		if got := strings.Join(o.did(), " "); got != "write status write" {
			t.Errorf("done: %s", got)
		}
		o.close()
	})
}
