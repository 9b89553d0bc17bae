// Package rig puts the real daemon, simulated devices, a broker and a bad network together: for the demo, the
// scenarios and the benchmarks.
//
// It promises that everything it starts is its own (processes, kernel-given ports, folders) and is gone after Close.
// A caller may not assume that the daemon survives: killing it is what the rig is for.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"edgegateway/gatewayd/health"
)

// Build builds the daemon's binary into dir and gives its path.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "gatewayd")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "edgegateway/gatewayd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the daemon does not build: %w\n%s", err, out)
	}
	return binary, nil
}

// Daemon is one real gatewayd in a process and folders of its own.
type Daemon struct {
	Binary string
	Dir    string   // holds gatewayd.toml, state, run, credentials and the log
	Env    []string // further variables of its environment, "NAME=value"

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended

	mu  sync.Mutex
	log bytes.Buffer
}

// NewDaemon lays out a daemon's folders in dir with the given configuration.
func NewDaemon(binary, dir, config string) (*Daemon, error) {
	d := &Daemon{Binary: binary, Dir: dir}
	for _, sub := range []string{"state", "run", "credentials"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	return d, d.Configure(config)
}

// Configure writes the configuration that the next Start reads.
func (d *Daemon) Configure(config string) error {
	return os.WriteFile(filepath.Join(d.Dir, "gatewayd.toml"), []byte(config), 0o600)
}

func (d *Daemon) flags() []string {
	return []string{
		"--config", filepath.Join(d.Dir, "gatewayd.toml"), "--state", filepath.Join(d.Dir, "state"),
		"--runtime", filepath.Join(d.Dir, "run"), "--credentials", filepath.Join(d.Dir, "credentials"),
	}
}

// Start runs the daemon; it does not wait until it is ready.
func (d *Daemon) Start() error {
	d.cmd = exec.Command(d.Binary, append([]string{"run"}, d.flags()...)...)
	d.cmd.Env = append(os.Environ(), d.Env...)
	d.cmd.Stdout, d.cmd.Stderr = (*logWriter)(d), (*logWriter)(d)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a test that died
	if err := d.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	d.done = done
	go func(cmd *exec.Cmd) {
		d.err = cmd.Wait()
		close(done)
	}(d.cmd)
	return nil
}

// logWriter collects what the daemon says.
type logWriter Daemon

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

// Log is what the daemon said so far, all its runs together.
func (d *Daemon) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// Pid is the process id of the running daemon.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Stop asks the daemon to end, as systemd does, and tells how long that took. A daemon that is still there after 10 s
// is killed, and that is an error.
func (d *Daemon) Stop() (time.Duration, error) {
	begin := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("the daemon is not running: %w", err)
	}
	select {
	case <-d.done:
		if d.err != nil {
			return time.Since(begin), fmt.Errorf("the daemon did not end cleanly: %w", d.err)
		}
		return time.Since(begin), nil
	case <-time.After(10 * time.Second):
		d.Kill()
		return time.Since(begin), errors.New("the daemon did not end within 10 s and was killed")
	}
}

// Kill ends the daemon as a crash would: kill -9.
func (d *Daemon) Kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill() // it may be gone already
		<-d.done
	}
}

// Ended is closed when the process has ended.
func (d *Daemon) Ended() <-chan struct{} { return d.done }

// Status asks the daemon over its control socket.
func (d *Daemon) Status(ctx context.Context) (health.Status, error) {
	var s health.Status
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dial net.Dialer
			return dial.DialContext(ctx, "unix", filepath.Join(d.Dir, "run", "control.sock"))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://gatewayd/api/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// Await asks for the status until ok likes it, and fails with the last one's JSON after the given time or when the
// daemon ends.
func (d *Daemon) Await(ctx context.Context, limit time.Duration, what string, ok func(*health.Status) bool) (health.Status, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last health.Status
	var lastErr error
	for {
		s, err := d.Status(ctx)
		if lastErr = err; err == nil {
			if last = s; ok(&last) {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-d.done:
			return last, fmt.Errorf("the daemon ended while waiting until %s: %v", what, d.err)
		case <-deadline.C:
			doc, _ := json.MarshalIndent(last, "", " ")
			return last, fmt.Errorf("not so after %s: %s (last error: %v)\n%s", limit, what, lastErr, doc)
		case <-tick.C:
		}
	}
}

// CLI runs one verb of the daemon's own command line against this daemon.
func (d *Daemon) CLI(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, d.Binary, append(args, d.flags()...)...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// Sum adds up a status's books, over all platforms and classes.
func Sum(s *health.Status) health.Books {
	var sum health.Books
	for _, p := range s.Platforms {
		for _, b := range p.Books {
			sum.Taken += b.Taken
			sum.Delivered += b.Delivered
			sum.Buffered += b.Buffered
			sum.Lost += b.Lost
		}
	}
	return sum
}
