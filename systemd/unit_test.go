package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// directives reads a unit file: section and key → its values, in order.
func directives(t *testing.T, path string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch key, value, assigns := strings.Cut(line, "="); {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case assigns:
			found[section+" "+key] = append(found[section+" "+key], value)
		default:
			t.Errorf("%s: neither a section nor an assignment: %q", path, line)
		}
	}
	return found
}

func TestUnitAgreesWithTheCode(t *testing.T) {
	unit := directives(t, "gatewayd.service")
	want := map[string]string{
		"Service Type":               "notify",
		"Service NotifyAccess":       "main",
		"Service ExecStart":          "/usr/bin/gatewayd run",
		"Service ExecReload":         "/usr/bin/gatewayd reload",
		"Service Restart":            "always",
		"Service User":               "gatewayd",
		"Service Group":              "gatewayd",
		"Unit StartLimitIntervalSec": "0",
	}
	for key, value := range want {
		if got := unit[key]; !slices.Equal(got, []string{value}) {
			t.Errorf("%s: %q, want only %q", key, got, value)
		}
	}
	// What the daemon takes for its folders without the unit's variables must be the folders that the unit makes.
	daemon := daemonSource(t)
	for key, parent := range map[string]string{
		"Service ConfigurationDirectory": "/etc/",
		"Service StateDirectory":         "/var/lib/",
		"Service RuntimeDirectory":       "/run/",
	} {
		folder := parent + strings.Join(unit[key], " ")
		if !strings.Contains(daemon, `"`+folder+`"`) && !strings.Contains(daemon, `"`+folder+`/`) {
			t.Errorf("%s: the unit makes %s, the daemon's own default is another", key, folder)
		}
	}
	// What the unit and its socket call for must be there.
	for _, command := range append(unit["Service ExecStart"], unit["Service ExecReload"]...) {
		if verb := strings.Fields(command)[1]; !strings.Contains(daemon, `{"`+verb+`", "`) {
			t.Errorf("%s: the daemon has no verb %q", command, verb)
		}
	}
	socket := directives(t, "gatewayd.socket")
	if name := strings.Join(socket["Socket FileDescriptorName"], " "); !strings.Contains(daemon, `pageSocket = "`+name+`"`) {
		t.Errorf("the socket's name is %q, the daemon looks for another", name)
	}
	for _, address := range socket["Socket ListenStream"] {
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("ListenStream=%s: out of the box nobody from outside may connect", address)
		}
	}
	atLeast := map[string]time.Duration{
		"Service WatchdogSec":     15 * time.Second, // three signs of life, each late by a slow flash's worst pause
		"Service TimeoutStopSec":  10 * time.Second, // the daemon promises 5
		"Service TimeoutStartSec": 2 * time.Minute,  // another process tries a suspect store for one, and then it is opened
	}
	for key, least := range atLeast {
		got, err := time.ParseDuration(strings.Join(unit[key], " "))
		if err != nil || got < least {
			t.Errorf("%s: %q, want at least %v (%v)", key, unit[key], least, err)
		}
	}
	// What stands in these the daemon takes for the operator's word, and does not scale with the machine.
	for _, name := range []string{"GOMEMLIMIT", "GOGC"} {
		if env := strings.Join(unit["Service Environment"], " "); strings.Contains(env, name) {
			t.Errorf("Environment=%s: a machine of 64 MB is given as much heap as one of 1 GB", env)
		}
	}
	// A gateway that waits for a network, or for the right time, before it reads its meters has missed its purpose.
	for _, key := range []string{"After", "Wants", "Requires", "BindsTo", "PartOf"} {
		for _, value := range unit["Unit "+key] {
			if strings.Contains(value, "network") || strings.Contains(value, "time-") {
				t.Errorf("%s=%s: the start must not depend on it", key, value)
			}
		}
	}
}

// daemonSource is the text of the daemon's main package.
func daemonSource(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "gatewayd", "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("the daemon's source is not there: %v", err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestUpdaterUnitAgrees holds the updater's units against the two sides that meet there.
func TestUpdaterUnitAgrees(t *testing.T) {
	unit, path := directives(t, "gatewayd-update.service"), directives(t, "gatewayd-update.path")
	daemon := daemonSource(t)
	folder := "/var/lib/" + strings.Join(unit["Service StateDirectory"], " ")
	state := "/var/lib/" + strings.Join(directives(t, "gatewayd.service")["Service StateDirectory"], " ")
	if !strings.Contains(daemon, `"`+folder+`"`) {
		t.Errorf("the unit's folder is %s, the daemon's idea of it is another", folder)
	}
	want := []string{"-" + folder + "/updater updater --state " + state, "/usr/bin/gatewayd updater --state " + state}
	if got := unit["Service ExecStart"]; !slices.Equal(got, want) {
		t.Errorf("ExecStart: %q, want %q", got, want)
	}
	if got, want := path["Path PathExists"], []string{state + "/update/request.jws", folder + "/pending"}; !slices.Equal(got, want) {
		t.Errorf("PathExists: %q, want %q", got, want)
	}
	source, err := os.ReadFile(filepath.Join("..", "gatewayd", "update", "check.go"))
	if err != nil || !strings.Contains(string(source), `"request.jws"`) {
		t.Errorf("the agent hands over another file: %v", err)
	}
	for _, key := range []string{"After", "Before", "Requires", "Wants", "BindsTo", "PartOf"} {
		if got := unit["Unit "+key]; strings.Contains(strings.Join(got, " "), "gatewayd.service") {
			t.Errorf("%s=%s: the updater restarts the gateway, and must not be ordered with it", key, got)
		}
	}
}

func TestUnitIsValid(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	// verify wants the program to be there, which it is only once the package is installed.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"gatewayd.service", "gatewayd-update.service", "gatewayd-update.path"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		programs := strings.NewReplacer("/usr/bin/gatewayd", self, "/var/lib/gatewayd-update/updater updater", self+" updater")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(programs.Replace(string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, args := range [][]string{
		{"verify", "--man=no", in("gatewayd.service"), in("gatewayd-update.service"), in("gatewayd-update.path")},
		{"security", "--offline=true", "--threshold=13", "--no-pager", in("gatewayd.service")}, // the threshold counts tenths
		{"security", "--offline=true", "--threshold=20", "--no-pager", in("gatewayd-update.service")},
	} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestPackageFilesAgree holds the unit against the files that make its user and its devices usable.
func TestPackageFilesAgree(t *testing.T) {
	unit := directives(t, "gatewayd.service")
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "packaging", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	state := "/var/lib/" + strings.Join(unit["Service StateDirectory"], " ")
	user := ""
	for line := range strings.Lines(read("sysusers.conf")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "u" {
			user = f[1]
			if !strings.Contains(line, state) {
				t.Errorf("sysusers.conf: the home of %s is not %s: %s", user, state, line)
			}
		}
	}
	if got := unit["Service User"]; !slices.Equal(got, []string{user}) {
		t.Errorf("the unit runs as %q, sysusers.conf makes %q", got, user)
	}
	allowed := strings.Join(unit["Service DeviceAllow"], "\n")
	for _, module := range strings.Fields(withoutComments(read("modules-load.conf"))) {
		class := map[string]string{"usbserial": "char-ttyUSB", "cdc_acm": "char-ttyACM"}[module]
		if class == "" || !strings.Contains(allowed, class+" rw") {
			t.Errorf("modules-load.conf loads %s; the unit allows no device of it:\n%s", module, allowed)
		}
	}
	groups := strings.Fields(strings.Join(unit["Service SupplementaryGroups"], " "))
	rules := withoutComments(read("70-gatewayd.rules"))
	if _, after, ok := strings.Cut(rules, `GROUP="`); !ok {
		t.Error("70-gatewayd.rules gives the ports to no group")
	} else if group, _, _ := strings.Cut(after, `"`); !slices.Contains(groups, group) {
		t.Errorf("70-gatewayd.rules gives the ports to %q, the unit's groups are %q", group, groups)
	}
}

// TestRemovalLeavesNothing: a unit that goes on after its package is gone acts on what it finds then.
func TestRemovalLeavesNothing(t *testing.T) {
	var units []string
	for _, kind := range []string{"service", "socket", "path"} {
		names, err := filepath.Glob("*." + kind)
		if err != nil || len(names) == 0 {
			t.Fatalf("no %s: %v", kind, err)
		}
		units = append(units, names...)
	}
	for _, script := range []string{"deb.prerm", "deb.postrm"} {
		text, err := os.ReadFile(filepath.Join("..", "packaging", "scripts", script))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.FieldsFunc(withoutComments(string(text)), func(r rune) bool { return strings.ContainsRune(" \t\n\"", r) })
		for _, unit := range units {
			if !slices.Contains(words, unit) {
				t.Errorf("%s forgets %s", script, unit)
			}
		}
	}
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
