package link

import (
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptor reads what a non-blocking descriptor holds already, past Go's poller and without allocating.
type descriptor struct {
	raw  syscall.RawConn
	read func(fd uintptr)
	buf  []byte
	n    int
	err  error
}

func newDescriptor(c syscall.Conn) (*descriptor, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	d := &descriptor{raw: raw}
	d.read = func(fd uintptr) {
		for {
			d.n, d.err = unix.Read(int(fd), d.buf)
			if d.err != unix.EINTR {
				return
			}
		}
	}
	return d, nil
}

// pending gives 0, nil when nothing has come, and io.EOF when the other end is gone.
func (d *descriptor) pending(b []byte) (int, error) {
	d.buf = b
	err := d.raw.Control(d.read)
	d.buf = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(d.err, unix.EAGAIN):
		return 0, nil
	case d.err != nil:
		return 0, d.err
	case d.n == 0:
		return 0, io.EOF
	}
	return d.n, nil
}

// control runs f on the descriptor, which stays open meanwhile.
func (d *descriptor) control(f func(fd int) error) error {
	var result error
	if err := d.raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}
