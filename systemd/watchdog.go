package systemd

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog feeds the service manager's watchdog for as long as the daemon does its work. A process that is alive and
// does nothing is left to starve: systemd then aborts it, with every goroutine's stack in the journal, and starts it
// again.
type Watchdog struct {
	interval time.Duration
	healthy  func() error
	feed     func() error
	log      *slog.Logger
}

// NewWatchdog makes the watchdog that $WATCHDOG_USEC asks for. healthy is called three times in each interval, from
// Run's goroutine; it must not block, and returns nil when every worker made progress since it was last asked (or had
// no reason to), else who did not. The error says that the variable makes no sense.
func NewWatchdog(healthy func() error, log *slog.Logger) (*Watchdog, error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, err
	}
	return &Watchdog{interval: interval, healthy: healthy, feed: Notifier{}.Alive, log: log}, nil
}

// Interval is how long systemd waits for a sign of life; 0 when nobody watches.
func (w *Watchdog) Interval() time.Duration { return w.interval }

// Run feeds until the context ends, and returns nil then. When nobody watches it only waits. What keeps the watchdog
// hungry, and what hinders a sign of life from being given, is logged once for each change.
func (w *Watchdog) Run(ctx context.Context) error {
	if w.interval == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(w.interval / 3)
	defer tick.Stop()
	said := ""
	for {
		fault := w.once()
		switch {
		case fault != "" && fault != said:
			w.log.Error("the watchdog is not fed: systemd will restart the daemon unless this passes",
				"fault", fault, "within", w.interval)
		case fault == "" && said != "":
			w.log.Info("the watchdog is fed again")
		}
		said = fault
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// once feeds the watchdog if the daemon is well, and tells why it could not.
func (w *Watchdog) once() string {
	if err := w.healthy(); err != nil {
		return err.Error()
	}
	if err := w.feed(); err != nil {
		return err.Error()
	}
	return ""
}
