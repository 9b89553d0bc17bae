package collect

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

// instant is a station that answers at once, so that what is measured is the loop.
type instant struct{ group *field.Group }

func (s *instant) Groups() []*field.Group { return []*field.Group{s.group} }

func (s *instant) Read(context.Context, string) (field.Record, error) {
	return field.Record{Group: s.group, Values: make([]field.Value, len(s.group.Points))}, nil
}

func instants(n int, every time.Duration) []Device {
	devices := make([]Device, n)
	for i := range devices {
		name := fmt.Sprint("unit-", i)
		g := &field.Group{Device: name, Name: field.MainGroup, Points: make([]field.Point, 50)}
		devices[i] = Device{Device: field.Device{Name: name}, Every: every, Station: &instant{g}}
	}
	return devices
}

// BenchmarkTurn is one read, from the choice of the task to the sink: the one allocation is the record's values.
func BenchmarkTurn(b *testing.B) {
	for _, units := range []int{1, 10, 247} {
		b.Run(fmt.Sprint(units, " units"), func(b *testing.B) {
			l := New(Options{
				Line: "line", Devices: instants(units, time.Nanosecond),
				Sink:  func(context.Context, ...field.Record) error { return nil },
				Stamp: func() field.Stamp { return field.Stamp{} },
			})
			ctx := context.Background()
			l.ctx, l.polling, l.out = ctx, ctx, newOutbox()
			l.plan(l.now())
			timer := time.NewTimer(idle)
			defer timer.Stop()
			b.ReportAllocs()
			for b.Loop() {
				l.turn(ctx, timer)
			}
		})
	}
}

// BenchmarkHundredLines is a hundred loops with two reads a second each, for five seconds: cpu-% is of one core.
func BenchmarkHundredLines(b *testing.B) {
	if testing.Short() {
		b.Skip("takes five seconds")
	}
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		ended := make(chan error)
		before := cpu(b)
		for range 100 {
			l := New(Options{
				Line: "line", Devices: instants(2, time.Second),
				Sink:  func(context.Context, ...field.Record) error { return nil },
				Stamp: func() field.Stamp { return field.Stamp{} },
			})
			go func() { ended <- l.Run(ctx) }()
		}
		for range 100 {
			if err := <-ended; err != nil {
				b.Error(err)
			}
		}
		cancel()
		b.ReportMetric(float64(cpu(b)-before)/float64(5*time.Second)*100, "cpu-%")
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
