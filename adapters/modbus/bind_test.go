package modbus

import (
	"errors"
	"strings"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// TestBindComplains: every fault at once, in words that name what was meant.
func TestBindComplains(t *testing.T) {
	tags := func(ts ...field.Tag) field.Device { return field.Device{Name: "d", Address: "1", Tags: ts} }
	quirk := func(k, v string) field.Device {
		return field.Device{Name: "d", Address: "1", Quirks: map[string]string{k: v}}
	}
	at := func(s string) field.Device { return tags(field.Tag{Name: "x", At: s, Type: "uint16"}) }
	for _, c := range []struct {
		dev  field.Device
		says []string
	}{
		{at("holdng 200"), []string{`at = "holdng 200"`, `did you mean "holding 200"?`}},
		{at("Holding 200"), []string{`did you mean "holding 200"?`}},
		{at("holding200"), []string{`did you mean "holding 200"?`}},
		{at("holding:200.3"), []string{`did you mean "holding 200 bit 3"?`}},
		{at("coils 7"), []string{`did you mean "coil 7"?`}},
		{at("40201"), []string{`"40201" is the 1-based reference of "holding 200"`}},
		{at("400201"), []string{`"400201" is the 1-based reference of "holding 200"`}},
		{at("30001"), []string{`"30001" is the 1-based reference of "input 0"`}},
		{at("4x0201"), []string{`is the 1-based reference of "holding 200"`}},
		{at("00001"), []string{`is the 1-based reference of "coil 0"`}},
		{at("200"), []string{register.AddressHint}},
		{at(""), []string{"the address is missing"}},
		{at("holding 70000"), []string{"0 to 65535"}},
		{at("holding -1"), []string{"0 to 65535"}},
		{at("holding 5 bit 16"), []string{"0 (the lowest) to 15"}},
		{at("coil 5 bit 1"), []string{`write "coil 5"`}},
		{at("coil 5"), []string{`type = "uint16"`, "single bit"}},
		{at("holding 5 bit 1"), []string{`type = "uint16"`, "truth value"}},
		{tags(field.Tag{Name: "x", At: "holding 65535", Type: "float32"}), []string{"beyond the last address"}},
		{tags(field.Tag{Name: "x", At: "holding 1"}), []string{"type is missing", "float32"}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "flaot32"}), []string{`did you mean "float32"?`}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "float32", Order: "CBAD"}), []string{`order = "CBAD"`}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "string"}), []string{"length in bytes"}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "uint16", Length: 4}), []string{"only a string has a length"}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "uint16", Mask: "0x10000"}), []string{"16 bits"}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "float32", Mask: "1"}), []string{"whole number"}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "int16", Null: []string{"0x12345"}}), []string{`null = "0x12345"`}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "int16", Enum: map[string]string{"1": "a", "0x1": "b"}}), []string{"called"}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "int16", Enum: map[string]string{"one": "a"}}), []string{`enum = "one"`}},
		{tags(field.Tag{Name: "x", At: "holding 1", Type: "int16", Extra: map[string]string{"di": "1"}}), []string{`di = "1"`}},
		{tags(field.Tag{Name: "x", At: "input 1", Type: "int16", Write: true}), []string{"writable"}},
		{tags(field.Tag{Name: "x", At: "input 1", Type: "int16", Group: "slo"}), []string{`did you mean "slow"?`}},
		{tags(field.Tag{Name: "x", At: "coil 1"}, field.Tag{Name: "x", At: "coil 2"}), []string{"two tags of that name"}},
		{quirk("max_register", "60"), []string{`did you mean "max_registers"?`}},
		{quirk("zzz", "60"), []string{"broadcast, holes, max_coils, max_registers, pause, turnaround, write_mask, write_multiple, write_readback"}},
		{quirk("max_registers", "126"), []string{"1 to 125"}},
		{quirk("holes", "holding 10-5"), []string{"range of addresses"}},
		{quirk("holes", "holdin 10"), []string{`did you mean "holding"?`}},
		{quirk("pause", "20"), []string{"20ms"}},
		{quirk("write_multiple", "yes"), []string{`"true"`}},
		{field.Device{Name: "d", Address: "", Tags: nil}, []string{"missing", `"1" to "247"`}},
		{field.Device{Name: "d", Address: "0"}, []string{"broadcast"}},
		{field.Device{Name: "d", Address: "248"}, []string{`"1" to "247"`}},
		{field.Device{Name: "d", Address: "one"}, []string{"no Modbus unit address"}},
		{field.Device{Name: "d", Address: "300", Quirks: map[string]string{"max_coils": "0"}, Tags: []field.Tag{
			{Name: "a", At: "holdng 1", Type: "int61"}, {Name: "b", At: "input 1"}}},
			[]string{"address = ", "max_coils = ", `tag "a": at = `, `tag "a": type = `, `tag "b": type = `}},
		{field.Device{Name: "d", Address: "1", Quirks: map[string]string{"holes": "input 10-19", "max_registers": "3"}, Tags: []field.Tag{
			{Name: "a", At: "input 19", Type: "float32"}, {Name: "b", At: "input 1", Type: "float64"}}},
			[]string{`tag "a": at = "input 19": it lies in input 10-19`, "max_registers"}},
	} {
		_, err := New(nil, RTU, Options{}).Bind(c.dev)
		if err == nil {
			t.Errorf("%+v is bound", c.dev)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%+v: the complaint is\n%v\nwant %q in it", c.dev, err, s)
			}
		}
		for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
			var tag *field.TagError
			var dev *field.DeviceError
			if !errors.As(one, &tag) && !errors.As(one, &dev) {
				t.Errorf("%v is a %T, so it cannot be given its place in the file", one, one)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		framing Framing
		address string
		ok      bool
	}{
		{RTU, "1", true}, {RTU, "247", true}, {RTU, "255", false}, {RTU, "0", false},
		{TCP, "1", true}, {TCP, "255", true}, {TCP, "0", true}, {TCP, "248", false}, {TCP, "256", false},
	} {
		_, err := New(nil, c.framing, Options{}).Bind(field.Device{Name: "d", Address: c.address})
		if (err == nil) != c.ok {
			t.Errorf("address %q on %s: %v", c.address, c.framing, err)
		}
	}
}

// TestGroups: main before slow, points in the order of the tags, units and kinds as the values have them.
func TestGroups(t *testing.T) {
	s, err := New(nil, RTU, Options{}).Bind(field.Device{Name: "m", Address: "1", Profile: "p", Tags: []field.Tag{
		{Name: "serial", At: "input 900", Type: "string", Length: 8, Group: field.SlowGroup},
		{Name: "power", At: "input 50", Type: "int16", Scale: 0.1, Unit: "kW"},
		{Name: "voltage", At: "input 0", Type: "float32", Unit: "V"},
		{Name: "state", At: "input 7", Type: "uint16", Enum: map[string]string{"1": "on"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	gs := s.Groups()
	if len(gs) != 2 || gs[0].Name != field.MainGroup || gs[1].Name != field.SlowGroup || gs[0].Profile != "p" || gs[0].Device != "m" {
		t.Fatalf("groups %+v", gs)
	}
	want := []field.Point{{Name: "power", Kind: field.KindFloat64, Unit: "kW"}, {Name: "voltage", Kind: field.KindFloat32, Unit: "V"}, {Name: "state", Kind: field.KindString}}
	for i, p := range gs[0].Points {
		if p != want[i] {
			t.Errorf("point %d is %+v, want %+v", i, p, want[i])
		}
	}
}
