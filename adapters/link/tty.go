package link

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlFunc is ioctl(2) with a pointer. It is a seam: a pseudo-terminal has no RS-485 and no counters, and the tests
// have no other terminals.
type ioctlFunc func(fd int, request uint, arg unsafe.Pointer) error

// configureFunc is configure. It is a seam too: a pseudo-terminal does every rate.
type configureFunc func(fd int, m Mode) error

func sysIoctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// What opening a port may end with, besides the system's own errors; serialHint has advice for each.
var (
	errNotTTY  = errors.New("this is no serial port")
	errLocked  = errors.New("another program holds the port")
	errNoRS485 = errors.New("the port's driver cannot switch an RS-485 transmitter")
	errBaud    = errors.New("the port's driver cannot do this baud rate")
)

// lock takes the port for this process. The lock on the descriptor also holds against root, which the kernel's
// exclusive mode does not, but only against programs that ask for it.
func lock(fd int) error {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return errNotTTY
		}
		return err
	}
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

// configure sets a raw mode through termios2, which takes any baud rate, and says so when the driver made another one
// of it. Characters with a wrong parity or stop bit are dropped, not passed on as zeros: a frame that is too short is
// seen by every protocol, one wrong byte not by a weak checksum.
func configure(fd int, m Mode) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Cflag = unix.BOTHER | unix.CREAD | unix.CLOCAL
	if m.DataBits == 7 {
		t.Cflag |= unix.CS7
	} else {
		t.Cflag |= unix.CS8
	}
	if m.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
	t.Iflag = unix.IGNPAR | unix.IGNBRK
	switch m.Parity {
	case 'E':
		t.Cflag |= unix.PARENB
		t.Iflag |= unix.INPCK
	case 'O':
		t.Cflag |= unix.PARENB | unix.PARODD
		t.Iflag |= unix.INPCK
	}
	t.Oflag, t.Lflag = 0, 0
	t.Ispeed, t.Ospeed = uint32(m.Baud), uint32(m.Baud)
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return err
	}
	if t, err = unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil {
		return err
	}
	if got := int(t.Ospeed); 100*max(got-m.Baud, m.Baud-got) > 3*m.Baud {
		return fmt.Errorf("%w: asked for %d, it set %d", errBaud, m.Baud, got)
	}
	return nil
}

// standardBaud says whether tarm/serial knows the rate.
func standardBaud(baud int) bool {
	switch baud {
	case 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400,
		460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000:
		return true
	}
	return false
}

// rs485 is struct serial_rs485 of linux/serial.h.
type rs485 struct {
	flags uint32
	_     [7]uint32 // delays of RTS, which stay 0, and padding
}

const (
	rs485Enabled   = 1 << 0
	rs485RTSOnSend = 1 << 1
)

func enableRS485(fd int, ioctl ioctlFunc) error {
	s := rs485{flags: rs485Enabled | rs485RTSOnSend}
	err := ioctl(fd, unix.TIOCSRS485, unsafe.Pointer(&s))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return errNoRS485
	}
	return err
}

// icount is struct serial_icounter_struct of linux/serial.h.
type icount struct {
	_                                     [6]int32 // modem lines, received, sent
	frame, overrun, parity, _, bufOverrun int32
	_                                     [9]int32
}

func readCounters(fd int, ioctl ioctlFunc) (icount, error) {
	var c icount
	err := ioctl(fd, unix.TIOCGICOUNT, unsafe.Pointer(&c))
	return c, err
}

// serialStruct is struct serial_struct of linux/serial.h.
type serialStruct struct {
	_     [4]int32
	flags int32
	_     [3]int32
	_     [4]byte
	_     int32
	_     [2]uint16
	_     uintptr
	_     uint16
	_     uint32
	_     uintptr
}

const asyncLowLatency = 1 << 13

// lowLatency asks the driver to pass on bytes as they come: some USB adapters keep them for 16 ms else. Drivers that
// cannot are as quick as they are.
func lowLatency(fd int, ioctl ioctlFunc) {
	var s serialStruct
	if ioctl(fd, unix.TIOCGSERIAL, unsafe.Pointer(&s)) != nil || s.flags&asyncLowLatency != 0 {
		return
	}
	s.flags |= asyncLowLatency
	_ = ioctl(fd, unix.TIOCSSERIAL, unsafe.Pointer(&s))
}
