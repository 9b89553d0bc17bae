package remote

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"edgegateway/buffer"
	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
)

// onTrial sends a configuration that needs a word to be kept, and waits until it runs.
func (s *site) onTrial(id, text string) {
	s.t.Helper()
	before := s.hash()
	s.send(s.sign("control-room", newOrder(id, "config", map[string]any{"action": "set", "text": text, "confirm": true, "within": "5m"})), false)
	s.await("the candidate runs and is reached", func(st *health.Status) bool {
		return len(st.Platforms) > 0 && st.Platforms[0].Connected && st.Platforms[0].Name == "elsewhere" && state(st, "pump-1") == "good"
	})
	if s.hash() == before {
		s.t.Fatalf("%s: it does not run", id)
	}
}

// word ends the trial.
func (s *site) word(id, action string) {
	s.send(s.sign("control-room", newOrder(id, "config", map[string]any{"action": action})), false)
}

// TestATrialLosesNothing: what is owed to a platform that a candidate names no more is there when the candidate is given
// back, or the daemon is killed while it runs; only a candidate that is kept gives it up.
func TestATrialLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	other := s.also("other")
	other.broker.Set(broker.Faults{Refuse: 3}) // whoever connects from now on
	s.start()
	s.settled()
	s.await("something waits for the other platform", func(st *health.Status) bool { return st.Platforms[1].Backlog > 300 })

	renamed := strings.Replace(s.config, `name = "other"`, `name = "renamed"`, 1)
	renamed = strings.Replace(renamed, "[platform]\n", "[platform]\nname = \"elsewhere\"\n", 1)
	back := func(st *health.Status) bool {
		return len(st.Platforms) == 2 && st.Platforms[1].Name == "other" && st.Platforms[0].Connected && state(st, "pump-1") == "good"
	}

	s.onTrial("returned", renamed)
	s.word("return", "return")
	if r := s.answer("returned", 1); r.Code != "failed" || !strings.Contains(r.Text, "given back by control-room") {
		t.Errorf("given back: %+v", r)
	}
	s.await("the old one is back", back)

	s.onTrial("killed", renamed)
	s.daemon.Kill()
	taken := s.recorder.Books().Stream(gateway, "data").Last
	other.broker.Set(broker.Faults{})
	s.start()
	if r := s.answer("killed", 1); r.Code != "failed" {
		t.Errorf("killed: %+v", r)
	}
	s.await("the old one is back", back)

	for name, p := range map[string]*site{"platform": s, "other": other} {
		s.until(name+" has all, from the first on", func() bool {
			books := p.recorder.Books()
			return len(books.Gaps) == 0 && books.Stream(gateway, "data").Last >= taken
		})
		if n := p.recorder.Books().Declared; n > 0 {
			t.Errorf("%s: %d records were declared lost", name, n)
		}
	}
	if err := other.recorder.Books().Check(); err != nil { // the first broker was that of two platforms, which have no order together
		t.Error(err)
	}

	// One that is kept gives it up, and says so; the answer goes to whoever is configured then.
	other.broker.Set(broker.Faults{Mute: true})
	s.await("something waits again", func(st *health.Status) bool { return st.Platforms[1].Backlog > 100 })
	s.onTrial("kept", renamed)
	s.word("confirm", "confirm")
	if r := s.answer("kept", 1); r.Code != "ok" || !strings.Contains(string(r.Result), `"kept":true`) {
		t.Errorf("kept: %+v", r)
	}
	s.until("the loss is told of", func() bool { return s.event(`"kind":"loss"`, `"cause":"evicted"`, `"destination":"other"`) })
	var out bytes.Buffer
	if err := s.daemon.CLI(context.Background(), &out, "ledger"); err != nil || !strings.Contains(out.String(), buffer.Evicted.String()) {
		t.Errorf("the ledger: %v: %s", err, out.String())
	}
	if all := s.said("kept"); len(all) != 1 {
		t.Errorf("%d different answers: %q", len(all), all)
	}
	s.whole()
}
