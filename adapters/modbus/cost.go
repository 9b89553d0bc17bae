package modbus

import (
	"maps"
	"slices"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// usualTurnaround is what a device is taken to need for an answer until it was met and nothing better is known: most
// meters and transmitters lie between 2 and 20 ms.
const usualTurnaround = 5 * time.Millisecond

// Cost implements field.Coster.
func (s *Station) Cost(name string) field.Cost {
	c := field.Cost{Timeout: s.timeout, Mode: s.mode}
	silence := s.driver.line.Timing().Silence
	turnaround := firstPositive(s.stats.turnaround(), s.quirks.turnaround, usualTurnaround)
	for _, g := range s.groups {
		if g.shape.Name != name {
			continue
		}
		if s.mute {
			return field.Cost{}
		}
		for i := range g.blocks {
			c.Exchanges++
			c.Sent += len(g.blocks[i].adu)
			c.Received += s.driver.answerSize(g.blocks[i].Span)
		}
		for _, length := range g.foretold() {
			c.Exchanges++
			c.Sent += s.driver.framing.size(5)
			c.Received += s.driver.answerSize(register.Span{Space: register.Holding, Start: 0, Count: length})
		}
		// Silence comes before each request; before the answer comes the device's turnaround, itself no shorter than
		// a silence. A device that wants its rest gets it from the second request on.
		c.Pause = time.Duration(c.Exchanges) * (max(silence, turnaround) + silence)
		if c.Exchanges > 1 {
			c.Pause += time.Duration(c.Exchanges-1) * max(0, s.quirks.pause-silence)
		}
	}
	return c
}

// answerSize is how many bytes the answer to the read of a span has on the wire.
func (d *Driver) answerSize(where register.Span) int {
	data := 2 * where.Count
	switch {
	case where.Space == register.Fifo:
		data = 3 + 2*register.MostQueued // as many as it can hold
	case where.Space.Bits():
		data = (where.Count + 7) / 8
	}
	return d.framing.size(2 + data)
}

// foretold are the lengths of the blocks that the points of a device which describes itself will probably be read with,
// as long as nobody has asked it.
func (g *group) foretold() []int {
	lengths := map[int]int{}
	for _, p := range g.points {
		if p.Described != nil && !p.Here && !p.Absent && !p.Refused {
			id, length := p.Ref.Length()
			family := id / 100 // inverters, meters, batteries: a device has one model of a family, as a rule
			lengths[family] = max(lengths[family], min(length, maxRegisters))
		}
	}
	return slices.Collect(maps.Values(lengths))
}
