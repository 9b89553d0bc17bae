package ble

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strings"

	"edgegateway/adapters/field"
)

// standard is what the Bluetooth SIG says of a characteristic that holds one value: how a tag reads it that says nothing
// else (GATT Specification Supplement).
type standard struct {
	typ   string
	scale float64
	unit  string
	null  string // raw value for "not known"; "" for none
}

// standards is the table, by the assigned number of the characteristic.
var standards = map[uint16]standard{
	0x2A00: {"string", 0, "", ""},              // device name
	0x2A19: {"uint8", 0, "%", ""},              // battery level
	0x2A24: {"string", 0, "", ""},              // model number
	0x2A25: {"string", 0, "", ""},              // serial number
	0x2A26: {"string", 0, "", ""},              // firmware revision
	0x2A27: {"string", 0, "", ""},              // hardware revision
	0x2A28: {"string", 0, "", ""},              // software revision
	0x2A29: {"string", 0, "", ""},              // manufacturer name
	0x2A6C: {"int24", 0.01, "m", ""},           // elevation
	0x2A6D: {"uint32", 0.1, "Pa", ""},          // pressure
	0x2A6E: {"int16", 0.01, "°C", "0x8000"},    // temperature
	0x2A6F: {"uint16", 0.01, "%", "0xFFFF"},    // humidity
	0x2A70: {"uint16", 0.01, "m/s", ""},        // true wind speed
	0x2A71: {"uint16", 0.01, "°", ""},          // true wind direction
	0x2A72: {"uint16", 0.01, "m/s", ""},        // apparent wind speed
	0x2A73: {"uint16", 0.01, "°", ""},          // apparent wind direction
	0x2A76: {"uint8", 0, "", ""},               // UV index
	0x2A77: {"uint16", 0.1, "W/m²", ""},        // irradiance
	0x2A78: {"uint16", 0.001, "m", ""},         // rainfall
	0x2A79: {"int8", 0, "°C", ""},              // wind chill
	0x2A7A: {"int8", 0, "°C", ""},              // heat index
	0x2A7B: {"int8", 0, "°C", ""},              // dew point
	0x2AFB: {"uint24", 0.01, "lx", "0xFFFFFF"}, // illuminance
}

// special is a characteristic that holds several values, some of them only sometimes.
type special struct {
	parts map[string]standardPart
	// decode gives the part's value, null when this message does not hold it; ok is false when the bytes end early.
	decode func(b []byte, part string) (v field.Value, ok bool)
}

type standardPart struct {
	kind field.Kind
	unit string
}

const (
	heartRate   = 0x2A37
	thermometer = 0x2A1C
)

// special gives the place's characteristic if it is one of those; nil otherwise.
func (p *place) special() *special {
	id, _ := shortUUID(p.char.uuid)
	switch id {
	case heartRate:
		return &special{map[string]standardPart{"heart_rate": {field.KindUint, "1/min"}, "energy": {field.KindUint, "kJ"}, "rr": {field.KindFloat64, "s"}}, decodeHeartRate}
	case thermometer:
		return &special{map[string]standardPart{"temperature": {field.KindFloat64, "°C"}}, decodeThermometer}
	}
	return nil
}

func (s *special) names() []string { return slices.Sorted(maps.Keys(s.parts)) }

// decodeHeartRate reads a Heart Rate Measurement: flags, the rate in one byte or two, energy, RR intervals in 1/1024 s.
func decodeHeartRate(b []byte, part string) (field.Value, bool) {
	if len(b) < 2 {
		return field.Value{}, false
	}
	flags, rest := b[0], b[1:]
	wide, energy, rr := flags&0x01 != 0, flags&0x08 != 0, flags&0x10 != 0
	take := func() (n uint16, ok bool) {
		if len(rest) < 2 {
			return 0, false
		}
		n, rest = binary.LittleEndian.Uint16(rest), rest[2:]
		return n, true
	}
	rate, ok := uint16(rest[0]), true
	if wide {
		rate, ok = take()
	} else {
		rest = rest[1:]
	}
	if !ok || part == "heart_rate" {
		return field.Uint(uint64(rate)), ok
	}
	if energy {
		joules, ok := take()
		if !ok || part == "energy" {
			return field.Uint(uint64(joules)), ok
		}
	}
	if part == "rr" && rr {
		last, ok := take()
		for ok && len(rest) >= 2 {
			last, ok = take()
		}
		return field.Float64(float64(last) / 1024), ok
	}
	return field.Value{}, true
}

// decodeThermometer reads a Temperature Measurement: flags, then a 32-bit FLOAT of IEEE 11073: a mantissa of 24 bits
// and an exponent of 8, to the base of 10. Fahrenheit becomes Celsius.
func decodeThermometer(b []byte, _ string) (field.Value, bool) {
	if len(b) < 5 {
		return field.Value{}, false
	}
	raw := binary.LittleEndian.Uint32(b[1:])
	mantissa, exponent := int32(raw<<8)>>8, int8(raw>>24)
	const limit = 0x7FFFFE // beyond stand NaN, infinities and "not at this resolution"
	if mantissa >= limit || mantissa <= -limit {
		return field.Value{}, true
	}
	f := float64(mantissa) * math.Pow10(int(exponent))
	if exponent < 0 {
		f = float64(mantissa) / math.Pow10(-int(exponent))
	}
	if b[0]&0x01 != 0 {
		f = (f - 32) * 5 / 9
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return field.Value{}, true
	}
	return field.Float64(f), true
}

// fill gives a tag that says nothing of its type what the standard says of its characteristic.
func (p *place) fill(tag *field.Tag) {
	id, ok := shortUUID(p.char.uuid)
	s, known := standards[id]
	if !ok || !known || p.explicit || tag.Type != "" {
		return
	}
	tag.Type = s.typ
	if tag.Scale == 0 {
		tag.Scale = s.scale
	}
	if tag.Unit == "" {
		tag.Unit = s.unit
	}
	if len(tag.Null) == 0 && s.null != "" {
		tag.Null = strings.Fields(s.null)
	}
}
