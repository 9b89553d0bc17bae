package strict

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// unit is one unit of a notation and what it is worth.
type unit struct {
	name  string
	worth float64
}

// Faults of a number with a unit.
var (
	errNoNumber = errors.New("it does not begin with a number")
	errNoUnit   = errors.New("it has no unit")
)

// ParseDuration reads "500ms", "10s", "1m", "12h", "30d", and sums such as "1h30m". A day is 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	units := [...]unit{
		{"ms", float64(time.Millisecond)}, {"s", float64(time.Second)}, {"m", float64(time.Minute)},
		{"h", float64(time.Hour)}, {"d", 24 * float64(time.Hour)},
	}
	var sum float64
	for rest := s; rest != "" || s == ""; {
		n, after, err := measure(rest, units[:])
		if err != nil {
			return 0, err
		}
		sum, rest = sum+n, after
	}
	if sum > math.MaxInt64/2 {
		return 0, errors.New("it is too long")
	}
	return time.Duration(math.Round(sum)), nil
}

// ParseSize reads "512MiB", "500MB", "64KiB", "100B".
func ParseSize(s string) (int64, error) {
	n, rest, err := measure(s, []unit{
		{"B", 1}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	})
	switch {
	case err != nil:
		return 0, err
	case rest != "":
		return 0, fmt.Errorf("%q follows the unit", rest)
	case n > math.MaxInt64/2:
		return 0, errors.New("it is too large")
	}
	return int64(n), nil
}

// measure reads one number with its unit from the beginning of s.
func measure(s string, units []unit) (n float64, rest string, err error) {
	end := len(s) - len(strings.TrimLeft(s, "0123456789."))
	n, err = strconv.ParseFloat(s[:end], 64)
	if err != nil || math.IsInf(n, 0) {
		return 0, "", errNoNumber
	}
	rest = strings.TrimLeft(s[end:], " ")
	word := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))]
	if word == "" {
		return 0, "", errNoUnit
	}
	names := make([]string, len(units))
	for i, u := range units {
		if u.name == word {
			return n * u.worth, rest[len(word):], nil
		}
		names[i] = u.name
	}
	return 0, "", fmt.Errorf("there is no unit %q, but %s", word, strings.Join(names, ", "))
}

// Duration writes a duration as ParseDuration reads it: "15m", "30d", "1h30m".
func Duration(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return strconv.Itoa(int(d/day)) + "d"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size writes a size as ParseSize reads it.
func Size(n int64) string {
	for _, u := range []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if w := int64(u.worth); n >= w && n%w == 0 {
			return strconv.FormatInt(n/w, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
