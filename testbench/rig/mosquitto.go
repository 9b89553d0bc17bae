package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"edgegateway/testbench/tcpport"
)

// ErrNoMosquitto says that Debian's broker is not installed here.
var ErrNoMosquitto = errors.New("mosquitto is not installed: apt-get install mosquitto (.ci/run does that)")

// Mosquitto is Debian's broker as a process of ours, on one port for as long as it lives.
type Mosquitto struct {
	port   *tcpport.Port
	config string
	binary string
	cmd    *exec.Cmd
	log    *os.File
}

// NewMosquitto prepares a broker with its folder in dir; Start starts it. ErrNoMosquitto where there is none.
func NewMosquitto(dir string) (*Mosquitto, error) {
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			return nil, ErrNoMosquitto
		}
	}
	port, err := tcpport.Hold("")
	if err != nil {
		return nil, err
	}
	m := &Mosquitto{port: port, binary: binary, config: filepath.Join(dir, "mosquitto.conf")}
	_, number, err := net.SplitHostPort(port.Address())
	if err != nil {
		return nil, err
	}
	// Sessions outlive a restart, as they do on a real platform.
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"+
		"persistence true\npersistence_location %s/\nlog_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\n", number, dir)
	if os.Geteuid() == 0 {
		text += "user root\n" // else it drops to a user who may not enter our folders
	}
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	m.log, err = os.Create(filepath.Join(dir, "mosquitto.log"))
	return m, err
}

// Address is the broker's host and port, the same after each Start.
func (m *Mosquitto) Address() string { return m.port.Address() }

// Start runs the broker and returns when it accepts connections.
func (m *Mosquitto) Start(ctx context.Context) error {
	m.cmd = exec.Command(m.binary, "-c", m.config)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	// A broker must not outlive a test that died.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		if conn, err := net.Dial("tcp", m.Address()); err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("mosquitto does not accept connections; its log is %s", m.log.Name())
		}
	}
}

// Kill ends the broker as a crash does.
func (m *Mosquitto) Kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait() // it says "killed"
		m.cmd = nil
	}
}

// Stop ends the broker as its service manager does: it saves its sessions.
func (m *Mosquitto) Stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Signal(syscall.SIGTERM)
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// Close ends the broker and gives its port away.
func (m *Mosquitto) Close() {
	m.Kill()
	m.port.Close()
	m.log.Close()
}
