package scenarios

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/testbench/rig"
)

var (
	full  = flag.Bool("full", false, "run every scenario, not only some quick ones")
	embed = flag.Bool("embedded", false, "use the embedded broker also where mosquitto is installed")
	kills = flag.Int("kills", 5, "how often a scenario of many kills does it")
)

// atOnce is how many scenarios run at the same time. They wait more than they work.
const atOnce = "5"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(atOnce) // a number; flag.Parse would have refused anything else
	}
	os.Exit(m.Run())
}

func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("the scenarios build and run the daemon")
	}
	sources(t)
	bin := t.TempDir() // it stays until every scenario has ended
	if _, err := rig.Build(context.Background(), bin); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: ".", WorkdirRoot: t.TempDir(),
		Setup: func(env *testscript.Env) error {
			return newScenario(env, filepath.Join(bin, "gatewayd"))
		},
		Condition: func(cond string) (bool, error) {
			if cond == "full" {
				return *full, nil
			}
			return false, fmt.Errorf("no such condition: %s", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"plant": command((*scenario).cmdPlant), "pair": command((*scenario).cmdPair), "mixed": command((*scenario).cmdMixed),
			"occupancy": command((*scenario).cmdOccupancy), "misses": command((*scenario).cmdMisses), "units": command((*scenario).cmdUnits),
			"line": command((*scenario).cmdLine), "unplug": command((*scenario).cmdUnplug),
			"replug": command((*scenario).cmdReplug), "unit": command((*scenario).cmdUnit),
			"disturb": command((*scenario).cmdDisturb),
			"broker":  command((*scenario).cmdBroker), "wan": command((*scenario).cmdWAN),
			"certificate": command((*scenario).cmdCertificate),
			"gateway":     command((*scenario).cmdGateway),
			"await":       command((*scenario).cmdAwait), "within": command((*scenario).cmdWithin),
			"for": command((*scenario).cmdFor), "mark": command((*scenario).cmdMark), "settle": command((*scenario).cmdSettle),
			"books": command((*scenario).cmdBooks), "intervals": command((*scenario).cmdIntervals),
			"proofs": command((*scenario).cmdProofs), "came": command((*scenario).cmdCame),
			"live": command((*scenario).cmdLive),
		},
	})
}

// command makes a script's word of a method.
func command(do func(*scenario, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this word has no opposite")
		}
		ts.Check(do(ts.Value(key{}).(*scenario), ts, args))
	}
}

// sources looks at the files that the daemon is made of, so that go test knows its result to depend on them.
func sources(t *testing.T) {
	for _, dir := range []string{"adapters", "buffer", "gatewayd", "systemd"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".toml")) {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
