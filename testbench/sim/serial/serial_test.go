package serial_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
	"edgegateway/adapters/serial"
	"edgegateway/testbench/ptyline"
	"edgegateway/testbench/sim/port"
	sim "edgegateway/testbench/sim/serial"
)

// bind binds a device of a built-in profile on a pty whose far end is served.
func bind(t *testing.T, name string, serve func(context.Context, port.Port) error) (*serial.Driver, field.Station) {
	t.Helper()
	far, err := ptyline.New(t.TempDir(), "port")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := serve(ctx, far); err != nil {
			t.Error(err)
		}
	})
	mode, err := link.ParseMode("9600 8N1")
	if err != nil {
		t.Fatal(err)
	}
	near := link.Serial(far.Name(), mode, link.Options{})
	t.Cleanup(func() {
		cancel()
		wait.Wait()
		near.Close()
		far.Close()
	})
	var report strict.Report
	for _, p := range profile.Library(profile.Keys{"serial": serial.TagKeys()}, &report) {
		if p.Name != name {
			continue
		}
		d := serial.New(near, serial.Options{})
		s, err := d.Bind(field.Device{Name: "d", Protocol: "serial", Address: "1", Quirks: p.Quirks, Tags: p.Tags, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return d, s
	}
	t.Fatalf("there is no profile %q: %v", name, report.Problems())
	return nil, nil
}

func value(t *testing.T, r field.Record, tag string) (field.Value, field.Quality) {
	t.Helper()
	for i, p := range r.Group.Points {
		if p.Name == tag {
			return r.Values[i], r.QualityOf(i)
		}
	}
	t.Fatalf("%v has no %s", r.Group, tag)
	return field.Value{}, 0
}

// TestScale: the built-in profile reads what lies on the scale.
func TestScale(t *testing.T) {
	var scale sim.Scale
	_, s := bind(t, "mettler-toledo-sics", func(ctx context.Context, p port.Port) error { return port.Serve(ctx, p, &scale) })
	for i, grams := range []float64{0, 100.25, -3.5, 12345.67} {
		scale.Put(grams, i%2 == 1)
		r, err := s.Read(t.Context(), field.MainGroup)
		if err != nil {
			t.Fatal(err)
		}
		if v, q := value(t, r, "weight"); q != field.Good || v != field.Float64(grams) {
			t.Errorf("weight %s (%s), want %v", v, q, grams)
		}
		if v, _ := value(t, r, "stable"); v != field.Bool(i%2 == 0) && v != field.Text(map[bool]string{true: "stable", false: "moving"}[i%2 == 0]) {
			t.Errorf("stable is %s", v)
		}
	}
	if scale.Asked() != 4 {
		t.Errorf("the scale was asked %d times", scale.Asked())
	}
}

// TestReceiver: the built-in profile hears a receiver that speaks by itself.
func TestReceiver(t *testing.T) {
	receiver := sim.Receiver{Latitude: -33.8568, Longitude: 151.2153, Altitude: 12.5, Satellites: 9, Speed: 4.5, Every: 50 * time.Millisecond}
	d, s := bind(t, "nmea-gnss", func(ctx context.Context, p port.Port) error { return receiver.Serve(ctx, p) })
	if p, ok := s.(field.Pusher); !ok || !p.Pushes() {
		t.Fatal("the device is not known as one that speaks by itself")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := map[string]float64{}
	_ = d.Listen(ctx, func(r field.Record) {
		for i, p := range r.Group.Points {
			if f, ok := r.Values[i].Float(); ok && r.QualityOf(i) == field.Good {
				seen[p.Name] = f
			}
		}
		if len(seen) >= 6 {
			cancel()
		}
	})
	for tag, want := range map[string]float64{"latitude": -33.8568, "longitude": 151.2153, "altitude": 12.5, "satellites": 9, "speed": 4.5} {
		if got, ok := seen[tag]; !ok || math.Abs(got-want) > 1e-5 {
			t.Errorf("%s = %v (%v), want %v", tag, got, ok, want)
		}
	}
}
