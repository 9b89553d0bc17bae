package modbus

import (
	"context"

	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/goburrow/modbus"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// Station is one Modbus device. It implements field.Station, field.Prober and field.Writer.
type Station struct {
	driver   *Driver
	unit     byte
	packager modbus.Packager
	quirks   quirks
	timeout  time.Duration
	mode     string // of the device, where the line has another
	groups   []group
	shapes   []*field.Group
	byName   map[string]*register.Point
	ready    time.Time // before this the device wants its rest
	heard    time.Time // when it last answered
	reading  bool      // a Read is under way
	lessons
	stats stats

	mute      bool // it is the broadcast address
	describes bool // it has points that its device describes
	walked    bool // and where these lie is known

	limit       [5]int        // of what one read of a space may ask for: the quirks', or less where the device refused that
	plannedWith time.Duration // turnaround that the plan was made for
}

// accept reports what about a point contradicts the device's quirks.
func (s *Station) accept(p *register.Point) (faults []error) {
	fault := func(problem, hint string) {
		faults = append(faults, &field.TagError{Tag: p.Tag.Name, Key: "at", Value: p.Tag.At, Problem: problem, Hint: hint})
	}
	if limit := s.limit[p.Space]; p.Count > limit && p.Described == nil {
		fault(fmt.Sprintf("a value of %d registers cannot be read from a device that gives %d in one answer", p.Count, limit),
			"see the device's max_registers")
	}
	for _, h := range s.quirks.holes {
		if h.Overlaps(p.Span) {
			fault("it lies in "+h.String()+", which the device's holes forbid to read", "correct the address, or the holes")
		}
	}
	return faults
}

// Groups implements field.Station.
func (s *Station) Groups() []*field.Group { return s.shapes }

// Probe implements field.Prober: it reads the first point alone.
func (s *Station) Probe(ctx context.Context) error {
	if s.mute {
		return errMute
	}
	where := register.Span{Space: register.Holding, Start: 0, Count: 1}
	if len(s.groups) > 0 {
		where = s.groups[0].points[0].Span
	}
	_, err := s.fetch(ctx, s.request(where))
	var exception *field.ExceptionError
	if errors.As(err, &exception) && !errors.Is(err, field.ErrAbsent) {
		return nil
	}
	return err
}

// request packs the read of a span.
func (s *Station) request(where register.Span) []byte {
	data := binary.BigEndian.AppendUint16(nil, uint16(where.Start))
	if where.Space != register.Fifo { // the queue at an address is read with all that it holds
		data = binary.BigEndian.AppendUint16(data, uint16(where.Count))
	}
	return s.pack(where.Space.Function(), data...)
}

// pack makes the frame of a short request.
func (s *Station) pack(function byte, data ...byte) []byte {
	adu, err := s.packager.Encode(&modbus.ProtocolDataUnit{FunctionCode: function, Data: data})
	if err != nil {
		panic(err) // goburrow refuses only what is longer than a frame
	}
	return adu
}

// fetch asks for a span and gives its data: registers, or packed bits. Exceptions come as *field.ExceptionError.
func (s *Station) fetch(ctx context.Context, adu []byte) ([]byte, error) {
	answer, err := s.driver.exchange(ctx, s, adu)
	if err != nil {
		return nil, err
	}
	pdu := s.driver.framing.pdu(answer)
	if pdu[0]&exceptionBit != 0 {
		s.stats.exceptions.Add(1)
		return nil, refusal(pdu[1])
	}
	s.stats.answers.Add(1)
	return pdu[2:], nil
}

// rest waits until the device can be asked again.
func (s *Station) rest(ctx context.Context) error {
	if s.quirks.pause == 0 {
		return nil
	}
	return s.wait(ctx)
}

// wait waits for what rest does, whatever made it so.
func (s *Station) wait(ctx context.Context) error {
	wait := time.Until(s.ready)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answered notes how long the device took, beyond the wire time.
func (s *Station) answered(turnaround time.Duration) {
	s.heard = time.Now()
	if s.quirks.pause > 0 {
		s.ready = s.heard.Add(s.quirks.pause)
	}
	s.stats.turned(max(turnaround, 0))
}

// replan makes every group's blocks from what is known of the device by now. The groups' shapes stay as they are.
func (s *Station) replan() {
	s.plannedWith = s.stats.turnaround()
	c := newCost(s.driver.framing, s.driver.line.Timing(), s.plannedWith)
	holes := s.allHoles()
	for i := range s.groups {
		g := &s.groups[i]
		g.blocks = plan(g.points, c, s.limit, holes)
		for j := range g.blocks {
			g.blocks[j].adu = s.request(g.blocks[j].Span)
		}
	}
}
