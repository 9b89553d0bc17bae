package imports

import (
	"fmt"
	"go/token"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport is the house's plan: each package, and what of ours it may import. Tests may import more. A pattern ends
// in "/..." for everything below, and "/*" in a package's place for each folder there. The first row that fits holds.
var mayImport = []struct {
	pkg string
	may []string
}{
	{"adapters/field", nil},
	{"adapters/field/fieldtest", []string{"adapters/field", "adapters/link"}}, // it runs drivers on a line in memory
	{"adapters/link", nil},
	{"adapters/profile", []string{"adapters/field", "adapters/profile/strict", "adapters/profile/library"}},
	{"adapters/profile/library", nil},
	{"adapters/profile/foreign", []string{"adapters/field", "adapters/profile/strict"}},
	{"adapters/profile/strict", nil},
	{"adapters/modbus", []string{"adapters/field", "adapters/link", "adapters/modbus/register", "adapters/modbus/sunspec"}},
	{"adapters/modbus/register", []string{"adapters/field", "adapters/modbus/sunspec"}},
	{"adapters/modbus/sunspec", []string{"adapters/field"}},
	{"adapters/meter", []string{"adapters/field", "adapters/link"}},
	{"adapters/dlt645", []string{"adapters/field", "adapters/link", "adapters/meter"}},
	{"adapters/iec62056", []string{"adapters/field", "adapters/link", "adapters/meter"}},
	{"adapters/mbus", []string{"adapters/field", "adapters/link", "adapters/meter"}},
	{"adapters/serial", []string{"adapters/field", "adapters/link"}},
	{"adapters/ble", []string{"adapters/field", "adapters/ble/advert"}},
	{"adapters/ble/advert", []string{"adapters/field"}},
	{"adapters", []string{"adapters/..."}},
	{"buffer", []string{"adapters/field"}},
	{"systemd", nil},
	{"gatewayd/config", []string{"adapters/field", "adapters/profile", "adapters/profile/strict"}},
	{"gatewayd/flash", nil},
	{"gatewayd/clock", []string{"adapters/field", "gatewayd/durable"}},
	{"gatewayd/durable", nil},
	{"gatewayd/replay", []string{"adapters/ble", "gatewayd/durable"}},
	{"gatewayd/machine", []string{"adapters/field", "systemd", "gatewayd/command", "gatewayd/durable"}},
	{"gatewayd/update", []string{"adapters/field", "gatewayd/command", "gatewayd/durable"}},
	{"gatewayd/identity", []string{"adapters/field", "gatewayd/command", "gatewayd/durable"}},
	{"gatewayd/collect", []string{"adapters/field", "gatewayd/clock"}},
	{"gatewayd/audit", []string{"gatewayd/durable"}},
	{"gatewayd/candidate", []string{"gatewayd/durable"}},
	{"gatewayd/command", []string{"adapters/field", "gatewayd/audit"}},
	{"gatewayd/dialect", []string{"adapters/field", "gatewayd/command"}},
	{"gatewayd/dialect/*", []string{"adapters/field", "gatewayd/command", "gatewayd/dialect"}},
	{"gatewayd/uplink", []string{"adapters/field", "buffer", "gatewayd/command", "gatewayd/dialect"}},
	{"gatewayd/health", nil},
	{"gatewayd/web", []string{"gatewayd/health", "gatewayd/command"}},
	{"gatewayd", []string{"adapters/...", "buffer", "systemd", "gatewayd/..."}},
	// Simulators have codecs of their own: one that used the code under test would let it agree with itself.
	{"testbench/sim/*", []string{"testbench/..."}},
	{"testbench/...", []string{"adapters/...", "buffer", "systemd", "gatewayd/...", "testbench/..."}},
}

// soleImporters names who may import a library, its subpackages included, and why nobody else may.
var soleImporters = []struct {
	library string
	by      []string
	why     string
}{
	{"github.com/eclipse/paho.mqtt.golang", []string{"gatewayd/uplink", "testbench/..."}, "one place keeps the MQTT session"},
	{"github.com/dgraph-io/badger", []string{"buffer", "testbench/storebench"}, "one place writes to the flash"},
	{"go.etcd.io/bbolt", []string{"testbench/storebench"}, "a yardstick"},
	{"github.com/cockroachdb/pebble", []string{"testbench/storebench"}, "a yardstick"},
	{"github.com/tarm/serial", []string{"adapters/link"}, "a line is opened in one place"},
	{"github.com/goburrow/modbus", []string{"adapters/modbus"}, "its codec is under test: a simulator must not share it"},
	{"github.com/prometheus/client_golang", []string{"gatewayd/health"}, "packages count with plain atomics in their Stats"},
	{"github.com/coreos/go-systemd", []string{"systemd"}, "the rest of the house runs without a service manager"},
	{"github.com/godbus/dbus", []string{"systemd", "adapters/ble", "testbench/..."}, "the bus is an optional peer, and few know it"},
	{"github.com/hanwen/go-fuse", []string{"testbench/powercut"}, "it is a disk's, and does not exist on 32 bits"},
	{"go.yaml.in/yaml", []string{"adapters/profile/foreign"}, "what we write is TOML: YAML reads meter numbers as other numbers"},
	{"github.com/pelletier/go-toml", []string{"adapters/profile/...", "gatewayd/config"}, "one place reads files that people write"},
}

// onlyInTests are the test's own libraries: none may end up in the daemon.
var onlyInTests = []string{
	module + "/testbench",
	"github.com/mochi-mqtt/server",
	"github.com/rogpeppe/go-internal",
	"github.com/creack/pty",
	"go.etcd.io/bbolt",
	"github.com/cockroachdb/pebble",
	"github.com/hanwen/go-fuse",
	"github.com/dop251/goja",
	"github.com/smallstep/pkcs7",
	"testing",
}

// covers says whether the pattern covers the package.
func covers(pattern, p string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(p+"/", below+"/")
	}
	if folder, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path.Dir(p) == folder
	}
	return pattern == p
}

func coversAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return covers(pattern, p) })
}

// conformance tells the package that p is the conformance suite of: "a/field" for "a/field/fieldtest", else "".
func conformance(p string) string {
	if of := path.Dir(p); path.Base(p) == path.Base(of)+"test" {
		return of
	}
	return ""
}

// allowed gives what p may import of ours, and whether there is a row for it. A conformance suite that has no row of
// its own may import what its package may, and that package.
func allowed(p string) ([]string, bool) {
	for _, row := range mayImport {
		if row.pkg == p {
			return row.may, true
		}
	}
	if of := conformance(p); of != "" {
		may, ok := allowed(of)
		return append(slices.Clone(may), of), ok
	}
	for _, row := range mayImport {
		if covers(row.pkg, p) {
			return row.may, true
		}
	}
	return nil, false
}

// checkImports holds one package against the table.
func checkImports(p pkg) (complaints []string) {
	may, ok := allowed(p.path)
	if !ok {
		return []string{fmt.Sprintf("%s: no row for this package: add one to mayImport in testbench/imports/imports_test.go, "+
			"with what it may import of ours and no more, and a page in docs/decisions when the plan of the house changes", p.path)}
	}
	inTestbench := strings.HasPrefix(p.path+"/", "testbench/")
	for _, f := range p.files {
		for _, path := range f.imports() {
			ours, isOurs := strings.CutPrefix(path, module+"/")
			switch {
			case f.test || !isOurs:
			case conformance(ours) != "" && !inTestbench:
				complaints = append(complaints, fmt.Sprintf("%s imports %s: a conformance suite is for tests", f.path, ours))
			case conformance(ours) == "" && !coversAny(may, ours):
				complaints = append(complaints, fmt.Sprintf("%s imports %s: %s may import of ours only %q; "+
					"a type that both need belongs to the one of them that the other may know", f.path, ours, p.path, may))
			}
			for _, rule := range soleImporters {
				if strings.HasPrefix(path+"/", rule.library+"/") && !coversAny(rule.by, p.path) {
					complaints = append(complaints, fmt.Sprintf("%s imports %s: only %s may: %s",
						f.path, path, strings.Join(rule.by, ", "), rule.why))
				}
			}
		}
	}
	return complaints
}

func TestImports(t *testing.T) {
	for _, p := range house(t) {
		report(t, checkImports(p))
	}
}

func TestDaemonHoldsNoTestCode(t *testing.T) {
	cmd := exec.Command("go", "list", "-e", "-deps", "./gatewayd")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dependencies := strings.Fields(string(out))
	if !slices.Contains(dependencies, module+"/adapters/field") {
		t.Fatal("the list of the daemon's dependencies makes no sense: adapters/field is not in it")
	}
	for _, d := range dependencies {
		for _, banned := range onlyInTests {
			if strings.HasPrefix(d+"/", banned+"/") {
				t.Errorf("gatewayd depends on %s, which is for tests: `go list -deps` and `go mod why %s` tell through whom", d, d)
			}
		}
	}
}

// TestImportRulesCanFail holds the checker against packages that break each rule.
func TestImportRulesCanFail(t *testing.T) {
	for _, c := range []struct {
		path, file, imports string
		want                string // part of the complaint; "" for none
	}{
		{"adapters/modbus", "a.go", "adapters/link", ""},
		{"adapters/modbus", "a.go", "buffer", "adapters/modbus may import of ours only"},
		{"adapters/modbus", "a_test.go", "testbench/sim/modbus", ""},
		{"adapters/link", "a.go", "adapters/field", "may import of ours only"},
		{"adapters/modbus", "a.go", "adapters/field/fieldtest", "is for tests"},
		{"adapters/field/fieldtest", "a.go", "adapters/field", ""},
		{"adapters/field/fieldtest", "a.go", "adapters/link", ""},
		{"adapters/field/fieldtest", "a.go", "buffer", "may import of ours only"},
		{"adapters/link/linktest", "a.go", "adapters/field", "may import of ours only"},
		{"gatewayd/dialect/native", "a.go", "gatewayd/dialect", ""},
		{"gatewayd/dialect/native", "a.go", "gatewayd/uplink", "may import of ours only"},
		{"testbench/sim/modbus", "a.go", "adapters/modbus", "may import of ours only"},
		{"testbench/rig", "a.go", "gatewayd/health", ""},
		{"gatewayd", "a.go", "testbench/rig", "may import of ours only"},
		{"adapters/canopen", "a.go", "adapters/field", "no row for this package"},
		{"gatewayd/collect", "a.go", "github.com/eclipse/paho.mqtt.golang", "one place keeps the MQTT session"},
		{"gatewayd/uplink", "a_test.go", "github.com/dgraph-io/badger/v4", "one place writes to the flash"},
		{"testbench/sim/modbus", "a.go", "github.com/goburrow/modbus", "its codec is under test"},
		{"buffer", "a.go", "github.com/dgraph-io/badger/v4/options", ""},
	} {
		spec := c.imports
		if !strings.HasPrefix(spec, "github.com/") {
			spec = module + "/" + spec
		}
		p := pkg{path: c.path, fset: token.NewFileSet()}
		if err := p.add(c.file, fmt.Sprintf("package a\nimport %q\n", spec)); err != nil {
			t.Fatal(err)
		}
		got := checkImports(p)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s/%s imports %s: complaints %q, want %q", c.path, c.file, c.imports, got, c.want)
		}
	}
}
