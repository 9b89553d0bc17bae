package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHostileCommandsTouchNothing is the matrix: each comes through the broker, each has its code, and the controller's
// record of writes stays empty.
func TestHostileCommandsTouchNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	later := func(o order, by time.Duration) order {
		o.Issued += by.Milliseconds()
		o.Expires += by.Milliseconds()
		return o
	}
	elsewhere := setpoint("elsewhere", 11)
	elsewhere.Gateway = "box-2"
	fresh := setpoint("no-expiry", 11)
	fresh.Expires = 0
	version := setpoint("version", 11)
	version.V = 2
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	altered := bytes.Split(s.sign("control-room", setpoint("altered", 11)), []byte("."))
	altered[1] = []byte(base64.RawURLEncoding.EncodeToString(plain(setpoint("altered", 12))))
	none := []byte(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"control-room"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(plain(setpoint("none", 11))) + ".")
	mac := token(s.keys["control-room"], `{"alg":"HS256","kid":"control-room"}`, plain(setpoint("mac", 11)))
	critical := token(s.keys["control-room"], `{"alg":"EdDSA","kid":"control-room","crit":["exp"],"exp":1}`, plain(setpoint("critical", 11)))
	twice := token(s.keys["control-room"], `{"alg":"EdDSA","kid":"control-room"}`,
		[]byte(strings.Replace(string(plain(setpoint("twice", 11))), `"verb":"write"`, `"verb":"status","verb":"write"`, 1)))

	// The retained one lies there before the gateway first connects.
	s.send(s.sign("control-room", setpoint("retained", 11)), true)
	s.start()
	if got := s.answer("retained", 1); got.Code != "retained" {
		t.Errorf("retained: %+v", got)
	}
	for _, c := range []struct {
		name, id, code, word string
		payload              []byte
	}{
		{"expired", "expired", "expired", "expired at", s.sign("control-room", later(setpoint("expired", 11), -time.Hour))},
		{"from the future", "future", "invalid", "future", s.sign("control-room", later(setpoint("future", 11), time.Hour))},
		{"without an end", "no-expiry", "invalid", "expires", s.sign("control-room", fresh)},
		{"of another version", "version", "invalid", "v is 2", s.sign("control-room", version)},
		{"with a wrong key", "wrong-key", "unauthorized", "signature", token(stranger, `{"alg":"EdDSA","kid":"control-room"}`, plain(setpoint("wrong-key", 11)))},
		{"of an unknown operator", "nobody", "unauthorized", "no operator", token(stranger, `{"alg":"EdDSA","kid":"nobody"}`, plain(setpoint("nobody", 11)))},
		{"without a kid", "kidless", "unauthorized", "no operator", token(s.keys["control-room"], `{"alg":"EdDSA"}`, plain(setpoint("kidless", 11)))},
		{"for another gateway", "elsewhere", "unauthorized", "box-2", s.sign("control-room", elsewhere)},
		{"with an altered payload", "altered", "unauthorized", "signature", bytes.Join(altered, []byte("."))},
		{"unsigned", "unsigned", "unauthorized", "signature", plain(setpoint("unsigned", 11))},
		{"with alg none", "none", "unauthorized", "64 are needed|alg", none},
		{"with alg HS256", "mac", "unauthorized", "alg", mac},
		{"with a critical extension", "critical", "unauthorized", "crit", critical},
		{"of an unknown verb", "fly", "unknown_verb", "fly", s.sign("control-room", newOrder("fly", "fly", nil))},
		{"of a verb that the operator may not", "guest", "unauthorized", "may not", s.sign("guest", setpoint("guest", 11))},
		{"above the limits", "limits", "refused", "limits", s.sign("control-room", setpoint("limits", 51))},
		{"to a tag that is not writable", "unwritable", "refused", "may not be written", s.sign("control-room", newOrder("unwritable", "write", map[string]any{"device": "pump-1", "tag": "flow_1", "value": 1}))},
		{"of a wrong type", "type", "invalid", "value", s.sign("control-room", setpoint("type", "much"))},
		{"to no such device", "nowhere", "invalid", "no device", s.sign("control-room", newOrder("nowhere", "write", map[string]any{"device": "pump-9", "tag": "setpoint", "value": 1}))},
		{"with an argument too many", "extra", "invalid", "arguments", s.sign("control-room", newOrder("extra", "write", map[string]any{"device": "pump-1", "tag": "setpoint", "value": 1, "force": true}))},
	} {
		s.send(c.payload, false)
		got := s.answer(c.id, 1)
		found := false
		for word := range strings.SplitSeq(c.word, "|") {
			found = found || strings.Contains(got.Text, word)
		}
		if got.Code != c.code || !found {
			t.Errorf("%s: got %+v, want code %s and %q", c.name, got, c.code, c.word)
		}
	}
	for _, garbage := range [][]byte{nil, []byte("on"), []byte("{"), []byte("a.b.c"), twice, bytes.Repeat([]byte("x"), 200_000)} {
		s.send(garbage, false)
	}
	if w := s.writes(); len(w) != 0 {
		t.Fatalf("hostile commands wrote: %+v", w)
	}

	// A good one gets through all the same, and once: not when it is sent again, before and after a restart.
	good := s.sign("control-room", setpoint("good", 30))
	s.send(good, false)
	if got := s.answer("good", 1); got.Code != "ok" {
		t.Errorf("a good one: %+v", got)
	}
	s.send(good, false)
	if got := s.answer("good", 2); got.Code != "repeated" || !strings.Contains(got.Text, "ok") {
		t.Errorf("the same again: %+v", got)
	}
	if _, err := s.daemon.Stop(); err != nil {
		t.Error(err)
	}
	s.start()
	s.send(good, false)
	if got := s.answer("good", 3); got.Code != "repeated" {
		t.Errorf("the same after a restart: %+v", got)
	}
	s.daemon.Kill()
	s.start()
	s.send(good, false)
	if got := s.answer("good", 4); got.Code != "repeated" {
		t.Errorf("the same after a crash: %+v", got)
	}
	if w := s.writes(); len(w) != 1 || w[0].Values[0] != 300 {
		t.Errorf("the controller was written: %+v", w)
	}
	if n := len(s.answers("retained")); n != 1 {
		t.Errorf("the retained one was answered %d times", n)
	}
	s.until("the audit log is told", func() bool { return s.event(`"kind":"command"`, `"id":"good"`, "audit_hash") })
	s.until("garbage is told", func() bool { return s.event(`"kind":"command"`, "unreadable") })
	var out bytes.Buffer
	if err := s.daemon.CLI(context.Background(), &out, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v: %s", err, out.String())
	}
}

// TestWithoutAClockNothingIsMoved: commands that move something are refused until the clock is synchronised.
func TestWithoutAClockNothingIsMoved(t *testing.T) {
	var timex unix.Timex
	if _, err := unix.Adjtimex(&timex); err == nil && timex.Status&unix.STA_UNSYNC == 0 {
		t.Skip("this machine's clock is synchronised")
	}
	if _, err := os.Stat("/run/systemd/timesync/synchronized"); err == nil {
		t.Skip("this machine's clock is synchronised by systemd-timesyncd")
	}
	t.Parallel()
	s := newSite(t, "kernel")
	s.start()
	s.send(s.sign("control-room", setpoint("clockless", 11)), false)
	if got := s.answer("clockless", 1); got.Code != "refused" || !strings.Contains(got.Text, "clock") {
		t.Errorf("got %+v", got)
	}
	s.send(s.sign("control-room", newOrder("look", "read", map[string]any{"device": "pump-1", "tag": "setpoint"})), false)
	if got := s.answer("look", 1); got.Code != "ok" || !strings.Contains(string(got.Result), "42.5") {
		t.Errorf("looking: %+v", got)
	}
	s.send(plain(order{ID: "plain", V: 1, Gateway: gateway, Verb: "status"}), false)
	if got := s.answer("plain", 1); got.Code != "ok" {
		t.Errorf("a plain status: %+v", got)
	}
	if w := s.writes(); len(w) != 0 {
		t.Errorf("something was written: %+v", w)
	}
}
