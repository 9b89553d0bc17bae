package mbus

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// place is where a tag's value stands: a word of the header, a record by its meaning, by its header, or by its number.
type place struct {
	word     string // "id", "maker", … or ""
	quantity string
	function byte
	storage  uint64
	tariff   uint32
	subunit  uint32
	head     []byte
	index    int // of the record; -1 for none
}

// words are those of a telegram's header, and whether they are texts.
var words = map[string]bool{"id": true, "maker": true, "medium": true, "version": false, "status": false, "access": false}

// quantities are what a record can be asked for by, with the unit that its value has when the tag names none.
var quantities = map[string]string{
	"energy": "kWh", "volume": "m3", "mass": "kg", "on time": "s", "operating time": "s", "power": "W", "flow": "m3/h",
	"mass flow": "kg/h", "flow temperature": "°C", "return temperature": "°C", "temperature difference": "K",
	"external temperature": "°C", "pressure": "bar", "time": "", "allocation": "", "averaging duration": "s",
	"actuality duration": "s", "fabrication number": "", "access number": "", "model": "", "hardware version": "",
	"firmware version": "", "software version": "", "error flags": "", "digital output": "", "digital input": "", "number": "",
	"voltage": "V", "current": "A",
}

// parsePlace reads "volume storage 1 max", "record 3", "0C 13", "id".
func parsePlace(s string) (p place, ok bool) {
	p.index = -1
	if _, known := words[s]; known {
		p.word = s
		return p, true
	}
	if b, err := hex.DecodeString(strings.ReplaceAll(s, " ", "")); err == nil && len(b) >= 2 {
		p.head = b
		return p, true
	}
	fields := strings.Fields(s)
	if len(fields) == 2 && fields[0] == "record" {
		n, err := strconv.Atoi(fields[1])
		p.index = n
		return p, err == nil && n >= 0 && n < 1000
	}
	for n := min(2, len(fields)); n > 0; n-- {
		if q := strings.Join(fields[:n], " "); slices.Contains(quantityNames(), q) {
			p.quantity, fields = q, fields[n:]
			break
		}
	}
	if p.quantity == "" {
		return p, false
	}
	for len(fields) > 0 {
		if i := slices.Index(functions[:], fields[0]); i > 0 {
			p.function, fields = byte(i), fields[1:]
			continue
		}
		if len(fields) < 2 {
			return p, false
		}
		n, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			return p, false
		}
		switch fields[0] {
		case "storage":
			p.storage = n
		case "tariff":
			p.tariff = uint32(n)
		case "unit":
			p.subunit = uint32(n)
		default:
			return p, false
		}
		fields = fields[2:]
	}
	return p, true
}

func quantityNames() []string {
	names := make([]string, 0, len(quantities))
	for q := range quantities {
		names = append(names, q)
	}
	slices.Sort(names)
	return names
}

// find gives the record of a place.
func (p place) find(records []record) *record {
	if p.index >= 0 {
		if p.index < len(records) {
			return &records[p.index]
		}
		return nil
	}
	for i := range records {
		r := &records[i]
		switch {
		case p.head != nil:
			if bytes.Equal(p.head, r.head) {
				return r
			}
		case p.quantity == thermal(r.quantity) && r.quantity != "" && p.function == r.function && p.storage == r.storage &&
			p.tariff == r.tariff && p.subunit == r.subunit:
			return r
		}
	}
	return nil
}

// thermal takes joules for the energy that they are.
func thermal(quantity string) string {
	switch quantity {
	case "heat":
		return "energy"
	case "heat rate":
		return "power"
	}
	return quantity
}

// measure is a unit: the power of ten beyond the base, and whether the base is the joule.
type measure struct {
	exponent int
	joule    bool
}

// units of the quantities that have several.
var units = map[string]map[string]measure{
	"energy":   {"Wh": {0, false}, "kWh": {3, false}, "MWh": {6, false}, "GWh": {9, false}, "J": {0, true}, "kJ": {3, true}, "MJ": {6, true}, "GJ": {9, true}},
	"power":    {"W": {0, false}, "kW": {3, false}, "MW": {6, false}, "J/h": {0, true}, "kJ/h": {3, true}, "MJ/h": {6, true}, "GJ/h": {9, true}},
	"volume":   {"m3": {0, false}, "m³": {0, false}, "l": {-3, false}, "L": {-3, false}},
	"flow":     {"m3/h": {0, false}, "m³/h": {0, false}, "l/h": {-3, false}, "L/h": {-3, false}},
	"mass":     {"kg": {0, false}, "t": {3, false}, "g": {-3, false}},
	"pressure": {"bar": {0, false}, "mbar": {-3, false}},
	"voltage":  {"V": {0, false}, "mV": {-3, false}, "kV": {3, false}},
	"current":  {"A": {0, false}, "mA": {-3, false}, "kA": {3, false}},
}

// in gives a record's value in a unit; "" is that in which the quantity is told. ok is false when it has no number, or
// the unit is of another quantity.
func (r *record) in(unit string) (f float64, ok bool) {
	quantity := thermal(r.quantity)
	own := r.quantity == "heat" || r.quantity == "heat rate"
	known := units[quantity]
	if unit == "" {
		unit = quantities[quantity]
	}
	m, ok := known[unit]
	if !ok {
		if known != nil && unit != quantities[quantity] {
			return 0, false
		}
		m = measure{0, own}
	}
	if f, ok = r.number(m.exponent); !ok {
		return 0, false
	}
	switch {
	case own && !m.joule:
		f /= 3600
	case !own && m.joule:
		f *= 3600
	}
	return f, true
}
