package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
	sim "edgegateway/testbench/sim/modbus"
)

// secret is how the simulated device hides a number: the test's own encoder, which shares nothing with the solver.
type secret struct {
	space  string
	offset int
	typ    string
	order  string
	scale  float64
	shown  [2]string // at two moments
}

// words are the registers that a raw value has, high word first, then put into the order.
func (s secret) words(shown string) []uint16 {
	f, err := strconv.ParseFloat(shown, 64)
	if err != nil {
		panic(err)
	}
	whole := func() int64 { return int64(math.Round(f / s.scale)) }
	var b []byte
	switch s.typ {
	case "int16", "uint16":
		b = binary.BigEndian.AppendUint16(nil, uint16(whole()))
	case "int32", "uint32":
		b = binary.BigEndian.AppendUint32(nil, uint32(whole()))
	case "int64":
		b = binary.BigEndian.AppendUint64(nil, uint64(whole()))
	case "uint64":
		u, err := strconv.ParseUint(shown, 10, 64)
		if err != nil {
			panic(err)
		}
		b = binary.BigEndian.AppendUint64(nil, u)
	case "float32":
		b = binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(f/s.scale)))
	case "float64":
		b = binary.BigEndian.AppendUint64(nil, math.Float64bits(f/s.scale))
	case "bcd16", "bcd32":
		n := map[string]int{"bcd16": 4, "bcd32": 8}[s.typ]
		digits := fmt.Sprintf("%0*d", n, whole())
		for i := 0; i < n; i += 2 {
			b = append(b, (digits[i]-'0')<<4|(digits[i+1]-'0'))
		}
	default:
		panic(s.typ)
	}
	words := make([]uint16, len(b)/2)
	for i := range words {
		from := i
		if s.order == "CDAB" || s.order == "DCBA" {
			from = len(words) - 1 - i
		}
		words[i] = binary.BigEndian.Uint16(b[2*from:])
		if s.order == "BADC" || s.order == "DCBA" {
			words[i] = words[i]>>8 | words[i]<<8
		}
	}
	return words
}

func secrets() []secret {
	shown := map[string]struct {
		scale float64
		shown [2]string
	}{
		"int16": {0.1, [2]string{"-1234.5", "-1190.2"}}, "uint16": {1, [2]string{"54321", "60111"}},
		"int32": {0.1, [2]string{"-1234567.8", "-1234571.3"}}, "uint32": {0.001, [2]string{"3123456.789", "3123999.017"}},
		"int64": {1, [2]string{"-1234567890123", "-1234567890777"}}, "uint64": {1, [2]string{"12345678901234567890", "12345678901234999890"}},
		"float32": {1, [2]string{"229.03", "231.47"}}, "float64": {0.001, [2]string{"49.98765", "50.01234"}},
		"bcd16": {0.1, [2]string{"471.1", "482.9"}}, "bcd32": {1, [2]string{"47110815", "47110899"}},
	}
	var all []secret
	for typ, v := range shown {
		for _, order := range register.Orders {
			for _, sp := range []string{"input", "holding"} {
				for _, offset := range []int{-1, 0, 1} {
					all = append(all, secret{sp, offset, typ, order, v.scale, v.shown})
				}
			}
		}
	}
	return all
}

// TestSolverFindsEverySecret: with two readings the right one is first, for each order, type, offset of address and
// space; with one it is first wherever nothing else fits as well, and always among those that fit.
func TestSolverFindsEverySecret(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const at = 300
	alone, first := 0, 0
	all := secrets()
	for _, s := range all {
		var clues []field.Clue
		for _, shown := range s.shown {
			blocks := map[string][]byte{}
			for _, sp := range []string{"input", "holding"} {
				window := make([]uint16, 6)
				for i := range window {
					window[i] = uint16(rng.Uint32())
				}
				if sp == s.space {
					copy(window[1+s.offset:], s.words(shown))
				}
				var data []byte
				for _, w := range window {
					data = binary.BigEndian.AppendUint16(data, w)
				}
				blocks[fmt.Sprintf("%s %d", sp, at-1)] = data
			}
			clues = append(clues, field.Clue{Shown: shown, Blocks: blocks})
		}
		right := func(g field.Guess) bool {
			order := s.order
			if len(s.words(s.shown[0])) == 1 {
				order = strings.NewReplacer("CDAB", "ABCD", "DCBA", "BADC").Replace(order)
			}
			scale := g.Tag.Scale
			if scale == 0 {
				scale = 1
			}
			got := g.Tag.Order
			if got == "" {
				got = "ABCD"
			}
			return g.Exact && g.Tag.At == fmt.Sprintf("%s %d", s.space, at+s.offset) && g.Tag.Type == s.typ && got == order && scale == s.scale
		}
		const asked = "holding 300"
		one, err := register.Solve(asked, clues[:1])
		if err != nil {
			t.Fatal(err)
		}
		exact, there := 0, false
		for _, g := range one {
			if g.Exact {
				exact++
			}
			there = there || right(g)
		}
		if !there {
			t.Errorf("%+v: not among the %d that fit one reading: %+v", s, len(one), one)
			continue
		}
		if right(one[0]) {
			first++
		}
		if exact == 1 {
			alone++
			if !right(one[0]) {
				t.Errorf("%+v: alone, and yet %+v is first", s, one[0])
			}
		}
		two, err := register.Solve(asked, clues)
		if err != nil || len(two) == 0 || !right(two[0]) {
			t.Errorf("%+v: with two readings the first is %+v, %v", s, two[:min(len(two), 2)], err)
		}
	}
	t.Logf("%d secrets: with one reading %d are alone, %d first", len(all), alone, first)
	if alone < len(all)*8/10 || first < len(all)*9/10 {
		t.Errorf("of %d only %d are alone with one reading, and %d first", len(all), alone, first)
	}
}

// TestSolverPrefersThePlain: where several ways give the same number, the one that data sheets mean is first.
func TestSolverPrefersThePlain(t *testing.T) {
	for _, c := range []struct {
		shown string
		data  []byte
		want  field.Tag
	}{
		{"230.2", unhex("43 66 33 33 00 00 00 00 00 00"), field.Tag{At: "input 0", Type: "float32"}},
		{"229", unhex("00 E5 00 00 00 00 00 00 00 00"), field.Tag{At: "input 0", Type: "int16"}},
		{"49.98", unhex("13 86 00 00 00 00 00 00 00 00"), field.Tag{At: "input 0", Type: "int16", Scale: 0.01}},
		{"65536", unhex("00 01 00 00 12 34 00 00 00 00"), field.Tag{At: "input 0", Type: "uint32"}},
		{"1,5", unhex("00 00 3F C0 FF FF FF FF FF FF"), field.Tag{At: "input 0", Type: "float32", Order: "CDAB"}},
	} {
		guesses, err := register.Solve("input 0", []field.Clue{{Shown: c.shown, Blocks: map[string][]byte{"input 0": c.data}}})
		if err != nil || len(guesses) == 0 {
			t.Errorf("%s: %v, %v", c.shown, guesses, err)
			continue
		}
		if g := guesses[0].Tag; g.At != c.want.At || g.Type != c.want.Type || g.Scale != c.want.Scale || g.Order != c.want.Order {
			t.Errorf("%s: %+v, want %+v", c.shown, g, c.want)
		}
	}
}

// TestSolverLooksAtADevice that gives little: blocks shrink until it gives them, and the tag that is found reads right.
func TestSolverLooksAtADevice(t *testing.T) {
	s := sim.New(1)
	u := s.Unit(1)
	u.Limit(sim.Inputs, 2) // two registers, and none behind
	u.Hole(sim.Holdings, 0, 0xFFFF)
	u.Set(sim.Inputs, 0, 0x3333, 0x4366)
	station, err := New(overTCP(t, s, TCP), TCP, Options{}).Bind(field.Device{Name: "d", Address: "1", Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	d := station.(*Station)
	blocks, err := d.Look(t.Context(), "holding 0")
	if err != nil {
		t.Fatal(err)
	}
	guesses, err := d.Solve("holding 0", []field.Clue{{Shown: "230.2", Blocks: blocks}})
	if err != nil || len(guesses) == 0 {
		t.Fatalf("%v, %v", guesses, err)
	}
	g := guesses[0].Tag
	if g.At != "input 0" || g.Type != "float32" || g.Order != "CDAB" {
		t.Errorf("%+v", g)
	}
	for at, problem := range map[string]string{"coil 3": "whole registers", "holding 3 bit 2": "whole registers", "volt": "no address"} {
		if _, err := d.Look(t.Context(), at); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := d.Solve("input 0", []field.Clue{{Shown: "high"}}); err == nil {
		t.Error("a word is taken for a number")
	}
}
