package modbus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
)

// timing is that of an 8N1 line.
func timing(baud int) link.Timing {
	char := 10 * time.Second / time.Duration(baud)
	silence := 7 * char / 2
	if baud > 19200 {
		silence = 1750 * time.Microsecond
	}
	return link.Timing{Char: char, Silence: silence}
}

func points(t testing.TB, tags ...string) []*register.Point {
	g := group{shape: &field.Group{}}
	for _, tag := range tags {
		at, typ, _ := strings.Cut(tag, ":")
		g.add(bind(t, field.Tag{At: at, Type: typ}))
	}
	g.sort()
	return g.points
}

func spans(blocks []block) string {
	var out []string
	for _, b := range blocks {
		out = append(out, b.Span.String())
	}
	return strings.Join(out, ", ")
}

func TestPlan(t *testing.T) {
	hundredFloats := make([]string, 100)
	for i := range hundredFloats {
		hundredFloats[i] = fmt.Sprintf("input %d:float32", 2*i)
	}
	all := quirks{maxRegisters: maxRegisters, maxCoils: maxCoils}.limits()
	for _, c := range []struct {
		name       string
		tags       []string
		timing     link.Timing
		turnaround time.Duration
		limit      [5]int
		holes      string
		want       string
	}{
		{"neighbours", []string{"input 1:uint16", "input 0:uint16"}, timing(9600), 0, all, "", "input 0-1"},
		{"spaces apart", []string{"input 0:uint16", "holding 1:uint16", "coil 2", "discrete 3"}, link.Timing{}, 0, all, "",
			"coil 2, discrete 3, input 0, holding 1"},
		{"a hundred floats on TCP", hundredFloats, link.Timing{}, 0, all, "", "input 0-123, input 124-199"},
		{"any gap on TCP", []string{"input 0:uint16", "input 124:uint16"}, link.Timing{}, 0, all, "", "input 0-124"},
		{"beyond the limit", []string{"input 0:uint16", "input 125:uint16"}, link.Timing{}, 0, all, "", "input 0, input 125"},
		{"a value is not split", []string{"input 0:uint16", "input 124:uint32"}, link.Timing{}, 0, all, "", "input 0, input 124-125"},
		// 9600 baud, no turnaround: one request more costs 20 characters, and 10 registers cost as many.
		{"a gap that pays", []string{"input 0:uint16", "input 10:uint16"}, timing(9600), 0, all, "", "input 0-10"},
		{"a gap that does not", []string{"input 0:uint16", "input 11:uint16"}, timing(9600), 0, all, "", "input 0, input 11"},
		{"a slow device", []string{"input 0:uint16", "input 18:uint16"}, timing(9600), 20 * time.Millisecond, all, "", "input 0-18"},
		{"a slower gap", []string{"input 0:uint16", "input 20:uint16"}, timing(9600), 20 * time.Millisecond, all, "", "input 0, input 20"},
		{"a fast line", []string{"input 0:uint16", "input 27:uint16"}, timing(115200), 0, all, "", "input 0-27"},
		{"a fast line, too far", []string{"input 0:uint16", "input 28:uint16"}, timing(115200), 0, all, "", "input 0, input 28"},
		{"bits are cheap", []string{"coil 0", "coil 150"}, timing(9600), 0, all, "", "coil 0-150"},
		{"a hole", []string{"input 0:uint16", "input 2:uint16", "input 4:uint16"}, link.Timing{}, 0, all, "input 3", "input 0-2, input 4"},
		{"a hole of another space", []string{"input 0:uint16", "input 2:uint16"}, link.Timing{}, 0, all, "holding 1", "input 0-2"},
		{"a small device", []string{"input 0:float32", "input 2:float32", "input 4:float32"}, link.Timing{}, 0, quirks{maxRegisters: 5, maxCoils: 1}.limits(), "",
			"input 0-3, input 4-5"},
		{"the same register twice", []string{"holding 5 bit 3", "holding 5 bit 4", "holding 5:uint16", "holding 5:uint32"}, timing(9600), 0, all, "", "holding 5-6"},
	} {
		var holes []register.Span
		if c.holes != "" {
			if problem, _ := parseHoles(c.holes, &holes); problem != "" {
				t.Fatal(problem)
			}
		}
		if got := spans(plan(points(t, c.tags...), newCost(RTU, c.timing, c.turnaround), c.limit, holes)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestPlanHolds: whatever the tags, every one is covered once and in whole, and no block breaks a rule.
func TestPlanHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 2000 {
		q := quirks{maxRegisters: 4 + rng.IntN(122), maxCoils: 1 + rng.IntN(2000)}
		for range rng.IntN(5) {
			q.holes = append(q.holes, register.Span{Space: register.Space(rng.IntN(4)), Start: rng.IntN(400), Count: 1 + rng.IntN(20)})
		}
		s := &Station{quirks: q, limit: q.limits()}
		g := group{shape: &field.Group{}}
		for range 1 + rng.IntN(80) {
			sp, typ := register.Space(rng.IntN(4)), register.WireTypes[rng.IntN(len(register.WireTypes)-1)].Name
			if sp.Bits() {
				typ = "bool"
			}
			p := bind(t, field.Tag{At: fmt.Sprintf("%v %d", sp, rng.IntN(400)), Type: typ})
			if len(s.accept(p)) == 0 {
				g.add(p)
			}
		}
		g.sort()
		c := newCost(RTU, []link.Timing{{}, timing(9600), timing(115200)}[rng.IntN(3)], time.Duration(rng.IntN(20))*time.Millisecond)
		blocks := plan(g.points, c, s.limit, q.holes)
		covered := map[*register.Point]int{}
		for _, b := range blocks {
			if b.Count < 1 || b.Count > s.limit[b.Space] {
				t.Fatalf("round %d: %v, over the limit of %d", round, b.Span, s.limit[b.Space])
			}
			for _, h := range q.holes {
				if h.Overlaps(b.Span) {
					t.Fatalf("round %d: %v reads through the hole %v", round, b.Span, h)
				}
			}
			for _, p := range b.points {
				covered[p]++
				if p.Space != b.Space || p.Start < b.Start || p.End() > b.End() {
					t.Fatalf("round %d: %v is not within %v", round, p.Span, b.Span)
				}
			}
		}
		for _, p := range g.points {
			if covered[p] != 1 {
				t.Fatalf("round %d: %v is read %d times", round, p.Span, covered[p])
			}
		}
		if len(covered) != len(g.points) || !slices.IsSortedFunc(blocks, func(a, b block) int { return int(a.Space) - int(b.Space) }) {
			t.Fatalf("round %d: %d points of %d", round, len(covered), len(g.points))
		}
	}
}

func bind(t testing.TB, tag field.Tag) *register.Point {
	t.Helper()
	tag.Name = "x"
	if tag.At == "" {
		tag.At = "holding 0"
	}
	p, faults := register.NewPoint(tag)
	if len(faults) > 0 {
		t.Fatalf("%+v: %v", tag, errors.Join(faults...))
	}
	return p
}
