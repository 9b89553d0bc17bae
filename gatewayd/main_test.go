package main

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgegateway/testbench/sim/modbus"
)

// TestMain lets scripts run this test binary as gatewayd, in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatewayd": main})
}

// TestScripts are the command line as its users see it. Each script has folders of its own, which the environment
// names as systemd would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for _, v := range []string{"STATE", "RUNTIME", "CREDENTIALS"} {
				dir := env.WorkDir + "/" + strings.ToLower(v)
				if err := os.Mkdir(dir, 0o700); err != nil {
					return err
				}
				env.Setenv(v+"_DIRECTORY", dir)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"plc":     plc,
			"listens": listens,
			"rc":      exitCode,
		},
	})
}

// plc [FILE…]: a Modbus TCP controller serves until the script ends; its address is $plc, also in the files named.
func plc(ts *testscript.TestScript, neg bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := modbus.New(1)
	unit := server.Unit(1)
	unit.Set(modbus.Inputs, 0, 0x4366, 0x3333) // 230.2 as float32
	unit.Set(modbus.Holdings, 200, 425)
	unit.Hole(modbus.Inputs, 50, 60)
	unit.Identify(map[byte]string{0: "Eastron", 1: "SDM630", 2: "V2"})
	server.Unit(2)
	meter := server.Unit(5) // an SDM120 that says nothing of itself: voltage and frequency
	meter.Set(modbus.Inputs, 0, 0x4366, 0x3333)
	meter.Set(modbus.Inputs, 70, 0x4248, 0x147B)
	meter.Hole(modbus.Holdings, 0, 0xFFFF)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTCP(ctx, ln) // it ends with the script
	}()
	ts.Defer(func() { stop(); <-done })
	ts.Setenv("plc", ln.Addr().String())
	for _, file := range args {
		text := strings.ReplaceAll(ts.ReadFile(file), "$plc", ln.Addr().String())
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// listens: wait until a daemon answers on the control socket.
func listens(ts *testscript.TestScript, neg bool, args []string) {
	socket := ts.Getenv("RUNTIME_DIRECTORY") + "/control.sock"
	for range 500 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("nobody listens on %s after 10 s", socket)
}

// rc CODE ARGS…: gatewayd ARGS ends with that exit code.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	want := args[0]
	err := ts.Exec("gatewayd", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("exit code %s, want %s", got, want)
	}
}
