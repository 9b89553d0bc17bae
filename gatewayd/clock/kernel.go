package clock

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// marker is what systemd-timesyncd leaves when it has set the clock, and chrony's and ntpd's wait services with it.
const marker = "/run/systemd/timesync/synchronized"

// kernel asks the kernel's clock discipline, then looks for the marker: some daemons step the clock and leave the
// discipline alone.
func kernel() (source string, ok bool) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err == nil && t.Status&unix.STA_UNSYNC == 0 {
		return "kernel", true
	}
	if _, err := os.Stat(marker); err == nil {
		return "systemd-timesyncd", true
	}
	return "", false
}

// kernelRefuses says whether this process may not ask the kernel's clock discipline: a sandbox forbids it, since the same
// call sets the clock.
func kernelRefuses() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err != nil
}

func sinceUp() time.Duration {
	var ts unix.Timespec
	// New asked once and was answered; the call has no other way to fail.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// setWatch waits for somebody to set the wall clock: a timer that never goes off, and that the kernel cancels then
// (timerfd_settime(2), TFD_TIMER_CANCEL_ON_SET). A nil one only waits.
type setWatch struct {
	f    *os.File
	stop func() bool
}

func newSetWatch(ctx context.Context) (*setWatch, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	w := &setWatch{f: os.NewFile(uintptr(fd), "timerfd")}
	if err := w.arm(); err != nil {
		w.f.Close()
		return nil, err
	}
	// A deadline in the past ends a read in progress. wait looks at the context after it set its own deadline, so one
	// of the two always comes last.
	w.stop = context.AfterFunc(ctx, func() { w.f.SetReadDeadline(time.Unix(1, 0)) })
	return w, nil
}

func (w *setWatch) arm() error {
	const never = 1 << 31 // seconds: the year 2038 is far enough for a timer that is armed anew after each wait, and fits 32 bits
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec((never - 1) * int64(time.Second))}
	rc, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = rc.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &spec, nil)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("timerfd_settime", failed)
}

// wait returns when the clock was set, when d has passed, or when the context ends.
func (w *setWatch) wait(ctx context.Context, d time.Duration) {
	if w != nil && w.f.SetReadDeadline(time.Now().Add(d)) == nil {
		if ctx.Err() != nil {
			return
		}
		var buf [8]byte
		_, err := w.f.Read(buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if errors.Is(err, unix.ECANCELED) && w.arm() == nil {
			return
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (w *setWatch) close() {
	if w == nil {
		return
	}
	w.stop()
	w.f.Close()
}
