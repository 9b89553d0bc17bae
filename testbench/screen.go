package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/consumer"
)

// screen shows the demo: one screen that is drawn over on a terminal, plain lines elsewhere.
type screen struct {
	out   io.Writer
	live  bool
	every time.Duration // between two drawings
	said  []string      // what was announced, newest last
	start time.Time

	lastAt    time.Time
	lastTaken uint64
	lastCame  int
}

func newScreen(out *os.File) *screen {
	s := &screen{out: out, live: term.IsTerminal(int(out.Fd())), every: 3 * time.Second, start: time.Now()}
	if s.live {
		s.every = 250 * time.Millisecond
		fmt.Fprint(out, "\x1b[?1049h\x1b[?25l") // the other screen, without a cursor
	}
	return s
}

// close gives the terminal back, with what was said on it.
func (s *screen) close() {
	if s.live {
		fmt.Fprint(s.out, "\x1b[?25h\x1b[?1049l")
		for _, line := range s.said {
			fmt.Fprintln(s.out, line)
		}
	}
}

func (s *screen) say(format string, args ...any) {
	line := fmt.Sprintf("%5.1f s  %s", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
	s.said = append(s.said, line)
	if !s.live {
		fmt.Fprintln(s.out, line)
	}
}

// status shows where things stand on both sides of the wide-area link.
func (s *screen) status(phase string, st *health.Status, b consumer.Books) {
	now := time.Now()
	var taken uint64
	for _, c := range st.Platforms[0].Books {
		taken += c.Taken
	}
	rateIn, rateOut := 0.0, 0.0
	if dt := now.Sub(s.lastAt).Seconds(); !s.lastAt.IsZero() && dt > 0 {
		rateIn, rateOut = float64(taken-s.lastTaken)/dt, float64(b.Unique-s.lastCame)/dt
	}
	s.lastAt, s.lastTaken, s.lastCame = now, taken, b.Unique
	p := &st.Platforms[0]
	if !s.live {
		link := "connected"
		if !p.Connected {
			link = "NOT CONNECTED"
		}
		s.say("%-12s %-13s taken %5d (%3.0f/s), arrived %5d (%3.0f/s), backlog %4d, on flash %4d, lost %d, repeats %d",
			phase, link, taken, rateIn, b.Unique, rateOut, p.Backlog, st.Buffer.BlockRecords, lostOf(p), b.Repeats)
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "gatewayd demo   %s   %.0f s\n\n", strings.ToUpper(phase), time.Since(s.start).Seconds())
	fmt.Fprintf(&text, "taken from the field   %6d records  %5.0f/s\n", taken, rateIn)
	fmt.Fprintf(&text, "arrived at the platform%6d records  %5.0f/s   %d readings, %d of the records late, %d repeats dropped\n",
		b.Unique, rateOut, b.Readings, b.Backfilled, b.Repeats)
	fmt.Fprintf(&text, "waiting                %6d records  %s\n\n", p.Backlog, bar(p.Backlog, 500))
	st.Print(&text)
	text.WriteString("\n" + strings.Join(s.said[max(0, len(s.said)-6):], "\n") + "\n")
	fmt.Fprint(s.out, "\x1b[H"+strings.ReplaceAll(text.String(), "\n", "\x1b[K\r\n")+"\x1b[J")
}

func lostOf(p *health.Platform) uint64 {
	var n uint64
	for _, b := range p.Books {
		n += b.Lost
	}
	return n
}

func bar(n uint64, full uint64) string {
	return strings.Repeat("█", int(min(40, 40*n/full)))
}

// books shows the account at the end.
func (s *screen) books(sum health.Books, b consumer.Books) {
	s.say("the books: taken %d = delivered %d + buffered %d + declared lost %d", sum.Taken, sum.Delivered, sum.Buffered, sum.Lost)
	s.say("the platform: %d records of its own count (%d of them late), %d readings, %d repeats dropped, %d numbers missing without a word",
		b.Unique, b.Backfilled, b.Readings, b.Repeats, b.Unexplained)
}
