package main

import (
	"edgegateway/buffer"
)

// backlogOffline does what `gatewayd backlog` does without a running daemon. It says false when that was not asked for.
func (c *cli) backlogOffline() (bool, error) {
	switch first(c.args) {
	case "try": // what the daemon asks of another process, see probeStore
		if err := c.takes(2, 2, "backlog try FOLDER"); err != nil {
			return true, err
		}
		return true, buffer.Try(c.args[1])
	}
	return false, nil
}
