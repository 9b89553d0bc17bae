package uplink

import (
	"math/rand/v2"
	"time"
)

// Backoff is the policy of reconnecting. Every delay is drawn with full jitter: evenly between nothing and a limit.
//
// Two wishes pull apart. A box whose link is back should have its backlog flowing within 15 seconds, so no sleep may be
// long. And ten thousand boxes should not fall on one broker in the same second, nor a refused one knock for ever at
// a metered price. What tells the cases apart is who failed:
//
//   - The link, or a broker that is not there (dial refused or timed out, no DNS, silence after CONNECT): the limit
//     doubles from Base to LinkCap and stays there. Nobody at the other end is burdened by such an attempt, and the
//     longest wait after the link is back is one attempt that was under way (8 s; or a session that has yet to notice,
//     10 s) and one LinkCap.
//   - A broker that says no (CONNACK with a refusal, or closes soon after CONNACK before it acknowledged one record):
//     the limit may go on doubling up to RefusedCap, but never beyond half the time that this has lasted, or LinkCap if
//     that is more: a broker that refuses for half a minute while it starts costs seconds, one that refuses for an
//     hour is asked every minute or so.
//   - The broker's end of a session that was stable: the first delay is drawn up to Spread, because it is then that all
//     boxes have lost their broker in the same moment.
//
// The doubling starts anew only after a session that lasted Stable: a CONNACK proves nothing.
type Backoff struct {
	Base       time.Duration // limit of the first delay; default 1 s
	LinkCap    time.Duration // default 4 s
	RefusedCap time.Duration // default 120 s
	Spread     time.Duration // limit of the first delay after the broker ended a stable session; default 8 s
	Stable     time.Duration // default 60 s
}

func (b Backoff) withDefaults() Backoff {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&b.Base, time.Second)
	def(&b.LinkCap, 4*time.Second)
	def(&b.RefusedCap, 120*time.Second)
	def(&b.Spread, 8*time.Second)
	def(&b.Stable, time.Minute)
	return b
}

// ladder is where a run of failures stands on the policy.
type ladder struct {
	policy Backoff
	rung   int
	since  time.Time // since when the broker says no, and nothing else went wrong; zero when it does not
}

// limit gives the longest delay before the next attempt, and goes one rung up.
func (l *ladder) limit(refused bool, now time.Time) time.Duration {
	top := l.policy.LinkCap
	switch {
	case !refused:
		l.since = time.Time{}
	case l.since.IsZero():
		l.since = now
	default:
		top = min(max(top, now.Sub(l.since)/2), max(top, l.policy.RefusedCap))
	}
	d := min(l.policy.Base<<min(l.rung, 20), top)
	l.rung++
	return d
}

// reset begins a new run: a session proved that the broker serves us.
func (l *ladder) reset() {
	l.rung = 0
	l.since = time.Time{}
}

// jitter draws a delay evenly from [0, limit).
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}
