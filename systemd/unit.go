package systemd

import "time"

// What the unit file grants, for those who must stay within it.
const (
	// WatchdogInterval is WatchdogSec=: who makes no progress for so long, and was not idle, has the daemon restarted.
	WatchdogInterval = 20 * time.Second
	// StopTimeout is TimeoutStopSec=: a daemon that has not ended by then is aborted.
	StopTimeout = 15 * time.Second
)
