package advert

import (
	"encoding/binary"
	"fmt"

	"edgegateway/adapters/field"
)

// MiBeacon (Xiaomi): frame control (2), product (2), frame counter (1), then, as the bits of the frame control say, the
// address reversed (6), the capabilities (1, and 2 more for those with I/O), and an object: id (2), length (1), value.
// Everything is little-endian.

const (
	miHeader = 5

	miEncrypted  = 0x08
	miAddress    = 0x10
	miCapability = 0x20
	miObject     = 0x40
	miIO         = 0x20 // in the capabilities
)

func (d *Decoder) mibeacon(data []byte) (repeat bool, err error) {
	control := data[0]
	version := data[1] >> 4
	rest := data[miHeader:]
	take := func(n int) (part []byte) {
		if err != nil {
			return nil
		}
		if len(rest) < n {
			err = fmt.Errorf("mibeacon: %w", ErrTruncated)
			return nil
		}
		part, rest = rest[:n], rest[n:]
		return part
	}
	if control&miAddress != 0 {
		take(6)
	}
	if control&miCapability != 0 {
		if c := take(1); c != nil && c[0]&miIO != 0 {
			take(2)
		}
	}
	if err != nil {
		return false, err
	}
	if control&miObject == 0 {
		return d.count(MiBeacon, uint32(data[4])), nil // it only says that it is there
	}
	number := uint32(data[4])
	if control&miEncrypted != 0 {
		if rest, number, err = d.mibeaconOpen(data, rest, version); err != nil {
			return false, err
		}
	}
	for len(rest) > 0 {
		head := take(3)
		if err != nil {
			return false, err
		}
		value := take(int(head[2]))
		if err != nil {
			return false, err
		}
		if err := d.mibeaconObject(binary.LittleEndian.Uint16(head), value); err != nil {
			return false, err
		}
	}
	if control&miEncrypted != 0 {
		return d.admit(MiBeacon, number)
	}
	return d.count(MiBeacon, number), nil
}

// mibeaconOpen decrypts what version 4 and 5 seal: sealed | counter's upper part (3) | authentication field (4). The
// nonce is the address reversed, the product, the frame counter and its upper part; one byte 0x11 is authenticated with it.
func (d *Decoder) mibeaconOpen(data, rest []byte, version byte) (plain []byte, number uint32, err error) {
	const upper = 3
	if version < 4 {
		return nil, 0, fmt.Errorf("mibeacon: it %w: the encryption of version %d is not known", ErrKey, version)
	}
	end := len(rest) - upper - tagLength
	if end < 0 {
		return nil, 0, short(MiBeacon, len(rest), upper+tagLength)
	}
	if d.seal == nil {
		return nil, 0, fmt.Errorf("mibeacon: it is encrypted and %w: no key is given for the device", ErrKey)
	}
	var nonce [12]byte
	for i := range d.mac {
		nonce[i] = d.mac[5-i]
	}
	copy(nonce[6:], data[2:5])
	copy(nonce[9:], rest[end:end+upper])
	sealed := append(append([]byte(nil), rest[:end]...), rest[end+upper:]...)
	plain, ok := d.seal.open(nonce[:], sealed, []byte{0x11})
	if !ok {
		return nil, 0, fmt.Errorf("mibeacon: it %w: another key, another address, or damaged", ErrKey)
	}
	return plain, uint32(little(rest[end:end+upper]))<<8 | uint32(data[4]), nil
}

// mibeaconObject reads one object. One that is not in the table ends the frame; its length is known, but what it means
// together with others is not.
func (d *Decoder) mibeaconObject(id uint16, b []byte) error {
	size := map[uint16]int{0x0003: 1, 0x000F: 3, 0x1004: 2, 0x1006: 2, 0x1007: 3, 0x1008: 1, 0x1009: 2, 0x100A: 1, 0x100D: 4,
		0x1010: 2, 0x1014: 1, 0x1015: 1, 0x1018: 1, 0x1019: 1}[id]
	switch {
	case size == 0:
		return fmt.Errorf("mibeacon: %w 0x%04X", ErrObject, id)
	case len(b) < size:
		return fmt.Errorf("mibeacon: object 0x%04X: %w", id, ErrTruncated)
	}
	raw := little(b[:size])
	switch id {
	case 0x0003:
		d.tell("motion", field.Bool(raw != 0))
	case 0x000F:
		d.tell("motion", field.Bool(true))
		d.tell("illuminance", field.Float64(float64(raw)))
	case 0x1004:
		d.tell("temperature", field.Float64(float64(signed(raw, 2))/10))
	case 0x1006:
		d.tell("humidity", field.Float64(float64(raw)/10))
	case 0x1007:
		d.tell("illuminance", field.Float64(float64(raw)))
	case 0x1008:
		d.tell("moisture", field.Float64(float64(raw)))
	case 0x1009:
		d.tell("conductivity", field.Int(int64(raw)))
	case 0x100A:
		d.tell("battery", field.Int(int64(raw)))
	case 0x100D:
		d.tell("temperature", field.Float64(float64(signed(raw&0xFFFF, 2))/10))
		d.tell("humidity", field.Float64(float64(raw>>16)/10))
	case 0x1010:
		d.tell("formaldehyde", field.Float64(float64(raw)/100))
	case 0x1014:
		d.tell("wet", field.Bool(raw != 0))
	case 0x1015:
		d.tell("smoke", field.Bool(raw != 0))
	case 0x1018:
		d.tell("light", field.Bool(raw != 0))
	case 0x1019: // 0 open, 1 closed, 2 left open
		d.tell("open", field.Bool(raw != 1))
	}
	return nil
}
