package modbus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
	sim "edgegateway/testbench/sim/modbus"
)

// TestBroadcast reaches every unit, waits for no answer, and leaves the line fit for the next request.
func TestBroadcast(t *testing.T) {
	for _, framing := range []Framing{RTU, ASCII} {
		t.Run(framing.String(), func(t *testing.T) {
			s := sim.New(1)
			one, two := s.Unit(1), s.Unit(2)
			one.Set(sim.Holdings, 9, 0xFF00)
			d := New(overTCP(t, s, framing), framing, Options{})
			all, err := d.Bind(field.Device{Name: "all", Address: "0", Quirks: map[string]string{"broadcast": "true", "write_mask": "true"}, Tags: []field.Tag{
				{Name: "mode", At: "holding 5", Type: "uint16", Write: true}, {Name: "on", At: "coil 3", Write: true},
				{Name: "clock", At: "holding 6", Type: "uint32", Write: true}, {Name: "bit", At: "holding 9 bit 0", Write: true},
				{Name: "name", At: "holding 20", Type: "string", Length: 4, Write: true},
			}})
			if err != nil {
				t.Fatal(err)
			}
			w := all.(field.Writer)
			for tag, v := range map[string]field.Value{"mode": field.Uint(7), "on": field.Bool(true), "clock": field.Uint(0x12345678),
				"bit": field.Bool(true), "name": field.Text("abcd")} {
				if err := w.Write(t.Context(), tag, v); err != nil {
					t.Errorf("%s: %v", tag, err)
				}
			}
			if r, err := all.Read(t.Context(), field.MainGroup); !errors.Is(err, field.ErrSilent) || r.QualityOf(0) != field.Timeout {
				t.Errorf("read: %v, %v", r, err)
			}
			if !all.(field.Mute).Mute() || all.(field.Coster).Cost(field.MainGroup).Exchanges != 0 {
				t.Error("it counts as one that answers")
			}
			meter, err := d.Bind(field.Device{Name: "one", Address: "1", Timeout: 10 * time.Second, Tags: []field.Tag{{Name: "mode", At: "holding 5", Type: "uint16"}}})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := meter.Read(t.Context(), field.MainGroup); err != nil || r.Values[0] != field.Uint(7) {
				t.Errorf("after it: %v, %v", r, err)
			}
			for _, u := range []*sim.Unit{one, two} {
				if u.Get(sim.Coils, 3) != 1 || u.Get(sim.Holdings, 6) != 0x1234 || u.Get(sim.Holdings, 7) != 0x5678 || u.Get(sim.Holdings, 20) != 'a'<<8|'b' {
					t.Errorf("unit %d missed one", u.ID())
				}
			}
			if got := one.Get(sim.Holdings, 9); got != 0xFF01 {
				t.Errorf("the masked register is %#x", got)
			}
		})
	}
}

func TestBroadcastOnlyWhereAllowed(t *testing.T) {
	yes := map[string]string{"broadcast": "true"}
	tag := field.Tag{Name: "x", At: "holding 5", Type: "uint16", Write: true}
	read, part, back := tag, tag, tag
	read.Write, part.Mask, back.ReadBack = false, "0x0F", true
	for _, c := range []struct {
		framing Framing
		address string
		quirks  map[string]string
		tag     field.Tag
		problem string
	}{
		{RTU, "0", nil, tag, "broadcast = true"},
		{RTU, "1", yes, tag, "address 0"},
		{TCP, "0", yes, tag, "serial line"},
		{RTU, "0", yes, read, "can only be written"},
		{RTU, "0", yes, part, "a part of a register"},
		{RTU, "0", yes, back, "nothing answers"},
		{RTU, "0", yes, field.Tag{Name: "x", At: "input 5", Type: "uint16"}, "can only write"},
	} {
		_, err := New(nil, c.framing, Options{}).Bind(field.Device{Name: "d", Address: c.address, Quirks: c.quirks, Tags: []field.Tag{c.tag}})
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
