package field

import "time"

// Counts is what a station has been through on its line since it was bound.
type Counts struct {
	Requests   uint64        // sent, probes and writes included
	Answers    uint64        // that gave data or confirmed a write
	Exceptions uint64        // that refused
	Timeouts   uint64        // requests to which nothing came
	Garbage    uint64        // requests to which only something came that was no answer: a wrong checksum, torn frames
	Late       uint64        // answers that came after their request was given up
	Turnaround time.Duration // moving average of the time to an answer, its wire time apart; 0 before the first
}

// Counter is a Station that tells what it has been through. Counts may be called from any goroutine.
type Counter interface{ Counts() Counts }
