package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
)

// change is what the gateway tells of a change of its configuration.
type change struct {
	Before, After, Now string
	Kept, Changed      bool
	Good               int
	Again              int `json:"good_again"`
	Missing            []string
	Begun              []string
	Seconds            float64
}

// set sends a configuration and gives the answer.
func (s *site) set(id, text string, more map[string]any) (reply, change) {
	s.t.Helper()
	args := map[string]any{"action": "set", "text": text}
	for k, v := range more {
		args[k] = v
	}
	if text == "" {
		delete(args, "text")
	}
	s.send(s.sign("control-room", newOrder(id, "config", args)), false)
	r := s.answer(id, 1)
	var c change
	if err := json.Unmarshal(r.Result, &c); err != nil {
		s.t.Errorf("%s: result %s: %v", id, r.Result, err)
	}
	return r, c
}

// settled waits until every device of the plant is good.
func (s *site) settled() {
	s.t.Helper()
	s.await("all devices are good", func(st *health.Status) bool {
		for _, name := range []string{"pump-1", "feeder-1", "feeder-2", "temp-1", "temp-2", "temp-3"} {
			if state(st, name) != "good" {
				return false
			}
		}
		return st.Platforms[0].Connected
	})
}

// opens counts how often each line was opened, and connects how often the platform was reached: what tells whether
// something was begun anew.
func (s *site) opens() (lines map[string]uint64, connects uint64, since int64) {
	s.t.Helper()
	st, err := s.daemon.Status(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	lines = map[string]uint64{}
	for _, l := range st.Lines {
		lines[l.Name] = l.Exchanges
	}
	return lines, st.Platforms[0].Connects, st.Since
}

func TestAConfigurationIsKeptOnEvidence(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	exchanges, connects, since := s.opens()

	// One device is polled at another pace: its line alone is begun anew.
	faster := regexp.MustCompile(`every( *)= "500ms"`).ReplaceAllString(s.config, `every$1= "400ms"`)
	if faster == s.config {
		t.Fatal("the plant's configuration is another one by now")
	}
	r, c := s.set("faster", faster, map[string]any{"within": "60s"})
	if r.Code != "ok" || !c.Kept || !c.Changed || c.Before == c.After || c.Now != c.After || c.Good < 60 {
		t.Fatalf("a good one: %+v, %+v", r, c)
	}
	if fmt.Sprint(c.Begun) != "[line converter]" {
		t.Errorf("begun anew: %v", c.Begun)
	}
	after, connects2, since2 := s.opens()
	if connects2 != connects || since2 != since || after["plc"] < exchanges["plc"] || after["rs485"] < exchanges["rs485"] {
		t.Errorf("more than the line was touched: connects %d → %d, since %d → %d, exchanges %v → %v", connects, connects2, since, since2, exchanges, after)
	}
	t.Logf("kept after %.1f s; %d of %d points", c.Seconds, c.Again, c.Good)

	r, c = s.set("again", faster, nil)
	if r.Code != "ok" || c.Changed || !c.Kept || c.Before != c.After {
		t.Errorf("the same again: %+v, %+v", r, c)
	}

	// What holds outlives a restart and a crash.
	hash := c.Now
	s.daemon.Kill()
	s.start()
	if got := s.hash(); got != hash {
		t.Errorf("after a crash %s holds, not %s", got, hash)
	}

	// The buffer's limit takes a new start of the whole daemon, which it makes by itself.
	s.settled()
	larger := strings.Replace(faster, `limit = "64MiB"`, `limit = "72MiB"`, 1)
	r, c = s.set("larger", larger, map[string]any{"within": "60s"})
	if r.Code != "ok" || !c.Kept || fmt.Sprint(c.Begun) != "[everything]" {
		t.Errorf("a larger buffer: %+v, %+v", r, c)
	}
	s.settled()
	if _, _, now := s.opens(); now == since2 {
		t.Error("the daemon was not started anew")
	}

	// A secret is rotated the same way.
	r, c = s.set("secret", "", map[string]any{"within": "60s", "files": map[string]any{"conf.d/10-operators.toml": "# nothing yet\n"}, "secrets": map[string]any{"platform-secret": "s3cret-of-tomorrow"}})
	if r.Code != "ok" || !c.Kept {
		t.Errorf("a secret: %+v, %+v", r, c)
	}
	var out bytes.Buffer
	if err := s.daemon.CLI(context.Background(), &out, "audit", "show"); err != nil || strings.Contains(out.String(), "s3cret") {
		t.Errorf("the audit log holds the secret, or cannot be read: %v", err)
	}
	out.Reset()
	if err := s.daemon.CLI(context.Background(), &out, "config", "show"); err != nil || strings.Contains(out.String(), "s3cret") || !strings.Contains(out.String(), "72MiB") {
		t.Errorf("config show: %v: %s", err, out.String())
	}

	// With confirm, evidence is not enough; the word is.
	args := map[string]any{"action": "set", "text": faster, "confirm": true, "within": "60s"}
	s.send(s.sign("control-room", newOrder("waits", "config", args)), false)
	s.until("the trial waits for a word", func() bool { return s.event(`"subject":"config"`, "nobody has confirmed") })
	if n := len(s.answers("waits")); n != 0 {
		t.Errorf("it was answered %d times before it was confirmed", n)
	}
	s.send(s.sign("control-room", newOrder("busy", "config", map[string]any{"action": "set", "text": s.config})), false)
	if r := s.answer("busy", 1); r.Code != "busy" {
		t.Errorf("a second trial meanwhile: %+v", r)
	}
	s.send(s.sign("control-room", newOrder("confirm", "config", map[string]any{"action": "confirm"})), false)
	if r := s.answer("waits", 1); r.Code != "ok" || !strings.Contains(string(r.Result), `"kept":true`) {
		t.Errorf("confirmed: %+v", r)
	}
}

// hash is that of the configuration that runs.
func (s *site) hash() string {
	s.t.Helper()
	var out bytes.Buffer
	if err := s.daemon.CLI(context.Background(), &out, "config", "show", "--json"); err != nil {
		s.t.Fatalf("%v: %s", err, out.String())
	}
	var r struct{ Result struct{ Hash string } }
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		s.t.Fatal(err)
	}
	return r.Result.Hash
}

func TestBadConfigurationsComeBackInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	s.plant.Port.SetBaud(9600)
	before := s.hash()
	const within = 2 * time.Second
	replace := func(old, new string) string {
		text := strings.ReplaceAll(s.config, old, new)
		if text == s.config {
			t.Fatalf("the plant's configuration has no %q", old)
		}
		return text
	}
	controller, _ := s.plant.Hosts()
	noPlatform := regexp.MustCompile(`(?s)\[platform\]\n.*?\n\n`).ReplaceAllString(s.config, "")
	dead := "name = \"dead\"\ntitle = \"a device that is not there\"\nprotocol = \"modbus\"\nsource = \"testbench\"\n\n[[tag]]\nname = \"x\"\nat = \"input 9000\"\ntype = \"uint16\"\n\n" +
		"[[test]]\norigin = \"constructed\"\naddress = \"1\"\nrequest = \"01 04 23 28 00 01 BB 86\"\nanswer = \"01 04 02 00 07 F9 32\"\nexpect = { x = 7 }\n"
	for _, c := range []struct {
		name, text string
		more       map[string]any
		words      []string
	}{
		{"wrong-broker", replace(s.broker.URL(), "mqtt://127.0.0.1:9"), nil, []string{"the platform is not reached"}},
		{"another-platform", strings.Replace(replace(s.broker.URL(), "mqtt://127.0.0.1:9"), "[platform]\n", "[platform]\nname = \"elsewhere\"\n", 1), nil, []string{"the platform is not reached", "elsewhere"}},
		{"no-platform", noPlatform, nil, []string{"the platform is not reached", "there is none"}},
		{"wrong-client-secret", replace("[platform]\n", "[platform]\nusername = \"x\"\nsecret = \"not-there\"\n"), nil, []string{"the platform is not reached", "not-there"}},
		{"wrong-port", replace(controller, "127.0.0.1:9"), nil, []string{"points", "pump-1/"}},
		{"wrong-device-file", replace(s.plant.Port.Name(), s.plant.Port.Name()+"-not"), nil, []string{"points", "feeder-"}},
		{"wrong-baud", replace("9600 8N1", "19200 8N1"), nil, []string{"points", "feeder-"}},
		{"wrong-unit", replace(`address  = "255"`, `address  = "7"`), nil, []string{"points", "pump-1/"}},
		{"dead-profile", replace(`profile = "eastron-sdm630"`, `profile = "dead"`), map[string]any{"files": map[string]any{"profiles/dead.toml": dead}}, []string{"points", "feeder-"}},
	} {
		if !*full && c.name != "wrong-broker" && c.name != "another-platform" && c.name != "no-platform" && c.name != "wrong-baud" {
			continue
		}
		more := map[string]any{"within": within.String()}
		for k, v := range c.more {
			more[k] = v
		}
		begun := time.Now()
		r, report := s.set(c.name, c.text, more)
		took := time.Since(begun)
		if r.Code != "failed" || report.Kept || report.Now != before || report.Before != before || report.After == before {
			t.Errorf("%s: %+v, %+v", c.name, r, report)
		}
		for _, word := range c.words {
			if !strings.Contains(r.Text, word) {
				t.Errorf("%s: the reason does not say %q: %s", c.name, word, r.Text)
			}
		}
		s.settled()
		if got := s.hash(); got != before {
			t.Errorf("%s: %s holds, not %s", c.name, got, before)
		}
		t.Logf("%s: back after %.1f s of %s (answered after %.1f s)", c.name, report.Seconds, within, took.Seconds())
	}
	// What the check finds is not even tried.
	for name, text := range map[string]string{
		"no-toml":   "[gateway",
		"no-device": replace(`line     = "plc"`, `line     = "plx"`),
		"no-verb":   replace(`"cancel"`, `"fly"`),
		"empty":     "# nothing\n",
	} {
		r, _ := s.set(name, text, nil)
		if r.Code != "invalid" || !strings.Contains(r.Text, "gatewayd.toml:") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if got := s.hash(); got != before {
		t.Errorf("after candidates that were refused %s holds, not %s", got, before)
	}
	if w := s.writes(); len(w) != 0 {
		t.Errorf("a configuration wrote: %+v", w)
	}
}

// TestAReloadThrowsNoReadAway: a line is begun anew again and again, and every read that a device answered has arrived.
func TestAReloadThrowsNoReadAway(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	pace := regexp.MustCompile(`every( *)= "500ms"`)
	for i := range 2 + *rounds {
		text := pace.ReplaceAllString(s.config, fmt.Sprintf(`every$1= "%dms"`, 100+i))
		if r, c := s.set(fmt.Sprint("r", i), text, map[string]any{"within": "60s"}); r.Code != "ok" || fmt.Sprint(c.Begun) != "[line converter]" {
			t.Fatalf("%+v, %+v", r, c)
		}
	}
	if _, err := s.daemon.Stop(); err != nil {
		t.Error(err)
	}
	for i, id := range []byte{11, 12, 13} {
		device := fmt.Sprintf("temp-%d", i+1)
		asked := s.plant.Converter.Unit(id).Counts().Requests
		came := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.records[device]
		}
		// The stop itself breaks one read off, of one of them.
		s.until(fmt.Sprintf("%s: what %d reads brought", device, asked), func() bool { return came() >= asked-1 })
		t.Logf("%s: %d reads, %d records", device, asked, came())
	}
	if err := s.recorder.Books().Check(); err != nil {
		t.Error(err)
	}
}

// TestNobodyIsLockedOut: a candidate that takes the verb config from everybody has to say that it is meant.
func TestNobodyIsLockedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	before := s.hash()
	closed := strings.Replace(s.config, `"config", `, "", 1)
	if r, _ := s.set("closed", closed, nil); r.Code != "refused" || !strings.Contains(r.Text, "lock_out") || s.hash() != before {
		t.Errorf("without a word: %+v", r)
	}
	if r, c := s.set("meant", closed, map[string]any{"lock_out": true, "within": "60s"}); r.Code != "ok" || !c.Kept {
		t.Errorf("meant: %+v, %+v", r, c)
	}
	s.send(s.sign("control-room", newOrder("show", "config", nil)), false)
	if r := s.answer("show", 1); r.Code != "unauthorized" {
		t.Errorf("afterwards: %+v", r)
	}
}
