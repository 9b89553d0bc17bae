package modbus

import (
	"context"

	"errors"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
	"edgegateway/adapters/modbus/sunspec"
)

// walk finds out where the points of a device that describes itself lie, unless that is known and the device never fell
// silent since. It needs as many requests as the device has models, as often as lessons are forgotten: at last once a
// day. The error says that the device, or its line, is silent.
func (s *Station) walk(ctx context.Context) error {
	if s.walked || !s.describes {
		return nil
	}
	first := true
	chain, err := sunspec.Walk(func(start, count int) ([]byte, error) {
		if !first {
			field.Pause(ctx)
		}
		first = false
		return s.fetch(ctx, s.request(register.Span{Space: register.Holding, Start: start, Count: count}))
	})
	none := errors.Is(err, sunspec.ErrNone)
	if err != nil && !none {
		return err
	}
	for i := range s.groups {
		for _, p := range s.groups[i].points {
			if p.Described == nil {
				continue
			}
			d := p.Described
			d.Place, d.Here = d.Ref.Locate(chain)
			d.Absent = !d.Here && !none // a device that describes itself says by that what it does not have
			if d.Here {
				p.Span = register.Span{Space: register.Holding, Start: d.Place.Start, Count: d.Place.Count}
			} else if none {
				s.refuse([]*register.Point{p})
			}
		}
		s.groups[i].sort()
	}
	s.walked = true
	s.learn() // the walk is good for as long as what refusals teach
	s.replan()
	s.changed = false
	return nil
}
