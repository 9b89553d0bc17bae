package advert

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
)

// BTHome v2 (bthome.io/format): one byte of information, then objects: an id and a value, little-endian, whose length
// the id decides. An id that is not in the table ends what can be read, for nothing says where the next one begins.

const (
	bthomeVersion   = 2    // in bits 5 to 7
	bthomeEncrypted = 0x01 // bit 0
	packetID        = 0x00
)

// object is a row of BTHome's table: value = raw × scale.
type object struct {
	name   string // a quantity; "" for what is not told
	size   int    // bytes; 0 for those that begin with their length
	signed bool
	div    float64 // value = raw / div; 0 for a quantity that is no number
}

// bthomeObjects is the table; a row without a name is an id that is not given (or the packet's number).
var bthomeObjects = [256]object{
	0x00: {"", 1, false, 1},
	0x01: {"battery", 1, false, 1},
	0x02: {"temperature", 2, true, 100},
	0x03: {"humidity", 2, false, 100},
	0x04: {"pressure", 3, false, 100},
	0x05: {"illuminance", 3, false, 100},
	0x06: {"mass", 2, false, 100},
	0x07: {"mass_lb", 2, false, 100},
	0x08: {"dew_point", 2, true, 100},
	0x09: {"count", 1, false, 1},
	0x0A: {"energy", 3, false, 1000},
	0x0B: {"power", 3, false, 100},
	0x0C: {"voltage", 2, false, 1000},
	0x0D: {"pm2_5", 2, false, 1},
	0x0E: {"pm10", 2, false, 1},
	0x0F: {"boolean", 1, false, 0},
	0x10: {"power_on", 1, false, 0},
	0x11: {"open", 1, false, 0},
	0x12: {"co2", 2, false, 1},
	0x13: {"tvoc", 2, false, 1},
	0x14: {"moisture", 2, false, 100},
	0x15: {"battery_low", 1, false, 0},
	0x16: {"battery_charging", 1, false, 0},
	0x17: {"carbon_monoxide", 1, false, 0},
	0x18: {"cold", 1, false, 0},
	0x19: {"connected", 1, false, 0},
	0x1A: {"door", 1, false, 0},
	0x1B: {"garage_door", 1, false, 0},
	0x1C: {"gas", 1, false, 0},
	0x1D: {"heat", 1, false, 0},
	0x1E: {"light", 1, false, 0},
	0x1F: {"lock", 1, false, 0},
	0x20: {"wet", 1, false, 0},
	0x21: {"motion", 1, false, 0},
	0x22: {"moving", 1, false, 0},
	0x23: {"occupancy", 1, false, 0},
	0x24: {"plug", 1, false, 0},
	0x25: {"presence", 1, false, 0},
	0x26: {"problem", 1, false, 0},
	0x27: {"running", 1, false, 0},
	0x28: {"safe", 1, false, 0},
	0x29: {"smoke", 1, false, 0},
	0x2A: {"sound", 1, false, 0},
	0x2B: {"tamper", 1, false, 0},
	0x2C: {"vibration", 1, false, 0},
	0x2D: {"window", 1, false, 0},
	0x2E: {"humidity", 1, false, 1},
	0x2F: {"moisture", 1, false, 1},
	0x3A: {"button", 1, false, 0},
	0x3C: {"dimmer", 2, false, 0},
	0x3D: {"count", 2, false, 1},
	0x3E: {"count", 4, false, 1},
	0x3F: {"rotation", 2, true, 10},
	0x40: {"distance", 2, false, 1000},
	0x41: {"distance", 2, false, 10},
	0x42: {"duration", 3, false, 1000},
	0x43: {"current", 2, false, 1000},
	0x44: {"speed", 2, false, 100},
	0x45: {"temperature", 2, true, 10},
	0x46: {"uv_index", 1, false, 10},
	0x47: {"volume", 2, false, 10},
	0x48: {"volume", 2, false, 1000},
	0x49: {"flow", 2, false, 1000},
	0x4A: {"voltage", 2, false, 10},
	0x4B: {"gas_volume", 3, false, 1000},
	0x4C: {"gas_volume", 4, false, 1000},
	0x4D: {"energy", 4, false, 1000},
	0x4E: {"volume", 4, false, 1000},
	0x4F: {"water", 4, false, 1000},
	0x50: {"timestamp", 4, false, 1},
	0x51: {"acceleration", 2, false, 1000},
	0x52: {"gyroscope", 2, false, 1000},
	0x53: {"text", 0, false, 0},
	0x54: {"raw", 0, false, 0},
	0x55: {"storage", 4, false, 1000},
	0x56: {"conductivity", 2, false, 1},
	0x57: {"temperature", 1, true, 1},
	0x58: {"temperature", 1, true, 1 / 0.35},
	0x59: {"count", 1, true, 1},
	0x5A: {"count", 2, true, 1},
	0x5B: {"count", 4, true, 1},
	0x5C: {"power", 4, true, 100},
	0x5D: {"current", 2, true, 1000},
	0x5E: {"direction", 2, false, 100},
	0x5F: {"precipitation", 2, false, 10},
	0x60: {"channel", 1, false, 1},
	0x61: {"rotational_speed", 2, false, 1},
	0x62: {"speed", 4, true, 1e6},
	0x63: {"acceleration", 4, true, 1e6},
	0xF0: {"device_type", 2, false, 1},
	0xF1: {"firmware", 4, false, 0},
	0xF2: {"firmware", 3, false, 0},
}

// buttons are the events of a button, by their numbers.
var buttons = map[byte]string{0x00: "", 0x01: "press", 0x02: "double_press", 0x03: "triple_press", 0x04: "long_press",
	0x05: "long_double_press", 0x06: "long_triple_press", 0x80: "hold_press"}

func (d *Decoder) bthome(data []byte) (repeat bool, err error) {
	objects, number, counted := data[1:], uint32(0), false
	sealed := data[0]&bthomeEncrypted != 0
	if sealed {
		if objects, number, err = d.bthomeOpen(data); err != nil {
			return false, err
		}
		counted = true
	}
	for rest := objects; len(rest) > 0; {
		o, id := bthomeObjects[rest[0]], rest[0]
		if o.name == "" && id != packetID {
			return false, fmt.Errorf("bthome: %w 0x%02X", ErrObject, id)
		}
		at, size := 1, o.size
		if size == 0 {
			if len(rest) < 2 {
				return false, short(BTHome, len(rest), 2)
			}
			at, size = 2, int(rest[1])
		}
		if len(rest) < at+size {
			return false, fmt.Errorf("bthome: object 0x%02X: %w", id, ErrTruncated)
		}
		value := rest[at : at+size]
		rest = rest[at+size:]
		if id != packetID {
			d.tell(o.name, o.value(value))
		} else if !counted {
			counted, number = true, uint32(value[0])
		}
	}
	switch {
	case sealed:
		return d.admit(BTHome, number)
	case counted:
		return d.count(BTHome, number), nil
	}
	return false, nil
}

// bthomeOpen decrypts: information | sealed objects | counter (4) | authentication field (4). The nonce is the address
// as written, the UUID as it is sent, the information, and the counter.
func (d *Decoder) bthomeOpen(data []byte) (plain []byte, number uint32, err error) {
	const counterSize = 4
	end := len(data) - counterSize - tagLength
	if end < 1 {
		return nil, 0, short(BTHome, len(data), 1+counterSize+tagLength)
	}
	if d.seal == nil {
		return nil, 0, fmt.Errorf("bthome: it is encrypted and %w: no key is given for the device", ErrKey)
	}
	var nonce [13]byte
	copy(nonce[:], d.mac[:])
	nonce[6], nonce[7], nonce[8] = uuidBTHome&0xFF, uuidBTHome>>8, data[0]
	copy(nonce[9:], data[end:end+counterSize])
	sealed := append(append([]byte(nil), data[1:end]...), data[end+counterSize:]...)
	plain, ok := d.seal.open(nonce[:], sealed, nil)
	if !ok {
		return nil, 0, fmt.Errorf("bthome: it %w: another key, another address, or damaged", ErrKey)
	}
	return plain, binary.LittleEndian.Uint32(data[end:]), nil
}

// value reads an object's bytes, of which there are as many as it needs.
func (o *object) value(b []byte) field.Value {
	switch o.name {
	case "text":
		return field.Text(strings.ToValidUTF8(string(b), "\ufffd"))
	case "raw":
		return field.Text(hex.EncodeToString(b))
	case "button":
		event, ok := buttons[b[0]]
		if !ok {
			return field.Value{}
		}
		return field.Text(event)
	case "dimmer": // steps, to the left negative
		switch b[0] {
		case 1:
			return field.Int(-int64(b[1]))
		case 2:
			return field.Int(int64(b[1]))
		}
		return field.Int(0)
	case "firmware": // the parts of the version, the last one first
		parts := make([]string, len(b))
		for i, part := range b {
			parts[len(b)-1-i] = fmt.Sprint(part)
		}
		return field.Text(strings.Join(parts, "."))
	}
	raw := little(b)
	if o.div == 0 {
		return field.Bool(raw != 0)
	}
	n := int64(raw)
	if o.signed {
		n = signed(raw, len(b))
	}
	return number(o.name, float64(n)/o.div)
}

// number is a value of the quantity's own kind.
func number(name string, f float64) field.Value {
	if quantities[name].Kind == field.KindInt {
		return field.Int(int64(f))
	}
	return field.Float64(f)
}

// little joins up to eight bytes, the lowest first.
func little(b []byte) (raw uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		raw = raw<<8 | uint64(b[i])
	}
	return raw
}

// signed reads the low n bytes as two's complement.
func signed(raw uint64, n int) int64 { return int64(raw<<(64-8*n)) >> (64 - 8*n) }
