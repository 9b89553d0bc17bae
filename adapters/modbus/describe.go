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
