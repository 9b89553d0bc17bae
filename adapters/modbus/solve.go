package modbus

import (
	"context"

	"errors"
	"fmt"
	"slices"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// windows are what is read around an address, widest first: {from, count} relative to it. A device that refuses the
// widest one gives a narrower one.
var windows = [...][2]int{{-1, 6}, {0, 5}, {-1, 5}, {0, 4}, {-1, 3}, {0, 2}, {-1, 2}, {0, 1}, {-1, 1}, {1, 1}}

// Look implements field.Solver: it reads input and holding registers alike, since data sheets mix them up.
func (s *Station) Look(ctx context.Context, at string) (map[string][]byte, error) {
	where, err := register.Solvable(at)
	if err != nil {
		return nil, err
	}
	blocks := map[string][]byte{}
	for _, sp := range []register.Space{register.Input, register.Holding} {
		for _, w := range windows {
			from, end := max(0, where.Start+w[0]), min(65536, where.Start+w[0]+w[1])
			if end <= from || end-from > s.limit[sp] {
				continue
			}
			block := register.Span{Space: sp, Start: from, Count: end - from}
			data, err := s.fetch(ctx, s.request(block))
			var refused *field.ExceptionError
			if errors.As(err, &refused) && !errors.Is(err, field.ErrAbsent) {
				continue
			}
			if err != nil {
				return nil, err
			}
			blocks[register.Span{Space: sp, Start: from, Count: 1}.String()] = slices.Clone(data)
			break
		}
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("the device refuses every register around %s", where)
	}
	return blocks, nil
}

// Solve implements field.Solver.
func (s *Station) Solve(at string, clues []field.Clue) ([]field.Guess, error) {
	return register.Solve(at, clues)
}
