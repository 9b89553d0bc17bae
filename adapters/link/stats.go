package link

import (
	"sync/atomic"
	"time"
)

// Stats are a line's counters since it was made. They only grow, but for Up and LastError.
type Stats struct {
	Up        bool          // the line is open, or was when it was last tried
	LastError string        // why it was last down or gave no answer; "" when that never was
	Exchanges uint64        // requests sent and listenings begun
	Timeouts  uint64        // exchanges that ended with ErrTimeout
	Garbage   uint64        // exchanges that ended with a GarbageError
	Opens     uint64        // times that the line was opened
	TxBytes   uint64        // bytes sent
	RxBytes   uint64        // bytes that came, late ones too
	LateBytes uint64        // bytes discarded because they came before a request was sent
	Busy      time.Duration // time spent in Exchange, silences and waits included: two readings give the occupancy

	// Of a serial line whose driver counts them (HasWire), since the line was first opened. Many frame errors tell of a
	// wrong baud rate, parity errors of a wrong parity, both of bad wiring; overruns of a box that is too busy.
	HasWire      bool
	FrameErrors  uint64
	ParityErrors uint64
	Overruns     uint64
}

// counters is what Stats is made from; the line's loop writes, anyone reads.
type counters struct {
	up                                     atomic.Bool
	lastError                              atomic.Pointer[string]
	exchanges, timeouts, garbage, opens    atomic.Uint64
	txBytes, rxBytes, lateBytes, busyNanos atomic.Uint64
}

func (c *counters) setError(err error) {
	s := err.Error()
	c.lastError.Store(&s)
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Up:        c.up.Load(),
		Exchanges: c.exchanges.Load(),
		Timeouts:  c.timeouts.Load(),
		Garbage:   c.garbage.Load(),
		Opens:     c.opens.Load(),
		TxBytes:   c.txBytes.Load(),
		RxBytes:   c.rxBytes.Load(),
		LateBytes: c.lateBytes.Load(),
		Busy:      time.Duration(c.busyNanos.Load()),
	}
	if e := c.lastError.Load(); e != nil {
		s.LastError = *e
	}
	return s
}
