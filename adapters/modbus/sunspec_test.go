package modbus

import (
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
	sim "edgegateway/testbench/sim/modbus"
)

// sunspecInverter is a unit that describes itself: common, inverter, and the end.
func sunspecInverter(u *sim.Unit, scale int16) {
	u.Set(sim.Holdings, 40000, 0x5375, 0x6E53, 1, 66)
	u.Set(sim.Holdings, 40004, 'A'<<8|'c', 'm'<<8|'e')
	u.Set(sim.Holdings, 40070, 103, 50)
	u.Set(sim.Holdings, 40072+12, 1500, uint16(scale))
	u.Set(sim.Holdings, 40072+36, 4)
	u.Set(sim.Holdings, 40122, 0xFFFF, 0)
}

func sunspecDevice() field.Device {
	return field.Device{Name: "pv", Address: "3", Timeout: 10 * time.Second, Tags: []field.Tag{
		{Name: "maker", At: "sunspec 1 Mn", Group: field.SlowGroup},
		{Name: "power", At: "sunspec 101|102|103|113 W", Unit: "W"},
		{Name: "power_kw", At: "sunspec 103 W", Unit: "kW", Scale: 0.001},
		{Name: "state", At: "sunspec 103 St", Enum: map[string]string{"4": "mppt", "2": "sleeping"}},
		{Name: "meter_power", At: "sunspec 203 W"},
		{Name: "plain", At: "holding 7", Type: "uint16"},
	}}
}

// TestSunSpecStation walks once, reads values with their scale factors, and says nothing of what the device does not
// have.
func TestSunSpecStation(t *testing.T) {
	s := sim.New(1)
	u := s.Unit(3)
	sunspecInverter(u, -1)
	u.Set(sim.Holdings, 7, 42)
	station, err := New(overTCP(t, s, TCP), TCP, Options{}).Bind(sunspecDevice())
	if err != nil {
		t.Fatal(err)
	}
	cost := station.(field.Coster).Cost(field.MainGroup)
	if cost.Exchanges != 3 { // the inverter, the meter that may be there, and the register
		t.Errorf("foretold %+v", cost)
	}
	type reading struct {
		v field.Value
		q field.Quality
	}
	read := func(group string, want ...reading) {
		t.Helper()
		r, err := station.Read(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if r.Values[i] != w.v || r.QualityOf(i) != w.q {
				t.Errorf("%s = %v (%v), want %v (%v)", r.Group.Points[i].Name, r.Values[i], r.QualityOf(i), w.v, w.q)
			}
		}
	}
	main := []reading{{field.Float64(150), field.Good}, {field.Float64(0.15), field.Good}, {field.Text("mppt"), field.Good},
		{field.Value{}, field.Absent}, {field.Uint(42), field.Good}}
	read(field.MainGroup, main...)
	before := u.Counts().Requests
	read(field.MainGroup, main...)
	if n := u.Counts().Requests - before; n != 2 {
		t.Errorf("the second read took %d requests, want 2: it walked again", n)
	}
	read(field.SlowGroup, reading{field.Text("Acme"), field.Good})
	// The scale factor is read with its value: it may change with every answer.
	u.Set(sim.Holdings, 40072+12, 150, 0)
	read(field.MainGroup, main...)
	if cost := station.(field.Coster).Cost(field.MainGroup); cost.Exchanges != 2 {
		t.Errorf("by now foretold %+v", cost)
	}
}

// TestSunSpecOfAnother: a device without the marker refuses its SunSpec points, and gives the others.
func TestSunSpecOfAnother(t *testing.T) {
	s := sim.New(1)
	s.Unit(3).Set(sim.Holdings, 7, 42)
	station, err := New(overTCP(t, s, TCP), TCP, Options{}).Bind(sunspecDevice())
	if err != nil {
		t.Fatal(err)
	}
	r, err := station.Read(t.Context(), field.MainGroup)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []field.Quality{field.Exception, field.Exception, field.Exception, field.Exception, field.Good} {
		if r.QualityOf(i) != want {
			t.Errorf("%s: %v, want %v", r.Group.Points[i].Name, r.QualityOf(i), want)
		}
	}
}

// describe gives a device a chain: an inverter behind so many models that nobody knows.
func describe(d *device, unknown int) {
	at := 40000
	put := func(words ...uint16) {
		for _, w := range words {
			d.regs[register.Holding][at] = w
			at++
		}
	}
	put(0x5375, 0x6E53, 1, 66)
	at += 66
	for range unknown {
		put(64, 10)
		at += 10
	}
	put(103, 50)
	d.regs[register.Holding][at+12], d.regs[register.Holding][at+13] = 1500, 0xFFFF
	at += 50
	put(0xFFFF, 0)
}

// TestSunSpecAfterSilence: a device that was away may be another one. Its values are not read where the old one had them.
func TestSunSpecAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(TCP)
		describe(d, 0)
		s, _ := wired(t, d, field.Device{Tags: []field.Tag{{Name: "plain", At: "holding 7", Type: "uint16"}, {Name: "power", At: "sunspec 103 W"}}})
		check := func(when string, r field.Record) {
			t.Helper()
			if r.Values[1] != field.Float64(150) || r.QualityOf(1) != field.Good {
				t.Errorf("%s: %v (%v)", when, r.Values[1], r.QualityOf(1))
			}
		}
		for range 400 {
			check("at first", read(t, s))
			time.Sleep(walkTime / 2)
		}
		time.Sleep(walkTime / 2)
		describe(d, 1)
		d.regs[register.Holding][40084], d.regs[register.Holding][40085] = 7, 0 // where it was
		check("after a minute", read(t, s))

		// A command reads the same device amid a poll, which has waited for long. What the poll asks for stays the same.
		ctx := field.WithPause(t.Context(), func() {
			time.Sleep(lessonTime)
			describe(d, 2)
			read(t, s)
		})
		r, err := s.Read(ctx, field.MainGroup)
		if err != nil {
			t.Fatal(err)
		}
		check("amid a poll", r)
	})
}

func TestSunSpecBindComplains(t *testing.T) {
	for _, tag := range []field.Tag{
		{Name: "x", At: "sunspec 103 Watt"}, {Name: "x", At: "sunspec 103 W", Type: "int16"}, {Name: "x", At: "sunspec 103 W", Write: true},
		{Name: "x", At: "sunspec 1 Mn", Scale: 2}, {Name: "x", At: "sunspec 103 W", Null: []string{"0"}},
	} {
		if _, err := New(nil, TCP, Options{}).Bind(field.Device{Name: "d", Address: "1", Tags: []field.Tag{tag}}); err == nil {
			t.Errorf("%+v is accepted", tag)
		}
	}
}
