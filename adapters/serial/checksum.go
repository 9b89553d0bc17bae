package serial

import "bytes"

// checksum is one way to prove a frame.
type checksum struct {
	name   string
	size   int  // bytes of the sum, 0 for none
	little bool // the low byte stands first, where the device does not say otherwise
	sum    func([]byte) uint16
}

var checksums = [...]checksum{
	{"none", 0, false, nil},
	{"xor", 1, false, xor},
	{"sum8", 1, false, sum8},
	{"lrc", 1, false, func(b []byte) uint16 { return -sum8(b) & 0xFF }},
	{"crc16-modbus", 2, true, crcModbus},
	{"crc16-ccitt", 2, false, func(b []byte) uint16 { return crcForward(b, 0xFFFF) }},
	{"crc16-xmodem", 2, false, func(b []byte) uint16 { return crcForward(b, 0) }},
	{"nmea", 1, false, xor}, // two hexadecimal digits behind "*"; what counts begins behind "$" (NMEA 0183, 5.2)
}

func checksumNames() []string {
	names := make([]string, len(checksums))
	for i, c := range checksums {
		names[i] = c.name
	}
	return names
}

func xor(b []byte) (sum uint16) {
	for _, c := range b {
		sum ^= uint16(c)
	}
	return sum
}

func sum8(b []byte) (sum uint16) {
	for _, c := range b {
		sum += uint16(c)
	}
	return sum & 0xFF
}

// crcModbus is CRC-16 with the reflected polynomial 0xA001, beginning with 0xFFFF.
func crcModbus(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// crcForward is CRC-16 with the polynomial 0x1021, most significant bit first.
func crcForward(b []byte, crc uint16) uint16 {
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			high := crc & 0x8000
			crc <<= 1
			if high != 0 {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

const upperHex = "0123456789ABCDEF"

// seal gives the bytes that stand for the sum of what counts.
func (s *speech) seal(counts []byte) []byte {
	if s.check.size == 0 {
		return nil
	}
	sum := s.check.sum(counts)
	raw := []byte{byte(sum)}
	if s.check.size == 2 {
		raw = []byte{byte(sum >> 8), byte(sum)}
		if s.little {
			raw[0], raw[1] = raw[1], raw[0]
		}
	}
	if !s.hex {
		return raw
	}
	digits := make([]byte, 0, 4)
	for _, b := range raw {
		digits = append(digits, upperHex[b>>4], upperHex[b&15])
	}
	return digits
}

// open proves a frame: it gives what stands in it, without what ends it and without the sum.
func (s *speech) open(frame []byte) (content []byte, sound bool) {
	content = bytes.TrimSuffix(frame, s.end)
	if s.kind == lines {
		content = bytes.TrimSuffix(content, []byte{'\r'})
	}
	if s.check.size == 0 {
		return content, true
	}
	size := s.sumSize()
	if len(content) < s.from+size {
		return nil, false
	}
	content, sum := content[:len(content)-size], content[len(content)-size:]
	counts := content
	if s.check.name == "nmea" {
		if counts, sound = bytes.CutSuffix(counts, []byte{'*'}); !sound {
			return nil, false
		}
		content = counts
	}
	if len(counts) < s.from {
		return nil, false
	}
	want := s.seal(counts[s.from:])
	if s.hex {
		return content, bytes.EqualFold(sum, want)
	}
	return content, bytes.Equal(sum, want)
}

// sumSize is how many bytes the sum takes in a frame.
func (s *speech) sumSize() int {
	if s.hex {
		return 2 * s.check.size
	}
	return s.check.size
}
