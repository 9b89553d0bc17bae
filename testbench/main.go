// Command testbench is the daemon's other side: the demo, and the simulators as tools.
//
//	go run ./testbench demo [--for 45s]    the real daemon, simulated devices, a broker, and an outage in the middle
//	go run ./testbench plant [--broker A]  the simulated plant alone, with a configuration to point a gatewayd at it
//	go run ./testbench bench [--for 60s]   the daemon under steady load beside raw sockets (docs/performance.md)
//	go run ./testbench bench buffer [--only PART]  the store beside a raw log, bbolt and Pebble
//	go run ./testbench rootfs [--arch A]   the Debian that packages are tried in: builds it once, prints where it is
//
// Nothing of the daemon depends on it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edgegateway/testbench/appliance"
	"edgegateway/testbench/bench"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/storebench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := execute(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testbench: "+err.Error())
		if errors.As(err, new(usageError)) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }

func execute(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError("usage: testbench demo [--for DURATION] | plant [--broker ADDRESS] | bench [--for DURATION] | rootfs [--arch ARCH]")
	}
	flags := flag.NewFlagSet("testbench "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "demo":
		length := flags.Duration("for", 45*time.Second, "how long the demo runs, 20s or more")
		if err := flags.Parse(args[1:]); err != nil {
			return usageError(err.Error())
		}
		if *length < 20*time.Second {
			return usageError("demo --for " + length.String() + ": an outage and its repair take 20 s at least")
		}
		return demo(ctx, *length)
	case "plant":
		broker := flags.String("broker", "mqtt://127.0.0.1:1883", "the broker that the configuration names")
		if err := flags.Parse(args[1:]); err != nil {
			return usageError(err.Error())
		}
		return plant(ctx, *broker)
	case "bench":
		if len(args) > 1 && args[1] == "buffer" {
			only := flags.String("only", "", "only this part: commits, joined, cycles, flash or memory")
			dir := flags.String("dir", "", "where the files go, on the disk to be measured; default a temporary folder")
			bare := flags.Bool("bare", false, "without the part's heading")
			if err := flags.Parse(args[2:]); err != nil {
				return usageError(err.Error())
			}
			return benchBuffer(ctx, *only, *dir, *bare)
		}
		window := flags.Duration("for", time.Minute, "how long each case is measured")
		only := flags.Int("case", 0, "only this case, 1 to 3; 0 for all")
		if err := flags.Parse(args[1:]); err != nil {
			return usageError(err.Error())
		}
		return steady(ctx, *window, *only)
	case "rootfs":
		arch := flags.String("arch", "amd64", "amd64 or arm64")
		if err := flags.Parse(args[1:]); err != nil {
			return usageError(err.Error())
		}
		path, err := appliance.Rootfs(ctx, *arch)
		if err == nil {
			fmt.Println(path)
		}
		return err
	case "yardstick": // what bench runs beside the daemon
		broker := flags.String("broker", "", "address of the broker")
		devices := flags.String("devices", "", "addresses of the devices")
		if err := flags.Parse(args[1:]); err != nil {
			return usageError(err.Error())
		}
		return bench.Yardstick(ctx, strings.Split(*devices, ","), *broker, time.Second)
	default:
		return usageError("there is no " + args[0] + "; there are demo, plant, bench and rootfs")
	}
}

// benchBuffer measures the store and prints the tables of docs/performance.md.
func benchBuffer(ctx context.Context, only, dir string, bare bool) error {
	folder, err := os.MkdirTemp(dir, "gatewayd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	return storebench.Run(ctx, only, folder, !bare, os.Stdout)
}

// plant serves the simulated plant until interrupted, for a gatewayd that somebody runs by hand.
func plant(ctx context.Context, broker string) error {
	dir, err := os.MkdirTemp("", "gatewayd-plant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := rig.NewPlant(dir)
	if err != nil {
		return err
	}
	defer p.Close()
	fmt.Print(p.Config("plant-gw", broker))
	fmt.Fprintln(os.Stderr, "the plant runs; put the lines above into a gatewayd.toml. Interrupt to end it.")
	<-ctx.Done()
	return nil
}

// steady measures the daemon under steady load and prints the tables of docs/performance.md.
func steady(ctx context.Context, window time.Duration, only int) error {
	dir, err := os.MkdirTemp("", "gatewayd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := rig.Build(ctx, dir)
	if err != nil {
		return err
	}
	for i, c := range []bench.Case{
		{Name: "1,000 tags a second", Devices: 10},
		{Name: "10,000 tags a second", Devices: 100},
		{Name: "10,000 tags a second, a long way off", Devices: 100, RTT: 100 * time.Millisecond},
	} {
		if only != 0 && only != i+1 {
			continue
		}
		c.Warm, c.Window = 5*time.Second, window
		folder := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		r, err := bench.Steady(ctx, binary, folder, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		r.Print(os.Stdout)
	}
	return nil
}
