package modbus

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"strings"
)

// ServeASCII serves ASCII mode on the port, otherwise as ServeRTU.
func (s *Server) ServeASCII(ctx context.Context, p Port, w Wire) error {
	return s.serve(ctx, p, ascii{}, w)
}

// ServeASCIIOverTCP serves ASCII mode to whoever connects, otherwise as ServeRTUOverTCP.
func (s *Server) ServeASCIIOverTCP(ctx context.Context, ln net.Listener, w Wire) error {
	return s.accept(ctx, ln, ascii{}, w)
}

// ascii is the other framing of serial lines: a colon, unit, PDU and LRC in hexadecimal, CR LF (Modbus over serial
// line V1.02, 2.5.2).
type ascii struct{}

// lrc is the two's complement of the sum of all bytes (Modbus over serial line V1.02, 6.2.1).
func lrc(b []byte) byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return -sum
}

func (ascii) next(got []byte, quiet bool) (*request, int, bool) {
	end := bytes.Index(got, []byte("\r\n"))
	if end < 0 {
		if quiet { // one second may pass between two characters, but nobody here takes so long
			return nil, len(got), true
		}
		return nil, max(0, len(got)-2*maxFrame-17), true
	}
	used := end + 2
	start := bytes.LastIndexByte(got[:end], ':')
	if start < 0 {
		return nil, used, true
	}
	b, err := hex.DecodeString(string(got[start+1 : end]))
	if err != nil || len(b) < 3 || lrc(b[:len(b)-1]) != b[len(b)-1] {
		return nil, used, true
	}
	return &request{raw: bytes.Clone(got[start:used]), unit: b[0], pdu: b[1 : len(b)-1]}, used, true
}

func (ascii) wrap(_ *request, unit byte, pdu []byte) []byte {
	b := append([]byte{unit}, pdu...)
	b = append(b, lrc(b))
	return []byte(":" + strings.ToUpper(hex.EncodeToString(b)) + "\r\n")
}

// spoil changes the LRC to another digit.
func (ascii) spoil(f []byte) {
	if at := len(f) - 3; f[at] == '0' {
		f[at] = '1'
	} else {
		f[at] = '0'
	}
}
func (ascii) swap([]byte)              {}
func (ascii) broadcast(unit byte) bool { return unit == 0 }
