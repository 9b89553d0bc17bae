package modbus

import (
	"encoding/binary"

	"github.com/goburrow/modbus"
)

// Functions that goburrow has no names for (Modbus Application Protocol V1.1b3, 6.13 and 6.21).
const (
	funcReportServerID = 0x11
	funcEncapsulated   = 0x2B
	meiDeviceID        = 0x0E
)

// answerLength is how long an answer's PDU is, as far as its beginning tells: exactly when known, else the least that
// it can be. It is for answers that say their length themselves; 0 is of functions which it does not know.
func answerLength(pdu []byte) (length int, known bool) {
	switch {
	case len(pdu) == 0:
		return 1, false
	case pdu[0]&exceptionBit != 0:
		return 2, true
	}
	switch pdu[0] {
	case modbus.FuncCodeReadCoils, modbus.FuncCodeReadDiscreteInputs, modbus.FuncCodeReadHoldingRegisters,
		modbus.FuncCodeReadInputRegisters, modbus.FuncCodeReadWriteMultipleRegisters, funcReportServerID:
		if len(pdu) < 2 {
			return 2, false
		}
		return 2 + int(pdu[1]), true
	case modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteSingleRegister, modbus.FuncCodeWriteMultipleCoils,
		modbus.FuncCodeWriteMultipleRegisters:
		return 5, true
	case modbus.FuncCodeMaskWriteRegister:
		return 7, true
	case modbus.FuncCodeReadFIFOQueue:
		if len(pdu) < 3 {
			return 5, false
		}
		return 3 + int(binary.BigEndian.Uint16(pdu[1:])), true
	case funcEncapsulated:
		return deviceIDLength(pdu)
	}
	return 0, false
}

// deviceIDLength walks an answer of function 43/14: a head of 7 bytes, then objects of id, length and value.
func deviceIDLength(pdu []byte) (length int, known bool) {
	const head = 7
	if len(pdu) < head {
		return head, false
	}
	at := head
	for range pdu[head-1] {
		if len(pdu) < at+2 {
			return at + 2, false
		}
		at += 2 + int(pdu[at+1])
	}
	return at, true
}
