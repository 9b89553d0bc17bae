package config_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/config"
)

// build is a binary like the first one: Modbus and the native dialect, everything else later.
func build() config.Build {
	wired := []string{config.KindPort, config.KindHost}
	return config.Build{
		Protocols: map[string]config.Protocol{
			"modbus":   {Lines: wired},
			"dlt645":   {Later: true, Lines: wired},
			"iec62056": {Later: true, Lines: wired},
			"serial":   {Later: true, Lines: wired, Listens: true, TagKeys: []string{"pattern"}},
			"mbus":     {Later: true, Lines: wired},
			"ble":      {Later: true, Lines: []string{config.KindRadio}, Listens: true},
		},
		Dialects: map[string]config.Dialect{
			"native":        {},
			"sparkplug":     {Later: true, Options: []string{"group", "primary_host", "aliases"}},
			"thingsboard":   {Later: true},
			"ctwing":        {Later: true, Options: []string{"product", "mode"}},
			"huawei":        {Later: true},
			"homeassistant": {Later: true, Options: []string{"discovery_prefix"}},
		},
		Verbs: []string{"status", "read", "write", "config", "restart", "scan"},
	}
}

// write makes a configuration of one file.
func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gatewayd.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestContract: the contract's example is accepted as it stands, and means what it says.
func TestContract(t *testing.T) {
	c, problems, err := config.Load("testdata/contract/gatewayd.toml", build())
	if err != nil || config.Errors(problems) {
		t.Fatal(err, problems)
	}
	if c.Gateway != (config.Gateway{Name: "sub042-gw1", Site: "Substation 42, bay 3", Clock: config.ClockAuto}) {
		t.Errorf("gateway: %+v", c.Gateway)
	}
	wantPlatforms := []config.Platform{{
		Name: "platform", Dialect: "native", Servers: []string{"mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1884"},
		Client: "sub042-gw1", Username: "sub042", Secret: "platform-secret",
		UnsignedVerbs: []string{"status", "read"}, KeepAlive: time.Minute,
	}}
	if !reflect.DeepEqual(c.Platforms, wantPlatforms) {
		t.Errorf("platforms: %+v", c.Platforms)
	}
	if want := (config.Buffer{Limit: 512 << 20, Keep: 30 * 24 * time.Hour, KeepEvents: 30 * 24 * time.Hour,
		KeepReplies: 30 * 24 * time.Hour, Commit: time.Second, CommitEvents: 10 * time.Millisecond}); !reflect.DeepEqual(c.Buffer, want) {
		t.Errorf("buffer: %+v", c.Buffer)
	}
	if c.Web.Listen != "127.0.0.1:8080" {
		t.Errorf("web: %+v", c.Web)
	}
	if len(c.Operators) != 1 || len(c.Operators[0].Key) != 32 || len(c.Operators[0].Verbs) != 6 ||
		base64.StdEncoding.EncodeToString(c.Operators[0].Key) != "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Errorf("operators: %+v", c.Operators)
	}
	wantLines := []config.Line{
		{Name: "rs485-1", Port: "/dev/ttyS1", Mode: "9600 8N1", Framing: "rtu"},
		{Name: "rs485-2", Port: "/dev/ttyS2", Mode: "2400 8E1", Framing: "rtu"},
		{Name: "switchgear", Host: "192.0.2.20:502", Framing: "tcp"},
		{Name: "converter", Host: "192.0.2.21:4001", Framing: "rtu"},
	}
	if !reflect.DeepEqual(c.Lines, wantLines) {
		t.Errorf("lines: %+v", c.Lines)
	}
	if len(c.Devices) != 2 {
		t.Fatalf("devices: %+v", c.Devices)
	}
	feeder, pump := c.Devices[0], c.Devices[1]
	if feeder.Protocol != "modbus" || feeder.Every != 10*time.Second || feeder.Slow != 15*time.Minute ||
		len(feeder.Tags) != 30 || feeder.Quirks["max_registers"] != "60" || feeder.OnlyChanges != nil || feeder.Heartbeat != 0 {
		t.Errorf("feeder-1: %+v", feeder)
	}
	wantPump := config.Device{
		Device: field.Device{
			Name: "pump-1", Line: "switchgear", Protocol: "modbus", Address: "255",
			Tags: []field.Tag{
				{Name: "level", At: "input 100", Type: "float32", Order: "CDAB", Unit: "m", Group: "main"},
				{Name: "setpoint", At: "holding 200", Type: "int16", Scale: 0.1, Unit: "m", Group: "main", Limits: &field.Limits{Min: 0, Max: 50}, Write: true},
				{Name: "running", At: "coil 0", Type: "bool", Group: "main", Event: true},
				{Name: "fault", At: "holding 210 bit 3", Type: "bool", Group: "main"},
			},
		},
		Every: time.Second, Slow: 15 * time.Minute, Heartbeat: 15 * time.Minute,
		OnlyChanges: map[string]config.Deadband{"level": {Percent: 2}}, Writable: []string{"setpoint"},
	}
	if !reflect.DeepEqual(pump, wantPump) {
		t.Errorf("pump-1:\n%+v\nwant\n%+v", pump, wantPump)
	}
}

const head = `
[gateway]
name = "gw1"
[platform]
servers = ["mqtt://127.0.0.1"]
[[line]]
name = "plc"
host = "192.0.2.20:502"
timeout = "2s"
`

// TestOneBadDeviceDoesNotStopTheOthers: what a fault hits is left out, and nothing else.
func TestOneBadDeviceDoesNotStopTheOthers(t *testing.T) {
	c, problems, err := config.Load(write(t, head+`
[[line]]
name = "bad"
port = "/dev/ttyS1"
mode = "fast"
[[operator]]
name = "nobody"
key = "x"
verbs = []
[web]
listen = "nowhere"
[[device]]
name = "a"
line = "plc"
profile = "eastron-sdm120"
address = "1"
[[device]]
name = "b"
line = "plc"
profile = "eastron-sdm120"
address = 2
[[device]]
name = "c"
line = "bad"
profile = "eastron-sdm120"
address = "1"
[[device]]
name = "d"
line = "plc"
protocol = "modbus"
address = "4"
[[tag]]
device = "d"
name = "x"
[[device]]
name = "e"
line = "plc"
profile = "eastron-sdm630"
address = "5"
every = "20m"
timeout = "300ms"
quirks = { max_registers = 30, holes = "input 80-83" }
only_changes = { "*" = "1%", frequency = 0.05, voltage_l1 = true }
writable = ["power_total"]
`), build())
	if err != nil || !config.Errors(problems) {
		t.Fatal(err, problems)
	}
	for _, p := range problems {
		if p.Fatal {
			t.Errorf("fatal: %s", p)
		}
	}
	if len(c.Lines) != 1 || len(c.Operators) != 0 || c.Web.Listen != "" || len(c.Platforms) != 1 {
		t.Errorf("lines %v, operators %v, web %v", c.Lines, c.Operators, c.Web)
	}
	var names []string
	for _, d := range c.Devices {
		names = append(names, d.Name)
	}
	if !slices.Equal(names, []string{"a", "e"}) {
		t.Fatalf("devices that can run: %v; problems: %v", names, problems)
	}
	a, e := c.Devices[0], c.Devices[1]
	if a.Timeout != 2*time.Second {
		t.Errorf("the line's timeout is not the device's: %v", a.Timeout)
	}
	wantChanges := map[string]config.Deadband{"": {Percent: 1}, "frequency": {Absolute: 0.05}, "voltage_l1": {}}
	wantQuirks := map[string]string{"max_registers": "30", "holes": "input 80-83"}
	if e.Timeout != 300*time.Millisecond || e.Every != 20*time.Minute || e.Slow != 20*time.Minute || e.Heartbeat != 20*time.Minute ||
		!reflect.DeepEqual(e.OnlyChanges, wantChanges) || !reflect.DeepEqual(e.Quirks, wantQuirks) {
		t.Errorf("e: %+v", e)
	}
	if a.Quirks["max_registers"] != "60" {
		t.Error("one device's quirks changed another's")
	}
	for _, tag := range e.Tags {
		if tag.Write != (tag.Name == "power_total") {
			t.Errorf("tag %s: Write = %v", tag.Name, tag.Write)
		}
	}
}

// TestDropIns: lists add up over the files, and everything knows where it stands.
func TestDropIns(t *testing.T) {
	dir := filepath.Join("testdata", "drop-ins")
	c, _, err := config.Load(filepath.Join(dir, "gatewayd.toml"), build())
	if err != nil {
		t.Fatal(err)
	}
	wantFiles := []string{"gatewayd.toml", "conf.d/10-devices.toml", "conf.d/20-more.toml", "conf.d/30-broken.toml"}
	for i, f := range wantFiles {
		wantFiles[i] = filepath.Join(dir, f)
	}
	if !slices.Equal(c.Files, wantFiles) {
		t.Errorf("files: %v", c.Files)
	}
	if len(c.Lines) != 2 || len(c.Devices) != 2 || c.Gateway.Name != "gw1" || c.Platforms[0].Servers[0] != "mqtt://127.0.0.1:1883" {
		t.Errorf("%+v", c)
	}
	if got := at(c.Locate(config.KindLine, "converter", "host")); got != wantFiles[2]+":9:8" {
		t.Errorf("the converter's host stands at %s", got)
	}
}

func at(file string, line, column int) string { return fmt.Sprintf("%s:%d:%d", file, line, column) }

// TestOwnProfile: a profile beside the configuration goes before the built-in one of its name.
func TestOwnProfile(t *testing.T) {
	c, _, err := config.Load("testdata/profiles/gatewayd.toml", build())
	if err != nil || len(c.Devices) != 1 {
		t.Fatalf("%v, %+v", err, c.Devices)
	}
	d := c.Devices[0]
	if len(d.Tags) != 1 || d.Tags[0].Name != "only_here" || !d.Tags[0].Write || d.Every != 5*time.Second {
		t.Errorf("%+v", d)
	}
}

// TestBindProblems: what a driver finds out is said with the place of its key.
func TestBindProblems(t *testing.T) {
	file := write(t, head+`
[[device]]
name = "pump"
line = "plc"
profile = "eastron-sdm120"
address = "300"
quirks = { holes = "x" }
[[tag]]
device = "pump"
name = "level"
at = "input 99999"
`)
	c, problems, err := config.Load(file, build())
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	bind := errors.Join(
		&field.DeviceError{Key: "address", Value: "300", Problem: "no unit", Hint: "allowed: 1 to 247"},
		fmt.Errorf("wrapped: %w", &field.DeviceError{Key: "holes", Value: "x", Problem: "no range"}),
		&field.DeviceError{Key: "max_registers", Value: "60", Problem: "too many"},
		errors.Join(
			&field.TagError{Tag: "level", Key: "at", Value: "input 99999", Problem: "too high", Hint: "0 to 65535"},
			&field.TagError{Tag: "level", Key: "type", Value: "", Problem: "missing"},
			&field.TagError{Tag: "power", Key: "at", Value: "input 12", Problem: "taken"},
		),
		errors.New("something else"),
	)
	want := []string{
		`15:11: device "pump": address = "300": no unit` + "\n    hint: allowed: 1 to 247",
		`16:20: device "pump": quirks.holes = "x": no range`,
		`14:11: device "pump": profile = "eastron-sdm120": max_registers = "60": too many`,
		`20:6: device "pump": tag "level": at = "input 99999": too high` + "\n    hint: 0 to 65535",
		`17:3: device "pump": tag "level": type: missing`,
		`14:11: device "pump": profile = "eastron-sdm120": its tag "power": at = "input 12": taken`,
		`11:3: device "pump": something else`,
	}
	got := c.Problems("pump", bind)
	for i, p := range got {
		if i >= len(want) || p.String() != file+":"+want[i] {
			t.Errorf("problem %d is\n%s", i, p)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d", len(got), len(want))
	}
	if c.Problems("pump", nil) != nil {
		t.Error("no error is no problem")
	}
	remark := c.Problem(config.Warning, config.KindLine, "plc", "", "the line is full to 85 %", "poll less often")
	if want := file + `:6:3: warning: line "plc": the line is full to 85 %` + "\n    hint: poll less often"; remark.String() != want {
		t.Errorf("%s\nwant\n%s", remark, want)
	}
	if p := c.Problem(config.Error, config.KindDevice, "ghost", "at", "x", ""); p.String() != file+`:1:1: device "ghost": at: x` {
		t.Error(p)
	}
}

// TestNoSecretInComplaints: a password that was written into the file by mistake does not go into the journal.
func TestNoSecretInComplaints(t *testing.T) {
	_, problems, err := config.Load(write(t, `
[gateway]
name = "gw1"
[platform]
servers = ["mqtt://user:hunter2@broker"]
secret = "hunter2 hunter2"
`), build())
	if err != nil || len(problems) != 3 { // and that there are no devices
		t.Fatal(err, problems)
	}
	for _, p := range problems {
		if strings.Contains(p.String(), "hunter2") {
			t.Error(p)
		}
	}
}

func TestNoFile(t *testing.T) {
	if _, _, err := config.Load(filepath.Join(t.TempDir(), "gatewayd.toml"), build()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestUnreadableDropIn: a drop-in may hold anything, so without it nothing can run.
func TestUnreadableDropIn(t *testing.T) {
	file := write(t, head)
	dir := filepath.Join(filepath.Dir(file), "conf.d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "10-gone.toml")); err != nil {
		t.Fatal(err)
	}
	_, problems, err := config.Load(file, build())
	if err != nil || !slices.ContainsFunc(problems, func(p config.Problem) bool {
		return p.Fatal && strings.HasSuffix(p.File, "10-gone.toml")
	}) {
		t.Error(err, problems)
	}
}

// FuzzLoad: no text may make Load panic, and what is left out is complained about.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*/gatewayd.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	file := filepath.Join(f.TempDir(), "gatewayd.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, problems, err := config.Load(file, build())
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) == 0 && (c.Gateway.Name == "" || len(c.Platforms) == 0) {
			t.Errorf("no complaint, but %+v", c)
		}
		for _, d := range c.Devices {
			if d.Address == "" || d.Every < 100*time.Millisecond || d.Slow < d.Every || len(d.Tags) == 0 ||
				!slices.ContainsFunc(c.Lines, func(l config.Line) bool { return l.Name == d.Line }) {
				t.Errorf("this device cannot run: %+v", d)
			}
		}
	})
}
