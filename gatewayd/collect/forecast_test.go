package collect

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
)

// wired is a station on a wire with characters of a millisecond: a read takes what its cost says, less the silence
// behind it.
type wired struct {
	group *field.Group
	cost  field.Cost
}

const wiredSilence = 4 * time.Millisecond

func (w wired) Groups() []*field.Group { return []*field.Group{w.group} }
func (w wired) Cost(string) field.Cost { return w.cost }
func (w wired) Read(context.Context, string) (field.Record, error) {
	time.Sleep(w.cost.Time(time.Millisecond) - wiredSilence)
	return field.Record{Group: w.group, Values: []field.Value{field.Int(1)}}, nil
}

// TestForecastIsWhatIsMeasured runs three devices for two minutes and holds the line's measured occupancy against the
// one that was foretold.
func TestForecastIsWhatIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var devices []Device
		for i, every := range []time.Duration{time.Second, 500 * time.Millisecond, 2 * time.Second} {
			name := string(rune('a' + i))
			group := &field.Group{Device: name, Name: field.MainGroup, Points: []field.Point{{Name: "x", Kind: field.KindInt}}}
			devices = append(devices, Device{Device: field.Device{Name: name}, Every: every,
				Station: wired{group, field.Cost{Exchanges: 1, Sent: 8, Received: 60 * (i + 1), Pause: 5*time.Millisecond + wiredSilence, Timeout: time.Second}}})
		}
		load := Forecast(devices, func(string) time.Duration { return time.Millisecond })
		l := New(Options{Line: "rs485-1", Devices: devices, Silence: wiredSilence,
			Sink: func(context.Context, ...field.Record) error { return nil }, Stamp: func() field.Stamp { return field.Stamp{} }})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		s := l.Stats()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if load.Share < 0.4 || load.Share > 0.5 || load.Silence != time.Second {
			t.Errorf("foretold %+v", load)
		}
		if off := s.Occupancy/load.Share - 1; off < -0.05 || off > 0.05 {
			t.Errorf("measured %.3f, foretold %.3f", s.Occupancy, load.Share)
		}
		if busiest := load.Busiest(); busiest.Name != "b" || busiest.Every != 500*time.Millisecond {
			t.Errorf("the busiest is %+v", busiest)
		}
		for i, d := range s.Devices {
			if off := d.Occupancy/load.Devices[i].Share - 1; off < -0.05 || off > 0.05 {
				t.Errorf("%s: measured %.3f, foretold %.3f", d.Name, d.Occupancy, load.Devices[i].Share)
			}
		}
	})
}

// TestForecastOfTwoModes: a device in a slow mode costs its own characters, and the fast ones the silence that it needs.
func TestForecastOfTwoModes(t *testing.T) {
	device := func(name, mode string) Device {
		group := &field.Group{Device: name, Name: field.MainGroup, Points: []field.Point{{Name: "x", Kind: field.KindInt}}}
		return Device{Device: field.Device{Name: name, Mode: mode}, Every: time.Second,
			Station: wired{group, field.Cost{Exchanges: 1, Sent: 10, Received: 10, Timeout: time.Second}}}
	}
	char := func(mode string) time.Duration {
		if mode == "slow" {
			return 10 * time.Millisecond
		}
		return time.Millisecond
	}
	alone := Forecast([]Device{device("fast", "")}, char).Share
	load := Forecast([]Device{device("fast", ""), device("meter", "slow")}, char)
	// Every other read before the fast one is of the slow mode: half of 3.5 characters' difference, 31.5 ms. But the line
	// is busy for 22 % of the time only.
	if fast, slow := load.Devices[0].Share, load.Devices[1].Share; alone != 0.020 || fast-alone < 0.00346 || fast-alone > 0.00347 || slow != 0.2 {
		t.Errorf("alone %v, with a slow one %v, the slow one %v", alone, fast, slow)
	}
}
