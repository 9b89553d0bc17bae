package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"
)

// SerialLine is a Line over a serial port. It opens the port at the first Exchange, for itself alone. A port that is
// unplugged is opened again, at most once a second, by the Exchanges that follow: name it by /dev/serial/by-id or
// by-path, and it is found again where it is plugged in.
//
// The tty is opened twice. tarm/serial opens, configures, writes and flushes. It cannot be left to read: its deadlines
// are tenths of a second, an unplugging looks like a timeout, and its Close waits for its Read. So everything is read
// through a second, non-blocking descriptor by way of Go's poller, and that one also carries what tarm/serial has no
// word for: locks, drain, odd baud rates, RS-485, error counters. The settings belong to the tty, not to a descriptor.
type SerialLine struct {
	line
	rs485     bool
	ioctl     ioctlFunc
	configure configureFunc

	modeMu sync.Mutex
	mode   Mode

	wire wireCounters
}

// Serial makes a line on a port such as "/dev/ttyS1" or "/dev/serial/by-id/…". It does no I/O.
func Serial(portName string, mode Mode, o Options) *SerialLine {
	l := &SerialLine{rs485: o.RS485, ioctl: sysIoctl, configure: configure}
	l.init(portName, o)
	l.setMode(mode)
	l.gone = "the port is gone"
	l.advice = "check the adapter's plug and cable; it is found again by itself where its name stays the same"
	l.retry.most = time.Second
	l.open = func(context.Context) (port, error) {
		p, err := l.openPort()
		if err != nil {
			return nil, &DownError{Line: portName, Err: err, Hint: serialHint(portName, err)}
		}
		l.wire.attach(p)
		return p, nil
	}
	return l
}

// Timing implements Line.
func (l *SerialLine) Timing() Timing {
	m := l.Mode()
	return Timing{Char: m.Char(), Silence: m.Silence()}
}

// Mode is what the line is set to.
func (l *SerialLine) Mode() Mode {
	l.modeMu.Lock()
	defer l.modeMu.Unlock()
	return l.mode
}

// SetMode changes the mode, when the last bit of what was sent has left: for protocols that begin slowly and agree on
// a faster rate. It belongs to the loop that calls Exchange. On a line that is not open it takes effect when it is
// opened. On one that is open an error leaves the mode as it was; it is a *DownError when the port is gone, else it says
// that the port's driver can't do the mode, and the line goes on.
func (l *SerialLine) SetMode(m Mode) error {
	_ = l.sleepUntil(context.Background(), l.quietAt.Add(-l.silence)) // ends early only when the line is closed
	before, silence := l.Mode(), l.silence
	p, ok := l.current().(*serialPort)
	if ok {
		p.drain()
		err := p.desc.control(func(fd int) error {
			err := l.configure(fd, m)
			if errors.Is(err, errBaud) {
				err = errors.Join(err, l.configure(fd, before))
			}
			return err
		})
		switch {
		case errors.Is(err, errBaud):
			return fmt.Errorf("%s: %w", l.addr, err)
		case err != nil:
			return l.lost(err)
		}
		l.trace.note("mode %v", m)
	}
	l.setMode(m)
	l.quietAt = l.quietAt.Add(max(0, l.silence-silence)) // who listens in the slower mode needs a silence of that mode
	return nil
}

func (l *SerialLine) setMode(m Mode) {
	l.modeMu.Lock()
	l.mode = m
	l.modeMu.Unlock()
	l.char, l.silence = m.Char(), m.Silence()
}

// Stats are the line's counters. It may be called from any goroutine.
func (l *SerialLine) Stats() Stats {
	s := l.counters.snapshot()
	l.wire.addTo(&s)
	return s
}

// openPort opens the tty twice, locked against others before any setting of it is touched.
func (l *SerialLine) openPort() (*serialPort, error) {
	// Both descriptors must be of one device, also when the link by which it is known changes between.
	device, err := filepath.EvalSymlinks(l.addr)
	if err != nil {
		return nil, err
	}
	ctl, err := os.OpenFile(device, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	p := &serialPort{ctl: ctl, ioctl: l.ioctl}
	if err := l.prepare(p, device); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

func (l *SerialLine) prepare(p *serialPort, device string) error {
	var err error
	if p.desc, err = newDescriptor(p.ctl); err != nil {
		return err
	}
	if err = p.desc.control(lock); err != nil {
		return err
	}
	mode := l.Mode()
	config := serial.Config{
		Name:     device,
		Baud:     mode.Baud,
		Size:     byte(mode.DataBits),
		Parity:   serial.Parity(mode.Parity),
		StopBits: serial.StopBits(mode.StopBits),
		// ReadTimeout 0 makes VMIN 1: with VMIN 0 a non-blocking read can't tell "nothing yet" from "hung up".
	}
	if !standardBaud(mode.Baud) {
		config.Baud = 9600 // tarm/serial refuses others; configure sets the real one
	}
	if p.tty, err = serial.OpenPort(&config); err != nil {
		return err
	}
	return p.desc.control(func(fd int) error {
		if err := l.configure(fd, mode); err != nil {
			return err
		}
		if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
			return fmt.Errorf("exclusive use: %w", err)
		}
		lowLatency(fd, l.ioctl)
		if l.rs485 {
			return enableRS485(fd, l.ioctl)
		}
		return nil
	})
}

// serialPort is an open tty.
type serialPort struct {
	tty   *serial.Port // configures, writes, flushes
	ctl   *os.File     // reads, and all else
	desc  *descriptor
	ioctl ioctlFunc
}

func (p *serialPort) Read(b []byte) (int, error)        { return p.ctl.Read(b) }
func (p *serialPort) SetReadDeadline(t time.Time) error { return p.ctl.SetReadDeadline(t) }
func (p *serialPort) Write(b []byte) (int, error)       { return p.tty.Write(b) }
func (p *serialPort) pending(b []byte) (int, error)     { return p.desc.pending(b) }

// flush and drain have no error that the next read or write would not show.
func (p *serialPort) flush() { _ = p.tty.Flush() }
func (p *serialPort) drain() {
	_ = p.desc.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 1) })
}

// Close drops what is not yet sent: else a device that takes nothing would hold up a blocked write, and the kernel the
// last close, for half a minute.
func (p *serialPort) Close() error {
	if p.desc != nil {
		_ = p.desc.control(func(fd int) error {
			_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH)
			return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
		})
	}
	err := p.ctl.Close()
	if p.tty != nil {
		err = errors.Join(err, p.tty.Close())
	}
	return err
}

// wireCounters adds up what the driver counts, over all openings.
type wireCounters struct {
	mu                      sync.Mutex
	port                    *serialPort
	known                   bool // the driver counts
	last                    icount
	frame, parity, overruns uint64
}

func (w *wireCounters) attach(p *serialPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.port = p
	c, err := p.icount()
	w.last, w.known = c, w.known || err == nil
}

func (w *wireCounters) addTo(s *Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.port != nil {
		if c, err := w.port.icount(); err == nil {
			w.frame += uint64(uint32(c.frame - w.last.frame))
			w.parity += uint64(uint32(c.parity - w.last.parity))
			w.overruns += uint64(uint32(c.overrun-w.last.overrun)) + uint64(uint32(c.bufOverrun-w.last.bufOverrun))
			w.last = c
		}
	}
	s.HasWire = w.known
	s.FrameErrors, s.ParityErrors, s.Overruns = w.frame, w.parity, w.overruns
}

func (p *serialPort) icount() (c icount, err error) {
	err = p.desc.control(func(fd int) error {
		c, err = readCounters(fd, p.ioctl)
		return err
	})
	return c, err
}
