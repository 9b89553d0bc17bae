package remote

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
)

// nap lets a fault fall at a random moment.
func nap(most time.Duration) { time.Sleep(rand.N(most)) }

// whole checks what no crash may do: set a store aside that is whole, or break the audit log.
func (s *site) whole() {
	s.t.Helper()
	if aside, _ := filepath.Glob(filepath.Join(s.daemon.Dir, "state", "buffer", "damaged-*")); len(aside) > 0 {
		s.t.Errorf("a store was set aside: %q", aside)
	}
	var out bytes.Buffer
	if err := s.daemon.CLI(context.Background(), &out, "audit", "verify"); err != nil {
		s.t.Errorf("audit verify: %v: %s", err, out.String())
	}
}

// said gives the distinct answers to an id, but for repeats. A reply may leave twice, the same byte for byte.
func (s *site) said(id string) []string {
	var all []string
	for _, r := range s.answers(id) {
		text := fmt.Sprintf("%s %s %s", r.Code, r.Text, r.Result)
		if r.Code != "repeated" && !strings.Contains(strings.Join(all, "\n"), text) {
			all = append(all, text)
		}
	}
	return all
}

// TestKillDuringCommands: whenever the daemon is killed, a write is carried out once at most, and answered once.
func TestKillDuringCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	outcomes := map[string]int{}
	sent := 0
	for i := range *rounds {
		id := fmt.Sprintf("w%d", i)
		value := 1 + i%499
		before := len(s.writes())
		token := s.sign("control-room", setpoint(id, float64(value)/10))
		s.send(token, false)
		nap(30 * time.Millisecond)
		s.daemon.Kill()
		if err := s.daemon.Start(); err != nil {
			t.Fatal(err)
		}
		got := s.answer(id, 1)
		s.send(token, false) // as the broker, or somebody else, may
		s.until("the repeat is answered", func() bool {
			for _, r := range s.answers(id) {
				if r.Code == "repeated" {
					return true
				}
			}
			return false
		})
		writes := s.writes()[before:]
		for _, w := range writes {
			if int(w.Values[0]) != value {
				t.Errorf("round %d: %d was written, and %d was asked for", i, w.Values[0], value)
			}
		}
		outcomes[got.Code]++
		sent += len(writes)
		switch {
		case len(writes) > 1:
			t.Errorf("round %d: written %d times", i, len(writes))
		case got.Code == "ok" && len(writes) != 1:
			t.Errorf("round %d: answered ok, and never written", i)
		case got.Code == "failed" && !strings.Contains(got.Text, "outcome unknown"):
			t.Errorf("round %d: %+v", i, got)
		case got.Code != "ok" && got.Code != "failed":
			t.Errorf("round %d: %+v", i, got)
		}
		if all := s.said(id); len(all) != 1 {
			t.Errorf("round %d: %d different answers: %q", i, len(all), all)
		}
		if t.Failed() {
			break
		}
	}
	s.whole()
	t.Logf("%d rounds: answers %v, %d writes carried out", *rounds, outcomes, sent)
}

// TestAReplyGoesToThePlatformThatAsked: of two platforms each gets the answers to its own commands, also of those that a
// crash caught in the middle. Events go to both, and behind the replies that were stored with them.
func TestAReplyGoesToThePlatformThatAsked(t *testing.T) {
	t.Parallel()
	a := newSite(t, "trusted")
	b := a.also("other")
	a.start()
	run := func(round string) {
		for name, s := range map[string]*site{"a": a, "b": b} {
			for _, id := range []string{name + "-write-" + round, name + "-last-" + round} {
				s.send(s.sign("control-room", setpoint(id, 12.5)), false)
				if r := s.answer(id, 1); r.Code != "ok" {
					t.Errorf("%s: %+v", id, r)
				}
			}
		}
	}
	run("before")
	for id, s := range map[string]*site{"a-cut": a, "b-cut": b} {
		s.send(s.sign("control-room", newOrder(id, "drill", map[string]any{"kind": "outage", "duration": "10m", "platform": "other"})), false)
		a.await(id+" is under way", func(st *health.Status) bool { return len(st.Platforms) == 2 && st.Platforms[1].Cut })
		a.daemon.Kill()
		a.start()
		if r := s.answer(id, 1); r.Code != "failed" || !strings.Contains(r.Text, "outcome unknown") {
			t.Errorf("%s: %+v", id, r)
		}
	}
	run("after")
	for name, s := range map[string]*site{"a": a, "b": b} {
		s.until(name+" has the events of all commands", func() bool { return s.event(`"id":"a-last-after"`) && s.event(`"id":"b-last-after"`) })
		s.mu.Lock()
		for _, r := range s.replies {
			if !strings.HasPrefix(r.ID, name) {
				t.Errorf("%s was told of another's command: %+v", name, r)
			}
		}
		s.mu.Unlock()
	}
	a.whole()
}

// TestKillDuringChanges: whenever the daemon is killed while a configuration is swapped, it comes back with the one
// that it says.
func TestKillDuringChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	pace := regexp.MustCompile(`every( *)= "500ms"`)
	outcomes := map[string]int{}
	for i := range *rounds {
		// Each is a new one: of a device's pace, and of the buffer's limit, for which the daemon starts itself anew.
		text := pace.ReplaceAllString(s.config, fmt.Sprintf(`every$1= "%dms"`, 501+i))
		if i%3 == 2 {
			text = strings.Replace(text, `limit = "64MiB"`, fmt.Sprintf(`limit = "%dMiB"`, 65+i%100), 1)
		}
		before := s.hash()
		id := fmt.Sprintf("c%d", i)
		s.send(s.sign("control-room", newOrder(id, "config", map[string]any{"action": "set", "text": text, "within": "60s"})), false)
		nap(2500 * time.Millisecond)
		s.daemon.Kill()
		if err := s.daemon.Start(); err != nil {
			t.Fatal(err)
		}
		s.await("it is back", func(st *health.Status) bool { return st.Platforms[0].Connected && state(st, "pump-1") == "good" })
		got := s.answer(id, 1)
		hash := s.hash()
		outcomes[got.Code]++
		switch {
		case got.Code == "ok" && hash == before:
			t.Errorf("round %d: answered ok, and the old one is back", i)
		case got.Code == "failed" && hash != before:
			t.Errorf("round %d: answered failed (%s), and another one holds", i, got.Text)
		case got.Code != "ok" && got.Code != "failed":
			t.Errorf("round %d: %+v", i, got)
		}
		if all := s.said(id); len(all) != 1 {
			t.Errorf("round %d: %d different answers: %q", i, len(all), all)
		}
		s.settled()
		if t.Failed() {
			break
		}
	}
	s.whole()
	t.Logf("%d rounds: answers %v", *rounds, outcomes)
}
