package dlt645

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
)

// form is how the bytes of a data item are read.
type form uint8

const (
	formNumber form = iota // BCD digits, low byte first
	formDigits             // the same, as a text: numbers of meters
	formDate               // YYMMDDWW
	formTime               // hhmmss
	formMinute             // YYMMDDhhmm
	formHex                // bytes as they come
)

// format is how one data item lies in an answer.
type format struct {
	form   form
	size   int // bytes of the value
	places int // digits behind the point
	signed bool
	rest   int    // bytes that follow the value and belong to the item: when a maximum was
	list   bool   // others may follow it: tariffs behind a total
	unit   string // when the tag names none
}

// text says that the values are texts.
func (f format) text() bool { return f.form != formNumber }

// decode reads a value, of f.size bytes: of a number its digits, f.places of which stand behind the point. ok is false
// for what is none: all FF where a meter has nothing, a digit above 9.
func (f format) decode(b []byte) (number float64, text string, ok bool) {
	high := slices.Clone(b)
	slices.Reverse(high) // high byte first
	if !slices.ContainsFunc(high, func(c byte) bool { return c != 0xFF }) {
		return 0, "", false
	}
	switch f.form {
	case formHex:
		return 0, strings.ToUpper(hex.EncodeToString(high)), true
	case formNumber:
		negative := f.signed && high[0]&0x80 != 0
		if f.signed {
			high[0] &= 0x7F
		}
		n, ok := digits(high)
		number = float64(n)
		if negative && n != 0 {
			number = -number
		}
		return number, "", ok
	}
	if _, ok = digits(high); !ok {
		return 0, "", false
	}
	s := hex.EncodeToString(high)
	switch f.form {
	case formDate:
		s = "20" + s[0:2] + "-" + s[2:4] + "-" + s[4:6]
	case formTime:
		s = s[0:2] + ":" + s[2:4] + ":" + s[4:6]
	case formMinute:
		s = "20" + s[0:2] + "-" + s[2:4] + "-" + s[4:6] + " " + s[6:8] + ":" + s[8:10]
	}
	return 0, s, true
}

// digits reads BCD, high byte first.
func digits(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c>>4 > 9 || c&15 > 9 {
			return 0, false
		}
		n = n*100 + uint64(c>>4)*10 + uint64(c&15)
	}
	return n, true
}

// encode makes the bytes of a value, in the meter's own unit. Its error wraps field.ErrRange and says what is allowed.
func (f format) encode(number float64, text string) ([]byte, error) {
	misfit := func(allowed string) ([]byte, error) {
		return nil, fmt.Errorf("%w: allowed is %s", field.ErrRange, allowed)
	}
	s, high := "", byte(0)
	switch f.form {
	case formNumber:
		most := math.Pow10(2*f.size) - 1
		if f.signed {
			most = 8*math.Pow10(2*f.size-1) - 1
		}
		least := 0.0
		if f.signed {
			least = -most
		}
		n := math.RoundToEven(number * math.Pow10(f.places))
		if !(n >= least && n <= most) {
			unit := math.Pow10(f.places)
			return misfit(fmt.Sprintf("%v to %v", field.Float64(least/unit), field.Float64(most/unit)))
		}
		if n < 0 {
			n, high = -n, 0x80
		}
		s = fmt.Sprintf("%0*d", 2*f.size, uint64(n))
	case formDigits:
		if len(text) > 2*f.size {
			return misfit(fmt.Sprintf("%d digits", 2*f.size))
		}
		s = fmt.Sprintf("%0*s", 2*f.size, text)
	case formDate:
		t, err := time.Parse("2006-01-02", text)
		if err != nil {
			return misfit(`a date such as "2026-11-30"`)
		}
		s = t.Format("060102") + fmt.Sprintf("%02d", t.Weekday())
	case formTime:
		t, err := time.Parse("15:04:05", text)
		if err != nil {
			return misfit(`a time such as "14:05:00"`)
		}
		s = t.Format("150405")
	case formMinute:
		t, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			return misfit(`a time such as "2026-11-30 14:05"`)
		}
		s = t.Format("0601021504")
	case formHex:
		s = text
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != f.size {
		return misfit(fmt.Sprintf("%d hexadecimal digits", 2*f.size))
	}
	if _, ok := digits(b); !ok && f.form != formHex {
		return misfit("decimal digits")
	}
	b[0] |= high
	slices.Reverse(b)
	return b, nil
}

const formatHint = `write it as the standard does: "XXXXXX.XX", with the sign bit "±XX.XXXX", "NNNNNNNNNNNN" for digits as text, "YYMMDDWW", "hhmmss", "YYMMDDhhmm", or "hex 4" for four bytes`

// parseFormat reads the standard's notation of a format.
func parseFormat(s string) (f format, ok bool) {
	switch s {
	case "YYMMDDWW":
		return format{form: formDate, size: 4}, true
	case "hhmmss":
		return format{form: formTime, size: 3}, true
	case "YYMMDDhhmm":
		return format{form: formMinute, size: 5}, true
	}
	var n int
	if _, err := fmt.Sscanf(s, "hex %d", &n); err == nil && n >= 1 && n <= 64 && s == fmt.Sprintf("hex %d", n) {
		return format{form: formHex, size: n}, true
	}
	body, signed := strings.CutPrefix(s, "±")
	if !signed {
		body, signed = strings.CutPrefix(s, "+-")
	}
	f.signed = signed
	whole, fraction, point := strings.Cut(body, ".")
	all := whole + fraction
	letter := "X"
	if strings.HasPrefix(all, "N") {
		letter = "N"
		f.form = formDigits
	}
	if all == "" || strings.Trim(all, letter) != "" || len(all)%2 != 0 || len(all) > 16 && letter == "X" || len(all) > 64 || point && fraction == "" {
		return f, false
	}
	if letter == "N" && (point || signed) {
		return f, false
	}
	f.size, f.places = len(all)/2, len(fraction)
	return f, true
}
