package iec62056

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/field/fieldtest"
	"edgegateway/adapters/link"
)

// TestConformance runs the seam's suite over mode A, whose readout follows a call at once.
func TestConformance(t *testing.T) {
	fieldtest.Run(t, fieldtest.Subject{
		Driver: func(l link.Line) field.Driver { return New(l) },
		// The standard grants a meter 1500 ms: a shorter timeout would be a fault of the test.
		Device: field.Device{Name: "meter", Address: "12345678", Timeout: 2 * time.Second,
			Quirks: map[string]string{"mode": "A", "identify": "0.0.0"}, Tags: []field.Tag{
				{Name: "energy", At: "1.8.0", Unit: "kWh"}, {Name: "state", At: "F.F", Type: "string"}}},
		Want: func(round int) []field.Value {
			return []field.Value{field.Float64(float64(round) + 0.25), field.Text(fmt.Sprint("S", round))}
		},
		Answer: func(_ []byte, round int) []byte {
			return readoutOf("12345678", fmt.Sprintf("1.8.0(%06d.25*kWh)\r\nF.F(S%d)\r\n!\r\n", round, round))
		},
		Foreign: func(answer []byte) []byte {
			_, data, _ := strings.Cut(string(answer[:len(answer)-2]), ")\r\n")
			return readoutOf("87654321", strings.Replace(data, "S", "X", 1))
		},
		Short: func(answer []byte) []byte {
			_, data, _ := strings.Cut(string(answer[:len(answer)-2]), ")\r\n")
			data, _, _ = strings.Cut(data, "F.F")
			return readoutOf("12345678", data)
		},
	})
}

// TestLateMeterIsNoOther: a meter that answers after its time, when the next one was called, must not give that one its
// values.
func TestLateMeterIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &fieldtest.Line{Peer: func(request []byte) []fieldtest.Chunk {
			if string(request) == "/?1!\r\n" {
				return []fieldtest.Chunk{{After: 2300 * time.Millisecond, Bytes: readoutOf("1", "1.8.0(000001*kWh)\r\n!\r\n")}}
			}
			return []fieldtest.Chunk{{After: 400 * time.Millisecond, Bytes: readoutOf("2", "1.8.0(000002*kWh)\r\n!\r\n")}}
		}}
		d := New(line)
		bind := func(address string) field.Station {
			s, err := d.Bind(field.Device{Name: address, Address: address, Quirks: map[string]string{"mode": "A"}, Tags: []field.Tag{{Name: "energy", At: "1.8.0"}}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		late, other := bind("1"), bind("2")
		if _, err := late.Read(t.Context(), field.MainGroup); !errors.Is(err, field.ErrSilent) {
			t.Errorf("the late meter gave %v", err)
		}
		r, err := other.Read(t.Context(), field.MainGroup)
		if err != nil || r.Values[0] != field.Float64(2) {
			t.Errorf("the other one: %v, %v", r.Values, err)
		}
	})
}

// readoutOf makes a meter's answer in mode A by hand.
func readoutOf(number, data string) []byte {
	block := "0.0.0(" + number + ")\r\n" + data + "\x03"
	var check byte
	for i := range len(block) {
		check ^= block[i]
	}
	return []byte("/ABCXmeter\r\n\x02" + block + string(rune(check)))
}

// TestVectors holds the codec against the checks of the facts.
func TestVectors(t *testing.T) {
	for got, want := range map[string]string{
		string(option('5', false)):          "\x06050\r\n",
		string(command("B0", "")):           "\x01B0\x03\x71",
		string(command("P1", "(00000000)")): "\x01P1\x02(00000000)\x03\x61",
		string(command("R1", "1.8.0()")):    "\x01R1\x021.8.0()\x03\x5A",
		string(request("")):                 "/?!\r\n",
		string(request("12345678")):         "/?12345678!\r\n",
		string([]byte{bcc([]byte("0.0.0(12345678)\r\n1.8.0(000123.45*kWh)\r\n!\r\n\x03"))}): "\x75",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := fmt.Sprintf("% X", even([]byte("/?!\r\n"))); got != "AF 3F 21 8D 0A" {
		t.Errorf("even parity: %s", got)
	}
}

// TestPlaces: what a tag leaves out may be anything, but earlier periods are other values.
func TestPlaces(t *testing.T) {
	sets := parseLine("1-0:1.8.0*255(000123.45*kWh)1.8.0*01(1*kWh)")
	sets = append(sets, parseLine("1.6.1(00.120*kW)(2611301200)")...)
	sets = append(sets, parseLine("0.9.1(14:05:09)")...)
	sets = append(sets, parseLine("1.8.1(0000.5)")...)
	for at, want := range map[string]string{
		"1.8.0": "000123.45", "1-0:1.8.0": "000123.45", "1-0:1.8.0*255": "000123.45", "1.8.0*01": "1", "2-0:1.8.0": "",
		"1.6.1": "00.120", "1.6.1 value 2": "2611301200", "1.6.1 value 3": "", "0.9.1": "14:05:09", "8.0": "",
	} {
		p, ok := parsePlace(at)
		v, found := p.find(sets)
		if !ok || found != (want != "") || v.text != want {
			t.Errorf("%s: %q %v, want %q", at, v.text, found, want)
		}
	}
	for _, at := range []string{"", "1.8.0()", "1.8.0 value 0", "1.8.0 value x", "a b"} {
		if p, ok := parsePlace(at); ok {
			t.Errorf("%q is taken for %+v", at, p)
		}
	}
}

// TestUnits: a number is in the tag's unit, or it is none.
func TestUnits(t *testing.T) {
	for _, c := range []struct {
		v    value
		unit string
		want string
	}{
		{value{"000123.45", "kWh"}, "kWh", "123.45"}, {value{"000123.45", "kWh"}, "Wh", "123450"}, {value{"123450", "Wh"}, "kWh", "123.45"},
		{value{"1.5", "MWh"}, "kWh", "1500"}, {value{"5", "kvar"}, "var", "5000"}, {value{"5", "V"}, "", "5"}, {value{"5", ""}, "V", "5"},
		{value{"-0.5", "kW"}, "kW", "-0.5"},
		{value{"5", "kWh"}, "kvarh", ""}, {value{"", ""}, "", ""}, {value{"14:05", ""}, "", ""}, {value{"nan", ""}, "", ""},
		{value{"0x10", ""}, "", ""}, {value{"1e999", ""}, "", ""}, {value{"inf", ""}, "", ""},
	} {
		n, ok := c.v.number(c.unit)
		if got := field.Float64(n).String(); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%v in %q is %s, %v, want %q", c.v, c.unit, got, ok, c.want)
		}
	}
}
