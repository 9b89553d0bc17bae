package modbus

import (
	"encoding/binary"
	"time"
)

// Function codes that the simulator serves (application protocol V1.1b3, section 6).
const (
	readCoils       = 0x01
	readDiscretes   = 0x02
	readHoldings    = 0x03
	readInputs      = 0x04
	writeCoil       = 0x05
	writeRegister   = 0x06
	writeCoils      = 0x0F
	writeRegisters  = 0x10
	readWriteRegs   = 0x17
	exceptionBit    = 0x80
	illegalFunction = 0x01
	illegalAddress  = 0x02
	illegalValue    = 0x03

	maxFrame = 256 // of RTU (serial line V1.02, 2.5.1)
)

// CRC16 is the checksum of RTU frames, polynomial 0xA001 reflected, start value 0xFFFF; it goes on the wire low byte
// first (Modbus over serial line V1.02, 6.2.2).
func CRC16(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			carry := crc & 1
			crc >>= 1
			if carry != 0 {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// request is one frame from the master.
type request struct {
	raw         []byte // as it came
	transaction uint16 // TCP only
	unit        byte
	pdu         []byte // function code and data
}

// framing finds requests in a byte stream and wraps answers.
type framing interface {
	// next looks at what has come. It gives the first request in it, or nil, and how many bytes are done with. quiet
	// says that nothing more came for a while: what cannot become a request any more is thrown away. ok is false when
	// the stream is beyond repair.
	next(got []byte, quiet bool) (r *request, used int, ok bool)
	// wrap makes the answer's frame for a PDU of a unit.
	wrap(r *request, unit byte, pdu []byte) []byte
	// spoil makes the frame one that a master must not believe.
	spoil(frame []byte)
	// swap gives the frame another transaction than the one that was asked.
	swap(frame []byte)
	// broadcast says that the unit id means every unit, and no answer.
	broadcast(unit byte) bool
}

// rtu is the framing of serial lines: unit, PDU, CRC.
type rtu struct{}

// rtuRequestLength is how long a request is in all, from its first bytes: 0 when more of them are needed, -1 for a
// function whose length is not known.
func rtuRequestLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	counted := func(at int) int {
		if len(b) <= at {
			return 0
		}
		return at + 1 + int(b[at]) + 2
	}
	switch b[1] {
	case readCoils, readDiscretes, readHoldings, readInputs, writeCoil, writeRegister:
		return 8
	case writeCoils, writeRegisters:
		return counted(6)
	case readWriteRegs:
		return counted(10)
	case reportServerID:
		return 4
	case readQueue:
		return 6
	case encapsulated:
		return 7 // of device identification; the other interfaces are not served
	case maskWrite:
		return 10
	}
	return -1
}

func rtuFrame(b []byte) *request {
	raw := append([]byte(nil), b...)
	return &request{raw: raw, unit: raw[0], pdu: raw[1 : len(raw)-2]}
}

func validCRC(b []byte) bool {
	return len(b) >= 4 && CRC16(b[:len(b)-2]) == binary.LittleEndian.Uint16(b[len(b)-2:])
}

func (rtu) next(got []byte, quiet bool) (*request, int, bool) {
	// A slave on a real line finds frames by silence. Here bytes come in lumps, so the length says where a frame
	// ends, and where that fails the search goes on with the next byte. Only silence makes garbage of the rest, and
	// only silence ends a request whose function, and so whose length, is not known.
	for at := range got {
		rest := got[at:]
		if n := rtuRequestLength(rest); n > 0 && n <= len(rest) && validCRC(rest[:n]) {
			return rtuFrame(rest[:n]), at + n, true
		}
	}
	switch {
	case quiet && validCRC(got):
		return rtuFrame(got), len(got), true
	case quiet:
		return nil, len(got), true
	default:
		return nil, max(0, len(got)-2*maxFrame), true
	}
}

func (rtu) wrap(_ *request, unit byte, pdu []byte) []byte {
	f := append([]byte{unit}, pdu...)
	return binary.LittleEndian.AppendUint16(f, CRC16(f))
}

func (rtu) spoil(f []byte)           { f[len(f)-1] ^= 0x5A }
func (rtu) swap([]byte)              {}
func (rtu) broadcast(unit byte) bool { return unit == 0 }

// mbap is the framing of Modbus TCP: transaction, protocol 0, length, unit, PDU.
type mbap struct{}

func (mbap) next(got []byte, _ bool) (*request, int, bool) {
	if len(got) < 7 {
		return nil, 0, true
	}
	length := int(binary.BigEndian.Uint16(got[4:]))
	if binary.BigEndian.Uint16(got[2:]) != 0 || length < 2 || length > 254 {
		return nil, 0, false
	}
	if len(got) < 6+length {
		return nil, 0, true
	}
	raw := append([]byte(nil), got[:6+length]...)
	return &request{raw: raw, transaction: binary.BigEndian.Uint16(raw), unit: raw[6], pdu: raw[7:]}, len(raw), true
}

func (mbap) wrap(r *request, unit byte, pdu []byte) []byte {
	f := binary.BigEndian.AppendUint16(nil, r.transaction)
	f = append(f, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(pdu)+1))
	f = append(f, unit)
	return append(f, pdu...)
}

func (mbap) spoil(f []byte)      { f[2] ^= 0x5A }
func (mbap) swap(f []byte)       { f[0] ^= 0x5A }
func (mbap) broadcast(byte) bool { return false }

// Wire is the pace of a serial line. The zero Wire is as fast as the machine.
type Wire struct {
	Baud       int           // bits per second; 0: no pacing
	Bits       int           // of one character, with start, parity and stop bits: 10 for 8N1, 11 for 8E1; 0 means 11
	Turnaround time.Duration // between the request's last bit and the answer's first; at least t3.5 on a paced wire
	FIFO       int           // bytes that the receiver's UART hands over together; 0 means 8, as a 16550A is set
}

// Char is the wire time of one character; 0 without pacing.
func (w Wire) Char() time.Duration {
	if w.Baud == 0 {
		return 0
	}
	bits := w.Bits
	if bits == 0 {
		bits = 11
	}
	return time.Duration(bits) * time.Second / time.Duration(w.Baud)
}

// Silence is t3.5, the least silence between two frames: 1.75 ms above 19200 baud (Modbus over serial line V1.02,
// 2.5.1.1); 0 without pacing.
func (w Wire) Silence() time.Duration {
	if w.Baud > 19200 {
		return 1750 * time.Microsecond
	}
	return w.Char() * 7 / 2
}

// Cycle is the least time of one whole exchange on the wire, from the first bit of the request to the moment at which
// the next request may begin: the yardstick for a master.
func (w Wire) Cycle(requestBytes, answerBytes int) time.Duration {
	return time.Duration(requestBytes+answerBytes)*w.Char() + max(w.Silence(), w.Turnaround) + w.Silence()
}

func (w Wire) fifo() int {
	if w.FIFO > 0 {
		return w.FIFO
	}
	return 8
}
