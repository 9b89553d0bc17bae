package advert

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"edgegateway/adapters/field"
)

// Formats of fixed size.

// known is a value, or null where the raw value is the sentinel for "not measured".
func known(absent bool, v field.Value) field.Value {
	if absent {
		return field.Value{}
	}
	return v
}

// ruuvi reads RuuviTag data format 5 (docs.ruuvi.com, "Data format 5 (RAWv2)"), big-endian.
func (d *Decoder) ruuvi(b []byte) (repeat bool, err error) {
	const size = 24
	if len(b) < size {
		return false, short(Ruuvi5, len(b), size)
	}
	u16 := func(at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }
	i16 := func(at int) int16 { return int16(u16(at)) }
	const none, noneSigned = 0xFFFF, -0x8000
	d.tell("temperature", known(i16(1) == noneSigned, field.Float64(float64(i16(1))/200)))
	d.tell("humidity", known(u16(3) == none, field.Float64(float64(u16(3))/400)))
	d.tell("pressure", known(u16(5) == none, field.Float64(float64(50000+int(u16(5)))/100)))
	for i, name := range [...]string{"acceleration_x", "acceleration_y", "acceleration_z"} {
		raw := i16(7 + 2*i)
		d.tell(name, known(raw == noneSigned, field.Float64(float64(raw)/1000)))
	}
	battery, power := u16(13)>>5, u16(13)&0x1F
	d.tell("battery_voltage", known(battery == 0x7FF, field.Float64(float64(1600+int(battery))/1000)))
	d.tell("tx_power", known(power == 0x1F, field.Int(2*int64(power)-40)))
	d.tell("movements", known(b[15] == 0xFF, field.Int(int64(b[15]))))
	sequence := u16(16)
	d.tell("sequence", known(sequence == none, field.Int(int64(sequence))))
	if sequence == none {
		return false, nil
	}
	return d.count(Ruuvi5, uint32(sequence)), nil
}

// tlm reads an Eddystone telemetry frame (github.com/google/eddystone, eddystone-tlm/tlm-plain.md), big-endian. The
// encrypted one is not read: its keys belong to a cloud service.
func (d *Decoder) tlm(b []byte) (repeat bool, err error) {
	const size = 14
	switch {
	case len(b) < 2:
		return false, short(TLM, len(b), size)
	case b[1] != 0:
		return false, fmt.Errorf("eddystone-tlm: version %d %w", b[1], ErrKey)
	case len(b) < size:
		return false, short(TLM, len(b), size)
	}
	millivolts, temperature := binary.BigEndian.Uint16(b[2:]), int16(binary.BigEndian.Uint16(b[4:]))
	advertisements, uptime := binary.BigEndian.Uint32(b[6:]), binary.BigEndian.Uint32(b[10:])
	d.tell("battery_voltage", known(millivolts == 0, field.Float64(float64(millivolts)/1000)))
	d.tell("temperature", known(temperature == -0x8000, field.Float64(float64(temperature)/256)))
	d.tell("advertisements", field.Int(int64(advertisements)))
	d.tell("uptime", field.Float64(float64(uptime)/10))
	return d.count(TLM, advertisements), nil
}

// ibeacon reads Apple's proximity beacon: type, length, UUID, major and minor (big-endian), and the signal at 1 m.
func (d *Decoder) ibeacon(b []byte) error {
	const size = 23
	if len(b) < size {
		return short(IBeacon, len(b), size)
	}
	u := hex.EncodeToString(b[2:18])
	d.tell("uuid", field.Text(u[:8]+"-"+u[8:12]+"-"+u[12:16]+"-"+u[16:20]+"-"+u[20:]))
	d.tell("major", field.Int(int64(binary.BigEndian.Uint16(b[18:]))))
	d.tell("minor", field.Int(int64(binary.BigEndian.Uint16(b[20:]))))
	d.tell("tx_power", field.Int(int64(int8(b[22]))))
	return nil
}

// atc reads the 13 bytes of the ATC1441 firmware, big-endian; their number was looked at by Recognise.
func (d *Decoder) atc(b []byte) (repeat bool) {
	d.tell("temperature", field.Float64(float64(int16(binary.BigEndian.Uint16(b[6:])))/10))
	d.tell("humidity", field.Float64(float64(b[8])))
	d.tell("battery", field.Int(int64(b[9])))
	d.tell("battery_voltage", field.Float64(float64(binary.BigEndian.Uint16(b[10:]))/1000))
	return d.count(ATC, uint32(b[12]))
}

// pvvx reads the 15 bytes of the PVVX firmware, little-endian; their number was looked at by Recognise.
func (d *Decoder) pvvx(b []byte) (repeat bool) {
	d.tell("temperature", field.Float64(float64(int16(binary.LittleEndian.Uint16(b[6:])))/100))
	d.tell("humidity", field.Float64(float64(binary.LittleEndian.Uint16(b[8:]))/100))
	d.tell("battery_voltage", field.Float64(float64(binary.LittleEndian.Uint16(b[10:]))/1000))
	d.tell("battery", field.Int(int64(b[12])))
	return d.count(PVVX, uint32(b[13]))
}
