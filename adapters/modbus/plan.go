package modbus

import (
	"cmp"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
)

// group is one of a station's groups: its shape, its points by address, and the requests that read them.
type group struct {
	shape  *field.Group
	points []*point
	blocks []block
}

func (g *group) add(p *point) {
	p.slot = len(g.points)
	g.points = append(g.points, p)
	g.shape.Points = append(g.shape.Points, p.shape())
}

// sort brings the points into the order in which blocks take them.
func (g *group) sort() {
	slices.SortStableFunc(g.points, func(a, b *point) int {
		return cmp.Or(cmp.Compare(a.space, b.space), cmp.Compare(a.start, b.start), cmp.Compare(a.count, b.count))
	})
}

// block is one request and what it reads.
type block struct {
	span
	points []*point
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
func (c cost) through(sp space, n int) bool {
	bytes := 2 * n
	if sp.bits() {
		bytes = n / 8
	}
	return n <= 0 || c.char == 0 || time.Duration(bytes)*c.char < c.request
}

// plan covers the points, which are sorted, with the fewest blocks that the line's cost, the limits of each space and
// the holes allow. No point is split, and none is left out but those that the device refused.
func plan(points []*point, c cost, limit [5]int, holes []span) []block {
	var blocks []block
	var b *block
	for _, p := range points {
		if p.hidden() {
			continue
		}
		if b != nil && b.takes(p, c, limit[p.space], holes) {
			b.count = max(b.end(), p.end()) - b.start
			b.points = append(b.points, p)
			continue
		}
		blocks = append(blocks, block{span: p.span, points: []*point{p}})
		b = &blocks[len(blocks)-1]
	}
	return blocks
}

// takes says that the block can grow up to p.
func (b *block) takes(p *point, c cost, limit int, holes []span) bool {
	if p.space == fifo && p.start != b.start { // each queue is read by itself
		return false
	}
	if p.space != b.space || max(b.end(), p.end())-b.start > limit {
		return false
	}
	gap := span{b.space, b.end(), p.start - b.end()}
	if gap.count <= 0 {
		return true
	}
	for _, h := range holes {
		if h.overlaps(gap) {
			return false
		}
	}
	return c.through(gap.space, gap.count)
}
