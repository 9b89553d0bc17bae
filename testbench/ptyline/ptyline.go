// Package ptyline is a serial port for tests: a pty whose slave side has a stable name, as udev gives one by id, and
// which can be unplugged and plugged in again.
//
//	device under test ─ Name() → /dev/pts/N ─ kernel ─ Line: Read, Write ─ simulator
//
// It promises that the name is there exactly while the port is plugged in, that Unplug hangs up whoever has the port
// open (reads end with EOF or EIO), and that the Line itself lives through it: a Read waits for the next Replug. It
// writes as a wire does: bytes that nobody takes are lost, and hold up nobody. A caller may not assume parity or modem
// lines, nor that a baud rate takes time: a pty has none, though Rate tells what the port is set to; but with SetBaud, who
// speaks at another one is not understood.
package ptyline

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Line is one port, seen from the far end of its wire. Its methods may be called from any goroutine.
type Line struct {
	name string

	mu       sync.Mutex
	changed  *sync.Cond
	master   *os.File // nil while unplugged
	slave    int      // kept open, so that the port keeps its mode and the master never reads EIO
	deadline time.Time
	closed   bool
	speed    uint32 // baud; 0 for any
}

// New makes a port, plugged in, with the symbolic link dir/name for its name. The folder is made if missing.
func New(dir, name string) (*Line, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := &Line{name: filepath.Join(dir, name)}
	l.changed = sync.NewCond(&l.mu)
	if err := l.Replug(); err != nil {
		return nil, err
	}
	return l, nil
}

// Name is the path under which a program opens the port; the same after each Replug.
func (l *Line) Name() string { return l.name }

// SetBaud is the speed at which the far end speaks: while the port is set to another one, bytes arrive bent in both
// directions.
func (l *Line) SetBaud(baud int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.speed = uint32(baud)
}

// bend spoils bytes when the port is set to another speed than the far end.
func (l *Line) bend(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.speed == 0 || l.master == nil {
		return
	}
	t, err := unix.IoctlGetTermios(l.slave, unix.TCGETS2)
	if err != nil || t.Ospeed == l.speed {
		return
	}
	for i := range p {
		p[i] = p[i]<<1 | 1
	}
}

// Unplug takes the port away: its name goes, and whoever has it open is hung up. Unplugging twice is no error.
func (l *Line) Unplug() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unplug()
}

func (l *Line) unplug() error {
	if l.master == nil {
		return nil
	}
	err := errors.Join(os.Remove(l.name), unix.Close(l.slave), l.master.Close())
	l.master = nil
	l.changed.Broadcast()
	return err
}

// Replug puts a new port under the same name. Plugging in twice is no error.
func (l *Line) Replug() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fs.ErrClosed
	}
	if l.master != nil {
		return nil
	}
	master, slave, path, err := open()
	if err != nil {
		return fmt.Errorf("no pty: %w", err)
	}
	if err := os.Symlink(path, l.name); err != nil {
		return errors.Join(err, unix.Close(slave), master.Close())
	}
	l.master, l.slave = master, slave
	l.changed.Broadcast()
	return l.master.SetDeadline(l.deadline)
}

// Close unplugs the port for good and ends a Read.
func (l *Line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	err := l.unplug()
	l.changed.Broadcast()
	return err
}

// SetDeadline bounds Read, as that of net.Conn does. Write, which never waits long, fails with os.ErrDeadlineExceeded
// when it has passed.
func (l *Line) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	if wait := time.Until(t); wait > 0 {
		time.AfterFunc(wait, l.changed.Broadcast)
	}
	l.changed.Broadcast()
	if l.master == nil {
		return nil
	}
	return l.master.SetDeadline(t)
}

func (l *Line) expired() bool { return !l.deadline.IsZero() && !time.Now().Before(l.deadline) }

// plugged waits until the port is there, but not for the one that went away under a Read.
func (l *Line) plugged(gone *os.File) (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, fs.ErrClosed
		case l.expired():
			return nil, os.ErrDeadlineExceeded
		case l.master != nil && l.master != gone:
			return l.master, nil
		}
		l.changed.Wait()
	}
}

// plugs says whether that is the port which is plugged in.
func (l *Line) plugs(m *os.File) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.master == m
}

// Read gives what was written to the port. While the port is unplugged it waits.
func (l *Line) Read(p []byte) (int, error) {
	var gone *os.File
	for {
		m, err := l.plugged(gone)
		if err != nil {
			return 0, err
		}
		n, err := m.Read(p)
		l.bend(p[:n])
		if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if l.plugs(m) {
			return 0, err
		}
		gone = m // EIO or closed, as Unplug happened to fall
	}
}

// patience is how long a full port may hold a Write up before the bytes are lost.
const patience = 50 * time.Millisecond

// Write sends bytes to whoever reads the port. Those that nobody takes, and those sent while it is unplugged, are
// lost, as on a wire; that is no error.
func (l *Line) Write(p []byte) (int, error) {
	l.mu.Lock()
	m, expired, closed := l.master, l.expired(), l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return 0, fs.ErrClosed
	case expired:
		return 0, os.ErrDeadlineExceeded
	case m == nil:
		return len(p), nil
	}
	sent := bytes.Clone(p)
	l.bend(sent)
	_ = m.SetWriteDeadline(time.Now().Add(patience)) // fails only when unplugged just now, and then so does Write
	_, err := m.Write(sent)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, fs.ErrClosed) {
		return len(p), nil
	}
	return 0, err
}

// Rate tells which baud rate and parity whoever has the port open has set: "9600 N", "2400 E"; "" while it is unplugged.
// The kernel forgets a pty's other settings; that the parity is wanted shows in that it is looked at.
func (l *Line) Rate() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.master == nil {
		return ""
	}
	t, err := unix.IoctlGetTermios(l.slave, unix.TCGETS2)
	if err != nil {
		return ""
	}
	parity := 'N'
	switch {
	case t.Cflag&unix.PARODD != 0:
		parity = 'O'
	case t.Iflag&unix.INPCK != 0:
		parity = 'E'
	}
	return fmt.Sprintf("%d %c", t.Ospeed, parity)
}

// open makes a pty pair in raw mode. The master goes through Go's poller, so that deadlines work on it.
func open() (master *os.File, slave int, path string, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, "", &fs.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	defer func() {
		if err != nil {
			err = errors.Join(err, master.Close())
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, 0, "", fmt.Errorf("unlock: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, 0, "", fmt.Errorf("number: %w", err)
	}
	path = fmt.Sprintf("/dev/pts/%d", n)
	slave, err = unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err := raw(slave); err != nil {
		return nil, 0, "", errors.Join(fmt.Errorf("%s: raw mode: %w", path, err), unix.Close(slave))
	}
	return master, slave, path, nil
}

// raw switches off everything that a terminal does to bytes: without it the port would echo what the simulator sends.
func raw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B9600
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
