// Package privatebus runs a dbus-daemon for one test: a bus on which a simulator may own any name, whoever runs it.
//
// It promises that nothing of it is left when Stop returns. A caller may not assume that the program is there: Start
// says so, and a test skips with that message.
package privatebus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing says that there is no dbus-daemon on this machine.
var ErrMissing = errors.New("dbus-daemon is not installed: apt-get install dbus-daemon")

// Bus is a running dbus-daemon.
type Bus struct {
	Address string // as in DBUS_SYSTEM_BUS_ADDRESS
	cancel  context.CancelFunc
	cmd     *exec.Cmd
}

const config = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*" eavesdrop="true"/>
  </policy>
</busconfig>
`

// Start runs a bus whose socket and configuration stand in dir, and returns once it can be reached.
func Start(dir string) (*Bus, error) {
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return nil, ErrMissing
	}
	file := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, filepath.Join(dir, "bus.sock")), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{cancel: cancel, cmd: exec.CommandContext(ctx, program, "--nofork", "--nopidfile", "--config-file="+file, "--print-address")}
	var said bytes.Buffer // of what is wrong: it also grumbles about limits that a test's bus never meets
	b.cmd.Stderr = &said
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Stop()
		return nil, fmt.Errorf("dbus-daemon gave no address: %w\n%s", err, said.String())
	}
	b.Address = strings.TrimSpace(line)
	return b, nil
}

// Stop ends the bus and waits until it has ended.
func (b *Bus) Stop() {
	b.cancel()
	_ = b.cmd.Wait() // it was killed
}
