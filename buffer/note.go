package buffer

import (
	"encoding/binary"
	"hash/crc32"
)

// A note is a small value of the store that says what it is, so that it is known again in the rubble of a store whose
// index is gone. Blocks have headers of their own that do the same.
//
//	2 bytes  0xb5, what the note is of
//	varint   length of the text
//	text
//	4 bytes  CRC-32C of all that stands before, little endian
const noteMark = 0xb5

// What a note is of.
const (
	ofShape  = 'd' // 4 bytes its number, big endian; then the shape as field.AppendGroup gives it
	ofCursor = 'c' // 1 byte the destination's number, 1 byte the class; then the track
	ofMeta   = 'm' // JSON
	ofStream = 's' // see streamChange
)

func note(of byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := binary.AppendUvarint([]byte{noteMark, of}, uint64(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// readNote gives the text of the note that b begins with, and how long the note is; false when it begins with none.
func readNote(b []byte) (of byte, text []byte, size int, ok bool) {
	if len(b) < 7 || b[0] != noteMark || b[1] != ofShape && b[1] != ofCursor && b[1] != ofMeta && b[1] != ofStream {
		return 0, nil, 0, false
	}
	length, n := binary.Uvarint(b[2:])
	if n <= 0 || length > uint64(len(b)) {
		return 0, nil, 0, false
	}
	end := 2 + n + int(length)
	if end+4 > len(b) || crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[end:]) {
		return 0, nil, 0, false
	}
	return b[1], b[2+n : end], end + 4, true
}

// noteOf gives the text of a note of the given kind; nil when b is none.
func noteOf(of byte, b []byte) []byte {
	if kind, text, size, ok := readNote(b); ok && kind == of && size == len(b) {
		return text
	}
	return nil
}
