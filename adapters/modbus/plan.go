package modbus

import (
	"cmp"

	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus/register"
)

// group is one of a station's groups: its shape, its points by address, and the requests that read them.
type group struct {
	shape  *field.Group
	points []*register.Point
	blocks []block
}

func (g *group) add(p *register.Point) {
	p.Slot = len(g.points)
	g.points = append(g.points, p)
	g.shape.Points = append(g.shape.Points, p.Shape())
}

// sort brings the points into the order in which blocks take them.
func (g *group) sort() {
	slices.SortStableFunc(g.points, func(a, b *register.Point) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Count, b.Count))
	})
}

// block is one request and what it reads.
type block struct {
	register.Span
	points []*register.Point
	adu    []byte // the request, packed; on TCP its transaction id is put in when it is sent
}

// cost is what a request and a byte cost on a line.
type cost struct {
	char    time.Duration // of one byte; 0 on TCP, where only limits bound a block
	request time.Duration // of one more request: its frame, the empty answer's, both silences or the device's turnaround
}

func newCost(f Framing, t link.Timing, turnaround time.Duration) cost {
	bare := time.Duration(f.size(5)+f.size(2)) * t.Char
	c := cost{char: t.Char, request: bare + max(t.Silence, turnaround) + t.Silence}
	if f == ASCII {
		c.char *= 2 // two characters a byte
	}
	return c
}

// through says that reading n addresses which nobody asked for is cheaper than one more request.
func (c cost) through(sp register.Space, n int) bool {
	bytes := 2 * n
	if sp.Bits() {
		bytes = n / 8
	}
	return n <= 0 || c.char == 0 || time.Duration(bytes)*c.char < c.request
}

// plan covers the points, which are sorted, with the fewest blocks that the line's cost, the limits of each space and
// the holes allow. No point is split, and none is left out but those that the device refused.
func plan(points []*register.Point, c cost, limit [5]int, holes []register.Span) []block {
	var blocks []block
	var b *block
	for _, p := range points {
		if p.Hidden() {
			continue
		}
		if b != nil && b.takes(p, c, limit[p.Space], holes) {
			b.Count = max(b.End(), p.End()) - b.Start
			b.points = append(b.points, p)
			continue
		}
		blocks = append(blocks, block{Span: p.Span, points: []*register.Point{p}})
		b = &blocks[len(blocks)-1]
	}
	return blocks
}

// takes says that the block can grow up to p.
func (b *block) takes(p *register.Point, c cost, limit int, holes []register.Span) bool {
	if p.Space == register.Fifo && p.Start != b.Start { // each queue is read by itself
		return false
	}
	if p.Space != b.Space || max(b.End(), p.End())-b.Start > limit {
		return false
	}
	gap := register.Span{Space: b.Space, Start: b.End(), Count: p.Start - b.End()}
	if gap.Count <= 0 {
		return true
	}
	for _, h := range holes {
		if h.Overlaps(gap) {
			return false
		}
	}
	return c.through(gap.Space, gap.Count)
}
