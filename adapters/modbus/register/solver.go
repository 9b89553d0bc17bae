package register

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// Solvable reads an address that a number can have.
func Solvable(at string) (Span, error) {
	sp, start, bit, fault := ParseAt(at)
	if fault != nil {
		return Span{}, &field.TagError{Key: "at", Value: at, Problem: fault.Problem, Hint: fault.Hint}
	}
	if sp != Input && sp != Holding || bit >= 0 {
		return Span{}, &field.TagError{Key: "at", Value: at, Problem: "only whole registers can hold a number", Hint: `write "input 72" or "holding 200"`}
	}
	return Span{sp, start, 1}, nil
}

// solverScales are the usual ones.
var solverScales = [...]float64{1, 0.1, 0.01, 0.001, 10, 0.0001, 100, 1000}

// candidate is a guess with what speaks against it.
type candidate struct {
	field.Guess
	doubt float64
}

// Solve tries each type, order, scale, offset of address and space against all clues. What stands in the data sheet's
// place and in the usual order comes first among equals.
func Solve(at string, clues []field.Clue) ([]field.Guess, error) {
	where, err := Solvable(at)
	if err != nil {
		return nil, err
	}
	shown := make([]number, len(clues))
	for i, c := range clues {
		if shown[i], err = parseShown(c.Shown); err != nil {
			return nil, err
		}
	}
	var all []candidate
	for _, sp := range []Space{where.Space, Input + Holding - where.Space} {
		for _, offset := range []int{0, -1, 1} {
			for _, t := range WireTypes {
				if t.Form == formBool || t.Form == FormString {
					continue
				}
				for _, name := range Orders {
					if t.words == 1 && (name == "CDAB" || name == "DCBA") {
						continue // one register has no order of words
					}
					here := Span{sp, where.Start + offset, t.words}
					all = append(all, tryScales(here, t, name, clues, shown, doubts(sp != where.Space, offset, name, t))...)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.Exact != b.Exact {
			if a.Exact {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.doubt, b.doubt)
	})
	guesses := make([]field.Guess, len(all))
	for i, c := range all {
		guesses[i] = c.Guess
	}
	return guesses, nil
}

// Orders are the orders of bytes and words, the usual one first.
var Orders = [...]string{"ABCD", "CDAB", "BADC", "DCBA"}

// doubts weighs what is unusual: another space or address than the data sheet's, an odd order, a rare type. The weights
// only order what fits equally well.
func doubts(otherSpace bool, offset int, order string, t wireType) float64 {
	d := map[string]float64{"ABCD": 0, "CDAB": 1, "BADC": 2, "DCBA": 2}[order]
	d += map[string]float64{"float32": 0, "int16": 0.5, "uint16": 0.6, "uint32": 0.9, "int32": 1, "float64": 1.2,
		"uint64": 1.8, "int64": 1.9, "bcd16": 2.5, "bcd32": 2.5}[t.Name]
	if otherSpace {
		d += 3
	}
	if offset != 0 {
		d += 2
	}
	return d
}

// tryScales gives the scales at which one way to read a place fits every clue. Of several that fit, as for a float
// that happens to be 0, only the plainest is given.
func tryScales(here Span, t wireType, order string, clues []field.Clue, shown []number, doubt float64) []candidate {
	raws := make([]field.Value, len(clues))
	for i := range clues {
		raw, ok := rawOf(here, t, order, clues[i].Blocks)
		if !ok {
			return nil
		}
		raws[i] = raw
	}
	var near *candidate
	for i, scale := range solverScales {
		c := candidate{doubt: doubt + 0.1*float64(i), Guess: field.Guess{Exact: true,
			Tag: field.Tag{At: Span{here.Space, here.Start, 1}.String(), Type: t.Name}}}
		if order != "ABCD" {
			c.Tag.Order = order
		}
		if scale != 1 {
			c.Tag.Scale = scale
		}
		fits := true
		scaling := field.NewScaling(scale, 0)
		for j, raw := range raws {
			f, _ := raw.Float()
			f = scaling.Apply(f)
			c.Means = append(c.Means, f)
			fits = fits && shown[j].near(f)
			c.Exact = c.Exact && shown[j].shows(f)
		}
		switch {
		case fits && c.Exact:
			return []candidate{c}
		case fits && near == nil:
			near = &c
		}
	}
	if near != nil {
		return []candidate{*near}
	}
	return nil
}

// rawOf reads the number that a place holds, where all of it was read.
func rawOf(here Span, t wireType, order string, blocks map[string][]byte) (field.Value, bool) {
	for at, data := range blocks {
		sp, start, _, fault := ParseAt(at)
		from := 2 * (here.Start - start)
		if fault != nil || sp != here.Space || from < 0 || from+2*here.Count > len(data) {
			continue
		}
		o, _ := parseOrder(order)
		return t.number(o.Join(data[from : from+2*here.Count]))
	}
	return field.Value{}, false
}

// number is one that was shown: what it is, and half of what its last digit is worth.
type number struct{ value, half float64 }

func parseShown(s string) (number, error) {
	s = strings.ReplaceAll(strings.TrimSpace(s), ",", ".")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return number{}, fmt.Errorf("%q is no number as a display shows it: write it digit for digit, such as 229.0", s)
	}
	_, fraction, _ := strings.Cut(s, ".")
	return number{v, 0.5 * math.Pow10(-len(fraction))}, nil
}

// shows says that f would be shown as this number, by rounding or by cutting off.
func (n number) shows(f float64) bool {
	d := f - n.value
	if n.value < 0 {
		d = -d
	}
	return d > -n.half*1.000001 && d < 2*n.half*0.999999
}

// near says that f may have moved to, or from, this number meanwhile: by 2 %, or two of its last digits.
func (n number) near(f float64) bool {
	return n.shows(f) || math.Abs(f-n.value) <= max(0.02*math.Abs(n.value), 4*n.half)
}
