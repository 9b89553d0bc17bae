package field

import (
	"context"
	"time"
)

// Found is one device that a scan met.
type Found struct {
	Protocol string            // as the configuration writes it
	Address  string            // in the protocol's notation, ready for the device's address
	Mode     string            // the line mode at which it answered, such as "9600 8E1"; "" on a line without modes
	Identity string            // what it says of itself, in one line; "" when it says nothing
	Profile  string            // the profile that probably fits; "" when none is known to
	Detail   map[string]string // what else it told, by names of the protocol: "vendor", "product", "revision", "serial"
}

// ScanOptions say where to look. The zero value looks everywhere that the protocol allows, at the line's own mode.
type ScanOptions struct {
	From, To string        // first and last address, in the protocol's notation; "" for the protocol's own ends
	Modes    []string      // line modes to try one after the other, as "9600 8N1"; none for the line's own
	Timeout  time.Duration // for the answer of one address; 0 for what the protocol needs
}

// Scanner is a Driver that can look for devices on its line.
type Scanner interface {
	// Scan asks every address and calls found for each device as it is met, and progress after each step: done of
	// total requests, both of them estimates until done == total. Between two requests it calls Pause, so that a
	// line's loop goes on with its polls; the line is in its own mode then. Both functions are called from Scan's
	// goroutine. That nobody answers is no error. Errors are *DeviceError for options that cannot be meant, ErrLine,
	// or the context's own.
	Scan(ctx context.Context, o ScanOptions, found func(Found), progress func(done, total int)) error
}
