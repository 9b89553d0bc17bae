package modbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// windows are what is read around an address, widest first: {from, count} relative to it. A device that refuses the
// widest one gives a narrower one.
var windows = [...][2]int{{-1, 6}, {0, 5}, {-1, 5}, {0, 4}, {-1, 3}, {0, 2}, {-1, 2}, {0, 1}, {-1, 1}, {1, 1}}

// solvable reads an address that a number can have.
func solvable(at string) (span, error) {
	sp, start, bit, fault := parseAt(at)
	if fault != nil {
		return span{}, &field.TagError{Key: "at", Value: at, Problem: fault.problem, Hint: fault.hint}
	}
	if sp != input && sp != holding || bit >= 0 {
		return span{}, &field.TagError{Key: "at", Value: at, Problem: "only whole registers can hold a number", Hint: `write "input 72" or "holding 200"`}
	}
	return span{sp, start, 1}, nil
}

// Look implements field.Solver: it reads input and holding registers alike, since data sheets mix them up.
func (s *Station) Look(ctx context.Context, at string) (map[string][]byte, error) {
	where, err := solvable(at)
	if err != nil {
		return nil, err
	}
	blocks := map[string][]byte{}
	for _, sp := range []space{input, holding} {
		for _, w := range windows {
			from, end := max(0, where.start+w[0]), min(65536, where.start+w[0]+w[1])
			if end <= from || end-from > s.limit[sp] {
				continue
			}
			block := span{sp, from, end - from}
			data, err := s.fetch(ctx, s.request(block))
			var refused *field.ExceptionError
			if errors.As(err, &refused) && !errors.Is(err, field.ErrAbsent) {
				continue
			}
			if err != nil {
				return nil, err
			}
			blocks[span{sp, from, 1}.String()] = slices.Clone(data)
			break
		}
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("the device refuses every register around %s", where)
	}
	return blocks, nil
}

// solverScales are the usual ones.
var solverScales = [...]float64{1, 0.1, 0.01, 0.001, 10, 0.0001, 100, 1000}

// Solve implements field.Solver.
func (s *Station) Solve(at string, clues []field.Clue) ([]field.Guess, error) {
	return solve(at, clues)
}

// candidate is a guess with what speaks against it.
type candidate struct {
	field.Guess
	doubt float64
}

// solve tries each type, order, scale, offset of address and space against all clues. What stands in the data sheet's
// place and in the usual order comes first among equals.
func solve(at string, clues []field.Clue) ([]field.Guess, error) {
	where, err := solvable(at)
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
	for _, sp := range []space{where.space, input + holding - where.space} {
		for _, offset := range []int{0, -1, 1} {
			for _, t := range wireTypes {
				if t.form == formBool || t.form == formString {
					continue
				}
				for _, name := range orders {
					if t.words == 1 && (name == "CDAB" || name == "DCBA") {
						continue // one register has no order of words
					}
					here := span{sp, where.start + offset, t.words}
					all = append(all, tryScales(here, t, name, clues, shown, doubts(sp != where.space, offset, name, t))...)
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

var orders = [...]string{"ABCD", "CDAB", "BADC", "DCBA"}

// doubts weighs what is unusual: another space or address than the data sheet's, an odd order, a rare type. The weights
// only order what fits equally well.
func doubts(otherSpace bool, offset int, order string, t wireType) float64 {
	d := map[string]float64{"ABCD": 0, "CDAB": 1, "BADC": 2, "DCBA": 2}[order]
	d += map[string]float64{"float32": 0, "int16": 0.5, "uint16": 0.6, "uint32": 0.9, "int32": 1, "float64": 1.2,
		"uint64": 1.8, "int64": 1.9, "bcd16": 2.5, "bcd32": 2.5}[t.name]
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
func tryScales(here span, t wireType, order string, clues []field.Clue, shown []number, doubt float64) []candidate {
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
			Tag: field.Tag{At: span{here.space, here.start, 1}.String(), Type: t.name}}}
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
func rawOf(here span, t wireType, order string, blocks map[string][]byte) (field.Value, bool) {
	for at, data := range blocks {
		sp, start, _, fault := parseAt(at)
		from := 2 * (here.start - start)
		if fault != nil || sp != here.space || from < 0 || from+2*here.count > len(data) {
			continue
		}
		o, _ := parseOrder(order)
		return t.number(o.join(data[from : from+2*here.count]))
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
