package ble

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"
)

// ErrNoBus says that there is no dbus-daemon on this machine.
var ErrNoBus = errors.New("dbus-daemon is not installed (apt install dbus): there is no bluetooth without it")

// Bus is a private message bus.
type Bus struct {
	Address string // as DBUS_SYSTEM_BUS_ADDRESS takes it
	cmd     *exec.Cmd
	dir     string
}

// NewBus starts a bus. The error is ErrNoBus where it cannot be had.
func NewBus() (*Bus, error) {
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return nil, ErrNoBus
	}
	dir, err := os.MkdirTemp("", "bus-") // a short path: that of a socket has 107 characters at most
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--session", "--nofork", "--nopidfile", "--print-address=1", "--address=unix:dir="+dbus.EscapeBusAddressValue(dir))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a test that died
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	b := &Bus{Address: strings.TrimSpace(line), cmd: cmd, dir: dir}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("dbus-daemon does not tell where it listens: %w", err)
	}
	return b, nil
}

// Close ends the bus, and with it everybody's connections.
func (b *Bus) Close() {
	_ = b.cmd.Process.Kill() // it may have ended
	_ = b.cmd.Wait()         // it was killed: the error says just that
	_ = os.RemoveAll(b.dir)
}
