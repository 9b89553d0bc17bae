package rig

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/sim/modbus"
)

// Farm is a field of equal devices on Modbus TCP, each behind an address of its own, with 100 float32 tags that take
// two requests to read.
type Farm struct {
	Servers   []*modbus.Server
	addresses []string
	cancel    context.CancelFunc
	wait      sync.WaitGroup
}

// FarmTags is how many tags each device of a Farm has.
const FarmTags = 100

// NewFarm begins to serve n devices.
func NewFarm(n int) (*Farm, error) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Farm{cancel: cancel}
	for i := range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.Close()
			return nil, err
		}
		s := modbus.New(uint64(i + 1))
		s.Unit(1).Generate(modbus.Inputs, 0, 2*FarmTags-1, modbus.Wave(230, 12, time.Minute))
		f.Servers = append(f.Servers, s)
		f.addresses = append(f.addresses, ln.Addr().String())
		f.wait.Go(func() { _ = s.ServeTCP(ctx, ln) })
	}
	return f, nil
}

// Close ends the devices.
func (f *Farm) Close() {
	f.cancel()
	f.wait.Wait()
}

// Addresses are where the devices listen.
func (f *Farm) Addresses() []string { return f.addresses }

// Requests counts what the devices were asked so far.
func (f *Farm) Requests() int {
	n := 0
	for _, s := range f.Servers {
		n += s.Unit(1).Counts().Requests
	}
	return n
}

// Configure gives a daemon a configuration that reads every device of the farm once a period, and the profile that
// it names.
func (f *Farm) Configure(d *Daemon, broker string, every time.Duration) error {
	var b strings.Builder
	b.WriteString("name = \"farm\"\ntitle = \"a device of the farm\"\nprotocol = \"modbus\"\nsource = \"testbench/rig\"\n\n")
	for i := range FarmTags {
		fmt.Fprintf(&b, "[[tag]]\nname = \"t%02d\"\nat = \"input %d\"\ntype = \"float32\"\n\n", i, 2*i)
	}
	b.WriteString("[[test]]\norigin = \"constructed from the register table\"\naddress = \"1\"\nrequest = \"01 04 00 00 00 02 71 CB\"\n" +
		"answer = \"01 04 04 43 66 33 34 1B 38\"\nexpect = { t00 = 230.2 }\n")
	dir := filepath.Join(d.Dir, "profiles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "farm.toml"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	b.Reset()
	fmt.Fprintf(&b, "[gateway]\nname = \"farm-gw\"\n\n[platform]\nservers = [%q]\n\n", "mqtt://"+broker)
	for i, address := range f.addresses {
		fmt.Fprintf(&b, "[[line]]\nname = \"line-%d\"\nhost = %q\n\n[[device]]\nname = \"d%d\"\nline = \"line-%d\"\nprofile = \"farm\"\naddress = \"1\"\nevery = %q\n\n",
			i, address, i, i, every)
	}
	return d.Configure(b.String())
}
