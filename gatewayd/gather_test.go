package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/gatewayd/collect"
)

// slowStation takes its time for a read, and moves a byte each second of it where its line says so.
type slowStation struct {
	group *field.Group
	takes time.Duration
	moves bool
	moved atomic.Uint64
}

func (s *slowStation) Groups() []*field.Group { return []*field.Group{s.group} }

func (s *slowStation) Read(ctx context.Context, _ string) (field.Record, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(s.takes); time.Now().Before(end); {
		select {
		case <-tick.C:
			if s.moves {
				s.moved.Add(1)
			}
		case <-ctx.Done():
			return field.Record{}, ctx.Err()
		}
	}
	return field.Record{Group: s.group, Values: []field.Value{field.Int(1)}}, nil
}

// slowWire counts what its station moves.
type slowWire struct {
	wire
	station *slowStation
}

func (w slowWire) Stats() link.Stats { return link.Stats{RxBytes: w.station.moved.Load()} }

// TestSlowReadIsNoHang: a device that takes long for one read, for the wait of a minute or because its line is slow,
// must not cost the daemon its life; one that never comes back must.
func TestSlowReadIsNoHang(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		moves bool
		hangs bool
	}{
		{"a timeout of a minute", time.Minute, false, false},
		{"a readout at 300 baud", 10 * time.Minute, true, false},
		{"a hang", time.Hour, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowStation{group: &field.Group{Device: "meter", Name: field.MainGroup, Points: []field.Point{{Name: "a"}}}, takes: c.takes, moves: c.moves}
				l := &line{wire: slowWire{station: s}, loop: collect.New(collect.Options{
					Line:    "meters",
					Devices: []collect.Device{{Device: field.Device{Name: "meter"}, Station: s, Every: time.Second}},
					Sink:    func(context.Context, ...field.Record) error { return nil },
					Stamp:   func() field.Stamp { return field.Stamp{} },
				})}
				l.Name = "meters"
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- l.loop.Run(ctx) }()
				hungry := time.Duration(0)
				lines := pulses{}
				for began := time.Now(); time.Since(began) < 30*time.Minute && hungry == 0; time.Sleep(20 * time.Second / 3) {
					if lines.feel([]*line{l}) != nil {
						hungry = time.Since(began)
					}
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				switch {
				case c.hangs && (hungry < standstill || hungry > standstill+20*time.Second):
					t.Errorf("seen after %v", hungry)
				case !c.hangs && hungry != 0:
					t.Errorf("taken for a hang after %v", hungry)
				}
			})
		})
	}
}
