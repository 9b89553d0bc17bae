package modbus

import (
	"encoding/binary"
	"fmt"

	"github.com/goburrow/modbus"
)

// Describe says what a frame on the wire means, for people who read a trace: "unit 1: read input 0, 10 registers",
// "unit 1: 20 bytes of input", "unit 17: exception 2 (illegal data address)". sent is true for what we sent. What is
// no whole frame of the framing is said to be so; on serial lines the checksum is looked at.
func Describe(framing Framing, sent bool, frame []byte) string {
	unit, pdu := byte(0), []byte(nil)
	switch {
	case framing == TCP && len(frame) > headerSize && int(binary.BigEndian.Uint16(frame[4:])) == len(frame)-6:
		unit, pdu = frame[6], frame[headerSize:]
	case framing == ASCII:
		var ok bool
		if unit, pdu, ok = fromASCII(frame); !ok {
			return "no whole frame"
		}
	case framing == RTU && len(frame) >= 4 && whole(frame):
		unit, pdu = frame[0], frame[1:len(frame)-2]
	default:
		return "no whole frame"
	}
	return fmt.Sprintf("unit %d: %s", unit, describePDU(sent, pdu))
}

// whole checks the CRC of a frame that may be of any unit and function.
func whole(frame []byte) bool {
	h := modbus.NewRTUClientHandler("")
	h.SlaveId = frame[0]
	_, err := h.Decode(frame)
	return err == nil
}

func describePDU(sent bool, pdu []byte) string {
	code := pdu[0]
	if code&exceptionBit != 0 && len(pdu) > 1 {
		return fmt.Sprintf("exception %d (%s)", pdu[1], exceptionName(pdu[1]))
	}
	if s := describeOther(sent, pdu); s != "" {
		return s
	}
	space, unit := "", "registers"
	switch code {
	case modbus.FuncCodeReadCoils, modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteMultipleCoils:
		space, unit = "coil", "coils"
	case modbus.FuncCodeReadDiscreteInputs:
		space, unit = "discrete", "inputs"
	case modbus.FuncCodeReadInputRegisters:
		space = "input"
	case modbus.FuncCodeReadHoldingRegisters, modbus.FuncCodeWriteSingleRegister, modbus.FuncCodeWriteMultipleRegisters,
		modbus.FuncCodeReadWriteMultipleRegisters:
		space = "holding"
	default:
		return fmt.Sprintf("function %d, %d bytes", code, len(pdu)-1)
	}
	reads := code <= modbus.FuncCodeReadInputRegisters || code == modbus.FuncCodeReadWriteMultipleRegisters
	switch {
	case reads && !sent:
		return fmt.Sprintf("%d bytes of %s", len(pdu)-2, space)
	case len(pdu) < 5:
		return fmt.Sprintf("function %d, %d bytes", code, len(pdu)-1)
	}
	address, last := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	verb := "write"
	switch {
	case reads:
		return fmt.Sprintf("read %s %d, %d %s", space, address, last, unit)
	case !sent:
		verb = "confirmed"
	}
	if code == modbus.FuncCodeWriteMultipleCoils || code == modbus.FuncCodeWriteMultipleRegisters {
		return fmt.Sprintf("%s %s %d, %d %s", verb, space, address, last, unit)
	}
	return fmt.Sprintf("%s %s %d = %#04x", verb, space, address, last)
}

// describeOther describes the functions that move neither registers nor bits; "" for those that do.
func describeOther(sent bool, pdu []byte) string {
	switch code := pdu[0]; {
	case code == funcReportServerID && sent:
		return "report server id"
	case code == funcReportServerID && len(pdu) >= 2:
		return fmt.Sprintf("server id, %d bytes", len(pdu)-2)
	case code == funcEncapsulated && len(pdu) >= 2 && pdu[1] == meiDeviceID:
		if sent {
			return "read device identification"
		}
		return fmt.Sprintf("device identification, %d bytes", len(pdu)-2)
	case code == modbus.FuncCodeReadFIFOQueue && sent && len(pdu) >= 3:
		return fmt.Sprintf("read fifo %d", binary.BigEndian.Uint16(pdu[1:]))
	case code == modbus.FuncCodeReadFIFOQueue && len(pdu) >= 5:
		return fmt.Sprintf("fifo, %d registers", binary.BigEndian.Uint16(pdu[3:]))
	case code == modbus.FuncCodeMaskWriteRegister && len(pdu) >= 7:
		verb := "write"
		if !sent {
			verb = "confirmed"
		}
		return fmt.Sprintf("%s holding %d, and %#04x, or %#04x", verb, binary.BigEndian.Uint16(pdu[1:]),
			binary.BigEndian.Uint16(pdu[3:]), binary.BigEndian.Uint16(pdu[5:]))
	}
	return ""
}
