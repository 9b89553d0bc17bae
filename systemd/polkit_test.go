package systemd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dop251/goja"
)

// TestPolkitRule runs the rule as polkitd does: one function, asked for each action. Whatever it meets, it may not
// throw: polkitd would take that for a no to everything that comes after it.
func TestPolkitRule(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "packaging", "polkit.rules"))
	if err != nil {
		t.Fatal(err)
	}
	js := goja.New()
	if _, err := js.RunString(`
		var rules = [];
		var polkit = {Result: {NO: "no", YES: "yes", NOT_HANDLED: "not handled"}, addRule: function(f) { rules.push(f); }};
		function ask(id, user, details) {
			return rules[0]({id: id, lookup: function(key) { return details ? details[key] : undefined; }}, {user: user});
		}`); err != nil {
		t.Fatal(err)
	}
	if _, err := js.RunScript("polkit.rules", string(text)); err != nil {
		t.Fatal(err)
	}
	ask, ok := goja.AssertFunction(js.Get("ask"))
	if !ok {
		t.Fatal("the rule is not there")
	}
	const units = "org.freedesktop.systemd1.manage-units"
	details := func(unit, verb any) map[string]any {
		d := map[string]any{}
		if unit != nil {
			d["unit"] = unit
		}
		if verb != nil {
			d["verb"] = verb
		}
		return d
	}
	for _, c := range []struct {
		id, user string
		details  map[string]any
		want     string
	}{
		{units, "gatewayd", details("bluetooth.service", "restart"), "yes"},
		{units, "gatewayd", details("gatewayd.service", "restart"), "yes"},
		{units, "gatewayd", details("reboot.target", "start"), "yes"},
		{units, "gatewayd", details("bluetooth.service", "stop"), "not handled"},
		{units, "gatewayd", details("bluetooth.service", "set-property"), "not handled"},
		{units, "gatewayd", details("reboot.target", "restart"), "not handled"},
		{units, "gatewayd", details("poweroff.target", "start"), "not handled"},
		{units, "gatewayd", details("ssh.service", "restart"), "not handled"},
		{units, "gatewayd", details("evil-bluetooth.service", "restart"), "not handled"},
		{units, "gatewayd", details("toString", "restart"), "not handled"},
		{units, "gatewayd", details(nil, "restart"), "not handled"},
		{units, "gatewayd", details("bluetooth.service", nil), "not handled"},
		{units, "gatewayd", details(nil, nil), "not handled"},
		{units, "gatewayd", nil, "not handled"},
		{units, "root", details("bluetooth.service", "restart"), "not handled"},
		{"org.freedesktop.systemd1.manage-unit-files", "gatewayd", details("bluetooth.service", "restart"), "not handled"},
		{"org.freedesktop.login1.power-off", "gatewayd", nil, "not handled"},
	} {
		got, err := ask(goja.Undefined(), js.ToValue(c.id), js.ToValue(c.user), js.ToValue(c.details))
		if err != nil {
			t.Errorf("%s %s %v: the rule throws: %v", c.id, c.user, c.details, err)
		} else if got.String() != c.want {
			t.Errorf("%s %s %v: %s, want %s", c.id, c.user, c.details, got, c.want)
		}
	}
}
