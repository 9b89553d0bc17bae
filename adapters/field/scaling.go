package field

import (
	"math"
	"strconv"
	"strings"
)

// Scaling turns raw numbers into engineering units: value = raw × scale + offset. Where both are decimals it computes
// (raw × factor + shift) / divisor with whole numbers, so that 3 × 0.1 is 0.3 and not 0.30000000000000004.
type Scaling struct {
	on                     bool
	factor, shift, divisor float64 // divisor is 0 when the numbers are no short decimals
	scale, offset          float64
}

// exact is the largest factor, shift or divisor kept as a whole number: times a 32-bit raw value it stays near what a
// float64 holds exactly.
const exact = 1e9

// NewScaling makes the scaling of a tag; a scale of 0 means 1.
func NewScaling(scale, offset float64) Scaling {
	if scale == 0 {
		scale = 1
	}
	s := Scaling{on: scale != 1 || offset != 0, scale: scale, offset: offset}
	places := max(decimals(scale), decimals(offset))
	if places > 9 {
		return s
	}
	divisor := math.Pow10(places)
	factor, shift := math.Round(scale*divisor), math.Round(offset*divisor)
	if math.Abs(factor) <= exact && math.Abs(shift) <= exact {
		s.factor, s.shift, s.divisor = factor, shift, divisor
	}
	return s
}

// decimals counts the digits behind the point of the shortest text that is f.
func decimals(f float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(f, 'f', -1, 64), ".")
	return len(fraction)
}

// On says that the scaling changes numbers at all.
func (s Scaling) On() bool { return s.on }

// Apply gives the value of a raw number.
func (s Scaling) Apply(raw float64) float64 {
	if s.divisor != 0 {
		return (raw*s.factor + s.shift) / s.divisor
	}
	return raw*s.scale + s.offset
}

// Of gives a number in engineering units: a float32 stays one, for it holds no more than seven digits, and every other
// kind becomes a float64. Without a scaling the value stays what it is.
func (s Scaling) Of(v Value) Value {
	if !s.on {
		return v
	}
	f, _ := v.Float()
	if v.Kind() == KindFloat32 {
		return Float32(float32(s.Apply(f)))
	}
	return Float64(s.Apply(f))
}

// Invert gives the raw number, not yet rounded.
func (s Scaling) Invert(value float64) float64 {
	if s.divisor != 0 {
		return (value*s.divisor - s.shift) / s.factor
	}
	return (value - s.offset) / s.scale
}
