package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/gatewayd/collect"
	"edgegateway/gatewayd/command"
)

// selectionHolds is how long a selected tag may be written.
const selectionHolds = 30 * time.Second

// selection is a write that somebody has announced.
type selection struct {
	operator string
	value    field.Value
	until    time.Time
}

// selections are the tags that are selected, by device and tag. The zero value is ready for use.
type selections struct {
	mu  sync.Mutex
	all map[[2]string]selection
}

// add selects a tag; one that another operator has selected cannot be had until that ends.
func (s *selections) add(device, tag string, n selection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{device, tag}
	if old, ok := s.all[key]; ok && old.operator != n.operator && time.Now().Before(old.until) {
		return &command.Error{Code: command.Busy, Text: fmt.Sprintf("%s/%s is selected by %s for another %v", device, tag, old.operator,
			time.Until(old.until).Round(time.Second))}
	}
	if s.all == nil {
		s.all = map[[2]string]selection{}
	}
	s.all[key] = n
	return nil
}

// take ends a selection and says whether it allows the write. Another operator's stays.
func (s *selections) take(device, tag, operator string, v field.Value) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{device, tag}
	old, ok := s.all[key]
	fault := func(format string, args ...any) error {
		return &command.Error{Code: command.Refused, Text: fmt.Sprintf("%s/%s must be selected before it is written, %s", device, tag, fmt.Sprintf(format, args...))}
	}
	switch {
	case !ok || time.Now().After(old.until):
		return fault("and is not: select it with the same value, then write within %v", selectionHolds)
	case old.operator != operator:
		return fault("and is selected by %s", old.operator)
	case old.value != v:
		delete(s.all, key)
		return fault("and was selected for %s: select it anew", old.value)
	}
	delete(s.all, key)
	return nil
}

// selectTag is the first half of a write in two steps: it judges the write as the second half will, and sends nothing.
func (d *daemon) selectTag(ctx context.Context, raw json.RawMessage) (any, error) {
	l, dev, tag, value, err := d.target(raw)
	if err != nil {
		return nil, err
	}
	if !tag.Select {
		return nil, command.Invalidf("%s/%s needs no selection: write it", dev.Name, tag.Name)
	}
	if err := l.loop.Try(ctx, dev.Name, tag.Name, value); err != nil {
		return nil, fmt.Errorf("select %s/%s: %w", dev.Name, tag.Name, err)
	}
	until := time.Now().Add(selectionHolds)
	if err := d.selections.add(dev.Name, tag.Name, selection{command.CallerOf(ctx).Operator, value, until}); err != nil {
		return nil, err
	}
	return struct {
		Until int64 `json:"until"`
	}{until.UnixMilli()}, nil
}

// writeResult tells how a write ended that was sent.
type writeResult struct {
	Confirmed bool `json:"confirmed"`           // by the device; a broadcast nobody confirms
	ReadBack  bool `json:"read_back,omitempty"` // and it stands there
}

func resultOf(dev *collect.Device, tag *field.Tag) writeResult {
	m, ok := dev.Station.(field.Mute)
	return writeResult{Confirmed: !ok || !m.Mute(), ReadBack: tag.ReadBack}
}
