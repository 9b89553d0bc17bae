// Package serial simulates devices with serial protocols of their own, written from their documents and with a codec
// of their own: a scale that is asked in METTLER TOLEDO SICS, and a receiver that speaks NMEA 0183 by itself.
//
// It promises that the receiver stops when its context ends. A user may not assume that what they say is paced.
package serial

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"edgegateway/testbench/sim/port"
)

// Scale is a scale. Its methods may be called from any goroutine.
type Scale struct {
	mu     sync.Mutex
	grams  float64
	moving bool
	asked  int
}

// Put puts a weight on it, in grams; while it is moving the scale says so.
func (s *Scale) Put(grams float64, moving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grams, s.moving = grams, moving
}

// Asked counts the requests that were understood.
func (s *Scale) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Char implements port.Machine: a scale is not paced.
func (s *Scale) Char() time.Duration { return 0 }

// Take implements port.Machine: it answers whole lines.
func (s *Scale) Take(got []byte, _ bool) (used int, out []port.Out) {
	end := bytes.IndexByte(got, '\n')
	if end < 0 {
		return 0, nil
	}
	return end + 1, []port.Out{{Bytes: []byte(s.answer(strings.TrimRight(string(got[:end]), "\r")))}}
}

// answer is what the scale says to one command (SICS level 0: S, SI, Z; level 1: SIR is not answered here).
func (s *Scale) answer(command string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch command {
	case "SI", "S":
		state := "S"
		if s.moving {
			state = "D"
		}
		if s.moving && command == "S" {
			return "S I\r\n"
		}
		return fmt.Sprintf("S %s %10.2f g\r\n", state, s.grams)
	case "Z":
		s.grams = 0
		return "Z A\r\n"
	}
	s.asked--
	return "ES\r\n"
}

// Receiver is a GNSS receiver that tells its position once a period.
type Receiver struct {
	Latitude, Longitude float64 // degrees, north and east positive
	Altitude            float64 // metres
	Satellites          int
	Speed               float64 // knots
	Every               time.Duration
}

// Serve speaks until the context ends.
func (r *Receiver) Serve(ctx context.Context, w io.Writer) error {
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		for _, s := range r.Sentences() {
			if _, err := io.WriteString(w, s); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sentences are GGA and RMC (NMEA 0183, 8.3), with their sums.
func (r *Receiver) Sentences() []string {
	lat, lon := angle(r.Latitude, 2, "N", "S"), angle(r.Longitude, 3, "E", "W")
	return []string{
		sentence(fmt.Sprintf("GPGGA,123519,%s,%s,1,%02d,0.9,%.1f,M,46.9,M,,", lat, lon, r.Satellites, r.Altitude)),
		sentence(fmt.Sprintf("GPRMC,123519,A,%s,%s,%05.1f,084.4,230394,003.1,W", lat, lon, r.Speed)),
	}
}

// angle is ddmm.mmmm and the hemisphere.
func angle(degrees float64, digits int, positive, negative string) string {
	hemisphere := positive
	if degrees < 0 {
		hemisphere, degrees = negative, -degrees
	}
	whole := math.Trunc(degrees)
	return fmt.Sprintf("%0*d%07.4f,%s", digits, int(whole), (degrees-whole)*60, hemisphere)
}

func sentence(body string) string {
	var sum byte
	for i := range len(body) {
		sum ^= body[i]
	}
	return fmt.Sprintf("$%s*%02X\r\n", body, sum)
}
