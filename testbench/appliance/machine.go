package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"edgegateway/testbench/nbd"
	"edgegateway/testbench/tcpport"
)

// Machine is one gateway computer: a disk that stays, and a QEMU that comes and goes. Its methods are for one
// goroutine.
type Machine struct {
	Arch    string
	Disk    *nbd.Disk
	dir     string // short, for sockets live in it
	kernel  string
	initrd  string
	port    *tcpport.Port // where the guest's agent answers on the host
	stop    context.CancelFunc
	serving sync.WaitGroup
	cmd     *exec.Cmd
	done    chan struct{} // closed when QEMU has ended
	boots   int
}

// Programs that a machine of each architecture needs.
var qemu = map[string]struct{ program, debian string }{
	"amd64": {"qemu-system-x86_64", "qemu-system-x86"},
	"arm64": {"qemu-system-aarch64", "qemu-system-arm"},
}

// New makes a machine with a fresh copy of the base disk; Boot switches it on. ErrMissing where that can't be done.
func New(ctx context.Context, arch string) (*Machine, error) {
	q, ok := qemu[arch]
	if !ok {
		return nil, fmt.Errorf("there is no machine for %q: allowed are amd64 and arm64", arch)
	}
	if err := need(map[string]string{q.program: q.debian, "cpio": "cpio", "mke2fs": "e2fsprogs"}); err != nil {
		return nil, err
	}
	image, kernel, err := baseDisk(ctx, arch)
	if err != nil {
		return nil, err
	}
	rootfs, err := Rootfs(ctx, arch)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gwvm")
	if err != nil {
		return nil, err
	}
	m := &Machine{Arch: arch, dir: dir, kernel: kernel}
	fail := func(err error) (*Machine, error) {
		return nil, errors.Join(err, m.Close())
	}
	if m.initrd, err = initrd(ctx, arch, rootfs, dir); err != nil {
		return fail(err)
	}
	disk := filepath.Join(dir, "disk")
	if err := run(ctx, "cp", "--sparse=always", image, disk); err != nil {
		return fail(err)
	}
	if m.Disk, err = nbd.Open(disk); err != nil {
		return fail(err)
	}
	l, err := net.Listen("unix", m.Socket("nbd"))
	if err != nil {
		return fail(err)
	}
	serving, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.serving.Go(func() { _ = m.Disk.Serve(serving, l) }) // it ends with the machine
	if m.port, err = tcpport.Hold(""); err != nil {
		return fail(err)
	}
	return m, nil
}

// Socket is the path of one of the machine's sockets: "rs485" and "usb" are the far ends of its serial ports.
func (m *Machine) Socket(name string) string { return filepath.Join(m.dir, name) }

// Serial is what the guest calls the port whose far end is the socket "rs485".
func (m *Machine) Serial() string {
	if m.Arch == "arm64" {
		return "/dev/ttyS0"
	}
	return "/dev/ttyS1"
}

// Boot switches the machine on; its clock stands at the given time (zero for now). It waits until the agent answers.
func (m *Machine) Boot(ctx context.Context, clock time.Time) error {
	m.boots++
	rtc := "base=utc"
	if !clock.IsZero() {
		rtc = "base=" + clock.UTC().Format("2006-01-02T15:04:05")
	}
	_, port, err := net.SplitHostPort(m.port.Address())
	if err != nil {
		return err
	}
	console := "ttyS0"
	args := []string{
		"-nodefaults", "-display", "none", "-no-reboot", "-smp", "2", "-m", "512", "-rtc", rtc,
		"-accel", accelerator(m.Arch),
		"-chardev", "file,id=console,path=" + m.consolePath(), "-serial", "chardev:console",
		"-qmp", "unix:" + m.Socket("qmp") + ",server=on,wait=off",
		"-drive", "file=nbd:unix:" + m.Socket("nbd") + ",format=raw,if=none,id=d0,cache=none,discard=ignore",
		"-device", "virtio-blk-pci,drive=d0",
		"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:" + port + "-:7070", "-device", "virtio-net-pci,netdev=n0,romfile=",
		"-device", "virtio-rng-pci",
		"-chardev", "socket,id=rs485,path=" + m.Socket("rs485") + ",server=on,wait=off",
		"-chardev", "socket,id=usb,path=" + m.Socket("usb") + ",server=on,wait=off",
		"-device", "qemu-xhci,id=xhci", "-device", "usb-serial,chardev=usb,serial=GW0001",
		"-kernel", m.kernel, "-initrd", m.initrd,
	}
	if m.Arch == "arm64" {
		console = "ttyAMA0"
		args = append(args, "-machine", "virt,gic-version=3", "-cpu", "cortex-a53", "-device", "pci-serial,chardev=rs485")
	} else {
		args = append(args, "-machine", "q35", "-cpu", "max", "-device", "isa-serial,chardev=rs485,index=1")
	}
	args = append(args, "-append", "console="+console+" root=/dev/vda rw quiet loglevel=3 net.ifnames=0 mitigations=off systemd.show_status=0")
	m.cmd = exec.Command(qemu[m.Arch].program, args...)
	said, err := os.Create(m.Socket("qemu.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	m.cmd.Stdout, m.cmd.Stderr = said, said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	m.done = done
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}(m.cmd)
	for {
		if _, err := m.Run(ctx, 10*time.Second, "true"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the machine does not come up: %w\n%s", ctx.Err(), m.Console())
		case <-done:
			text, _ := os.ReadFile(m.Socket("qemu.log"))
			return fmt.Errorf("QEMU ended: %s\n%s", text, m.Console())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// accelerator is KVM where the processor has it for guests of that architecture. /dev/kvm alone says nothing: it may be
// there and hang.
func accelerator(arch string) string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the machine is only slower
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		if arch == runtime.GOARCH && (strings.Contains(string(text), " vmx ") || strings.Contains(string(text), " svm ")) {
			return "kvm"
		}
	}
	return "tcg,thread=multi,tb-size=512"
}

func (m *Machine) consolePath() string { return m.Socket(fmt.Sprintf("console-%d", m.boots)) }

// Console is what the machine printed since it was switched on.
func (m *Machine) Console() string {
	text, _ := os.ReadFile(m.consolePath())
	return string(text)
}

// Pull takes the power away in the middle of everything. The disk loses what was not flushed as seed says.
func (m *Machine) Pull(seed uint64) error {
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := m.Disk.Cut(seed)
	_ = m.cmd.Process.Kill()
	<-m.done
	m.Disk.Restore()
	return err
}

// Off switches the machine off in order.
func (m *Machine) Off(ctx context.Context) error {
	_, _ = m.Run(ctx, time.Minute, "systemctl", "poweroff", "--no-block") // the answer may be lost with the agent
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the machine does not switch itself off: %w\n%s", ctx.Err(), m.Console())
	}
}

// Close ends everything and takes the machine's folder away. Closing twice is no error.
func (m *Machine) Close() error {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // it may be gone already
		<-m.done
	}
	if m.stop != nil {
		m.stop()
	}
	m.serving.Wait()
	var err error
	if m.Disk != nil {
		err = m.Disk.Close()
		m.Disk = nil
	}
	if m.port != nil {
		m.port.Close()
		m.port = nil
	}
	return errors.Join(err, os.RemoveAll(m.dir))
}

// Run runs a command as root in the guest and gives what it printed. A command that fails is an error that says so.
func (m *Machine) Run(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	body, err := json.Marshal(map[string]any{"args": args, "seconds": int(limit.Seconds())})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, limit+20*time.Second)
	defer cancel()
	text, err := m.ask(ctx, "POST", "/run", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	var answer struct {
		Code int    `json:"code"`
		Out  string `json:"out"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", err
	}
	if answer.Code != 0 {
		return answer.Out, fmt.Errorf("%s: exit code %d\n%s", strings.Join(args, " "), answer.Code, answer.Out)
	}
	return answer.Out, nil
}

// Put writes a file in the guest, with the mode given as in chmod ("0640").
func (m *Machine) Put(ctx context.Context, path, mode string, content []byte) error {
	_, err := m.ask(ctx, "PUT", "/file?"+url.Values{"path": {path}, "mode": {mode}}.Encode(), bytes.NewReader(content))
	return err
}

func (m *Machine) ask(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+m.port.Address()+path, body)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, text)
	}
	return text, err
}
