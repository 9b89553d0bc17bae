// Package collect owns the lines: it reads what is due, serves commands in between, and says of every tag how good it is.
//
//	           ┌────────────── Loop: one goroutine, one line ──────────────┐
//	Read/Write │ commands ─┐                                               │  readings ─► Sink, at once
//	 ──────────┼─►         ├─► earliest deadline first ─► Station ─► plan ─┼─►
//	           │ groups ───┘        (dead units: rarely)                   │  events ───► Sink, by a goroutine of its own
//	           └────────────────────────────────────────────────────────────┘
//
// It promises that a line's stations are called from one goroutine, never two at once; that a command waits for one
// request in progress and no more; that reads keep to a fixed grid of time that does not drift and does not follow the
// wall clock; that nothing starves; that silent devices leave the line to the others; and that a value never goes out
// again with a new time: what was not read has a quality that says so.
//
// A caller may not assume that every period yields a record: a line that is too slow skips periods (and counts them), an
// offline device repeats itself only with its heartbeat, and under only_changes a record with nothing to say is not sent.
package collect
