package systemd

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Notifier tells the service manager how the daemon is, over the socket that $NOTIFY_SOCKET names (sd_notify(3)). Its
// zero value is ready for use, from any goroutine; without that variable its methods do nothing and return nil.
type Notifier struct{}

// Ready says that the start, or the reload that Reloading announced, is complete.
func (Notifier) Ready() error { return send(daemon.SdNotifyReady) }

// Status sets the line of `systemctl status`: one sentence for people.
func (Notifier) Status(text string) error { return send("STATUS=" + oneLine(text)) }

// Reloading says that the configuration is being read anew; Ready ends it. The moment goes with it on CLOCK_MONOTONIC,
// without which systemd 253 and later takes the reload for one that never began.
func (Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Stopping says that the daemon is on its way out.
func (Notifier) Stopping() error { return send(daemon.SdNotifyStopping) }

// Alive feeds the watchdog once. Watchdog does it by itself.
func (Notifier) Alive() error { return send(daemon.SdNotifyWatchdog) }

func send(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("tell systemd %q: %w", state, err)
	}
	return nil
}

// oneLine keeps a text from ending its own assignment and beginning another one.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}
