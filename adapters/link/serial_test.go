package link

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

var testMode = Mode{Baud: 9600, DataBits: 8, Parity: 'N', StopBits: 1}

// openPTY gives a terminal: what a device writes to, and the name of the port.
func openPTY(t *testing.T) (master *os.File, name string) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = master.Close()
		_ = tty.Close()
	})
	return master, tty.Name()
}

func newSerial(t *testing.T, name string, m Mode, o Options) *SerialLine {
	l := Serial(name, m, o)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// broadcast opens the line and sends one byte.
func broadcast(l *SerialLine) error {
	_, err := l.Exchange(context.Background(), []byte{0x55}, 0, nil)
	return err
}

// termios reads what a port is set to.
func termios(t *testing.T, name string) *unix.Termios {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("the port is exclusively ours, and only root may look at it: %v", err)
	}
	defer unix.Close(fd)
	s, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSerialSettings(t *testing.T) {
	for _, c := range []struct {
		mode         string
		iflag, cflag uint32
	}{
		{"9600 8N1", unix.IGNPAR | unix.IGNBRK, 0},
		{"14400 8N2", unix.IGNPAR | unix.IGNBRK, unix.CSTOPB},
		{"2400 8E1", unix.IGNPAR | unix.IGNBRK | unix.INPCK, unix.PARENB},
		{"300 7O1", unix.IGNPAR | unix.IGNBRK | unix.INPCK, unix.PARENB | unix.PARODD},
	} {
		t.Run(c.mode, func(t *testing.T) {
			mode, err := ParseMode(c.mode)
			if err != nil {
				t.Fatal(err)
			}
			_, name := openPTY(t)
			l := newSerial(t, name, mode, Options{})
			if err := broadcast(l); err != nil {
				t.Fatal(err)
			}
			s := termios(t, name)
			if int(s.Ospeed) != mode.Baud || int(s.Ispeed) != mode.Baud {
				t.Errorf("the port is at %d/%d baud", s.Ispeed, s.Ospeed)
			}
			if s.Iflag != c.iflag || s.Lflag != 0 || s.Oflag != 0 {
				t.Errorf("iflag %#x, want %#x; oflag %#x, lflag %#x, want raw", s.Iflag, c.iflag, s.Oflag, s.Lflag)
			}
			// A pseudo-terminal has no parity and always 8 bits; the rest it keeps.
			keeps := uint32(unix.CSTOPB | unix.PARODD | unix.CRTSCTS)
			if s.Cflag&keeps != c.cflag&keeps {
				t.Errorf("cflag %#x, want %#x", s.Cflag, c.cflag)
			}
			if s.Cc[unix.VMIN] != 1 || s.Cc[unix.VTIME] != 0 {
				t.Errorf("VMIN %d, VTIME %d", s.Cc[unix.VMIN], s.Cc[unix.VTIME])
			}
		})
	}
}

func TestSetMode(t *testing.T) {
	_, name := openPTY(t)
	l := newSerial(t, name, testMode, Options{})
	fast := Mode{Baud: 14400, DataBits: 7, Parity: 'E', StopBits: 1}
	slow := Mode{Baud: 300, DataBits: 7, Parity: 'E', StopBits: 1}
	if err := l.SetMode(slow); err != nil { // not open yet
		t.Fatal(err)
	}
	began := time.Now()
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < slow.Char() {
		t.Errorf("a byte at 300 baud was sent in %v", d)
	}
	if s := termios(t, name); s.Ospeed != 300 {
		t.Errorf("opened at %d baud", s.Ospeed)
	}
	if err := l.SetMode(fast); err != nil {
		t.Fatal(err)
	}
	if s := termios(t, name); s.Ospeed != 14400 {
		t.Errorf("changed to %d baud", s.Ospeed)
	}
	if want := (Timing{Char: fast.Char(), Silence: fast.Silence()}); l.Timing() != want || l.Mode() != fast {
		t.Errorf("timing %v, mode %v", l.Timing(), l.Mode())
	}
	if s := l.Stats(); s.Opens != 1 {
		t.Errorf("opened %d times", s.Opens)
	}
}

// TestModeThatThePortCannotDo: the one device that wants such a mode is told so, and the line goes on in the others, also
// when the port is opened for that device.
func TestModeThatThePortCannotDo(t *testing.T) {
	_, name := openPTY(t)
	l := newSerial(t, name, testMode, Options{})
	l.configure = func(fd int, m Mode) error {
		if m.Baud == 300 {
			m.Baud = 600 // as a driver does that has nothing slower
			return errors.Join(errBaud, configure(fd, m))
		}
		return configure(fd, m)
	}
	good := l.At(testMode)
	bad := l.At(Mode{Baud: 300, DataBits: 7, Parity: 'E', StopBits: 1})
	send := func(v *View) error {
		_, err := v.Exchange(t.Context(), []byte{0x55}, 0, nil)
		return err
	}
	for i := range 4 {
		var down *DownError
		if err := send(bad); !errors.Is(err, errBaud) || errors.As(err, &down) {
			t.Fatalf("round %d: the mode that cannot be gave %v", i, err)
		}
		if i%2 == 0 {
			continue // twice in a row
		}
		if err := send(good); err != nil {
			t.Fatalf("round %d: the other mode gave %v", i, err)
		}
		if s := termios(t, name); int(s.Ospeed) != testMode.Baud {
			t.Errorf("round %d: the port is at %d baud", i, s.Ospeed)
		}
	}
	if err := good.SetMode(bad.Mode()); !errors.Is(err, errBaud) {
		t.Errorf("SetMode gave %v", err)
	}
	if err := send(good); err != nil || good.Mode() != testMode {
		t.Errorf("after it: mode %v, %v", good.Mode(), err)
	}
	if s := l.Stats(); !s.Up || s.Opens != 1 {
		t.Errorf("up %v, opened %d times", s.Up, s.Opens)
	}
}

// downHint opens the line, which must fail, and gives the error.
func downHint(t *testing.T, l *SerialLine, says ...string) *DownError {
	t.Helper()
	var d *DownError
	if err := broadcast(l); !errors.As(err, &d) {
		t.Fatalf("%v, want a DownError", err)
	}
	for _, s := range says {
		if !strings.Contains(d.Error(), s) {
			t.Errorf("%q does not say %q", d, s)
		}
	}
	if s := l.Stats(); s.Up || s.LastError != d.Error() {
		t.Errorf("stats say up=%v, %q", s.Up, s.LastError)
	}
	return d
}

func TestSerialRefusals(t *testing.T) {
	t.Run("not there", func(t *testing.T) {
		d := downHint(t, newSerial(t, filepath.Join(t.TempDir(), "ttyS9"), testMode, Options{}), "plugged in")
		if !errors.Is(d, fs.ErrNotExist) {
			t.Errorf("%v is not ErrNotExist", d)
		}
	})
	t.Run("a file", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		downHint(t, newSerial(t, name, testMode, Options{}), "no serial port", "/dev/ttyS1")
	})
	t.Run("no tty", func(t *testing.T) {
		downHint(t, newSerial(t, "/dev/null", testMode, Options{}), "no serial port")
	})
	t.Run("in use", func(t *testing.T) {
		_, name := openPTY(t)
		first := newSerial(t, name, testMode, Options{})
		if err := broadcast(first); err != nil {
			t.Fatal(err)
		}
		// Not even the settings of the first one may change.
		second := newSerial(t, name, Mode{Baud: 300, DataBits: 8, Parity: 'N', StopBits: 1}, Options{})
		var d *DownError
		if err := broadcast(second); !errors.As(err, &d) || !strings.Contains(d.Error(), "fuser -v "+name) {
			t.Fatalf("a port in use gave %v", err)
		}
		if s := termios(t, name); s.Ospeed != 9600 {
			t.Errorf("the port in use was set to %d baud", s.Ospeed)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second.retry.reset()
		if err := broadcast(second); err != nil {
			t.Errorf("a port that was given back: %v", err)
		}
	})
	t.Run("no RS-485", func(t *testing.T) {
		_, name := openPTY(t)
		downHint(t, newSerial(t, name, testMode, Options{RS485: true}), "cannot switch an RS-485 transmitter", "remove rs485")
	})
}

func TestExclusive(t *testing.T) {
	_, name := openPTY(t)
	l := newSerial(t, name, testMode, Options{})
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	exclusive := func() int {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if errors.Is(err, unix.EBUSY) {
			return 1
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		n, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if exclusive() == 0 {
		t.Error("an open port may be opened by others")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if exclusive() != 0 {
		t.Error("a closed port is still kept from others")
	}
}

func TestPermissionHint(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ttyUSB0")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId("20") // dialout on Debian
	if err != nil {
		t.Skip(err)
	}
	if err := errors.Join(os.Chown(name, -1, 20), os.Chmod(name, 0o660)); err != nil {
		t.Skip(err)
	}
	err = &fs.PathError{Op: "open", Path: name, Err: unix.EACCES}
	if hint := serialHint(name, err); !strings.Contains(hint, "usermod -aG "+group.Name+" ") {
		t.Errorf("hint %q does not name group %s", hint, group.Name)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if hint := serialHint(name, err); !strings.Contains(hint, "udev rule") || strings.Contains(hint, "usermod") {
		t.Errorf("hint %q sends people to a group that may not read either", hint)
	}
}

func TestPortsHere(t *testing.T) {
	dev := t.TempDir()
	if got := portsHere(dev); got != "this box has no serial port now" {
		t.Errorf("with none: %q", got)
	}
	for _, name := range []string{"ttyUSB0", "ttyS0", "ttyS12", "null", "serial/by-id/usb-FTDI"} {
		name = filepath.Join(dev, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := "here are " + dev + "/serial/by-id/usb-FTDI, " + dev + "/ttyUSB0, " + dev + "/ttyS0"
	if got := portsHere(dev); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// kernel is a driver that can do what a pseudo-terminal cannot.
type kernel struct {
	flags   int32
	rs485   rs485
	counts  icount
	failing error
}

func (k *kernel) ioctl(_ int, request uint, arg unsafe.Pointer) error {
	if k.failing != nil {
		return k.failing
	}
	switch request {
	case unix.TIOCSRS485:
		k.rs485 = *(*rs485)(arg)
	case unix.TIOCGICOUNT:
		*(*icount)(arg) = k.counts
	case unix.TIOCGSERIAL:
		(*serialStruct)(arg).flags = k.flags
	case unix.TIOCSSERIAL:
		k.flags = (*serialStruct)(arg).flags
	}
	return nil
}

func TestDriverThatCan(t *testing.T) {
	_, name := openPTY(t)
	k := &kernel{flags: 1 << 6, counts: icount{frame: 100, parity: 200, overrun: -1}}
	l := newSerial(t, name, testMode, Options{RS485: true})
	l.ioctl = k.ioctl
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	if k.rs485.flags != 3 {
		t.Errorf("RS-485 flags %#x, want enabled and RTS on send", k.rs485.flags)
	}
	if k.flags != 1<<6|1<<13 {
		t.Errorf("serial flags %#x, want low latency beside what was", k.flags)
	}
	k.counts = icount{frame: 103, parity: 204, overrun: 4, bufOverrun: 2} // overrun went through 2^32
	s := l.Stats()
	if !s.HasWire || s.FrameErrors != 3 || s.ParityErrors != 4 || s.Overruns != 7 {
		t.Errorf("wire counters %+v", s)
	}
	// A replugged adapter begins at 0; what was counted stays.
	l.recycle("test")
	k.counts = icount{}
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	k.counts.frame = 1
	if s := l.Stats(); s.FrameErrors != 4 || s.Opens != 2 {
		t.Errorf("after opening again: %+v", s)
	}
}

func TestDriverThatFails(t *testing.T) {
	for err, says := range map[error]error{
		unix.ENOTTY: errNoRS485, unix.EINVAL: errNoRS485, unix.EOPNOTSUPP: errNoRS485, unix.EPERM: unix.EPERM,
	} {
		k := &kernel{failing: err}
		if got := enableRS485(0, k.ioctl); !errors.Is(got, says) {
			t.Errorf("%v gave %v, want %v", err, got, says)
		}
	}
	_, name := openPTY(t)
	l := newSerial(t, name, testMode, Options{})
	if err := broadcast(l); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.HasWire {
		t.Errorf("a pseudo-terminal counts nothing, but %+v", s)
	}
}

// TestStructSizes: the kernel reads and writes these structs whatever Go thinks of their layout.
func TestStructSizes(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"serial_rs485", unsafe.Sizeof(rs485{}), 32},
		{"serial_icounter_struct", unsafe.Sizeof(icount{}), 80},
		{"its frame", unsafe.Offsetof(icount{}.frame), 24},
		{"its parity", unsafe.Offsetof(icount{}.parity), 32},
		{"its buf_overrun", unsafe.Offsetof(icount{}.bufOverrun), 40},
		{"serial_struct", unsafe.Sizeof(serialStruct{}), 48 + 3*word},
		{"its flags", unsafe.Offsetof(serialStruct{}.flags), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.name, c.got, c.want)
		}
	}
}
