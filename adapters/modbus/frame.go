package modbus

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/goburrow/modbus"
)

const (
	exceptionBit  = 0x80
	exceptionSize = 5   // of a whole RTU frame: unit, function, code, CRC
	headerSize    = 7   // of MBAP: transaction, protocol, length, unit
	maxLength     = 254 // of what MBAP's length counts: unit and PDU
	mostPDU       = 253 // bytes (Modbus Application Protocol V1.1b3, 4.1)
)

// question is what was sent last, and so what an answer must look like.
type question struct {
	adu      []byte
	pdu      []byte // the part of adu from the function code on, without a CRC
	packager modbus.Packager
	unit     byte
	answer   int    // size of a normal answer's PDU, by what was asked for; 0 where the answer itself tells it
	same     int    // how much of the PDU the answer repeats: a write's address, and value or quantity
	twin     bool   // the whole answer is the request again (functions 5 and 6), so an echo looks like it
	fault    string // what was wrong with the last answer that was no answer to this; "" when none came
	late     int    // answers of earlier requests that came
	echo     bool   // the request itself came back
}

// ask makes the question that adu asks.
func ask(adu, pdu []byte, unit byte, packager modbus.Packager) question {
	q := question{adu: adu, pdu: pdu, unit: unit, packager: packager}
	quantity := 0
	if len(pdu) >= 5 {
		quantity = int(binary.BigEndian.Uint16(pdu[3:]))
	}
	switch pdu[0] {
	case modbus.FuncCodeReadCoils, modbus.FuncCodeReadDiscreteInputs:
		q.answer = 2 + (quantity+7)/8
	case modbus.FuncCodeReadHoldingRegisters, modbus.FuncCodeReadInputRegisters, modbus.FuncCodeReadWriteMultipleRegisters:
		q.answer = 2 + 2*quantity
	case modbus.FuncCodeWriteSingleCoil, modbus.FuncCodeWriteSingleRegister:
		q.answer, q.same, q.twin = 5, 5, true
	case modbus.FuncCodeMaskWriteRegister:
		q.answer, q.same, q.twin = 7, 7, true
	case modbus.FuncCodeReadFIFOQueue, funcReportServerID: // nothing of the answer is known before
	case funcEncapsulated:
		q.same = 3 // the type of the interface and the code of the device identification
	default: // 15 and 16
		q.answer, q.same = 5, 5
	}
	return q
}

// fits says whether a PDU, of which perhaps only the beginning is here, can be the normal answer.
func (q *question) fits(pdu []byte) bool {
	if q.same > 0 {
		n := min(len(pdu), q.same)
		return bytes.Equal(pdu[:n], q.pdu[:n])
	}
	return q.answer == 0 || len(pdu) < 2 || int(pdu[1]) == q.answer-2
}

// whole says whether the PDU is the normal answer in full, no more and no less.
func (q *question) whole(pdu []byte) bool {
	size, known := q.answer, true
	if size == 0 {
		size, known = answerLength(pdu)
	}
	return known && len(pdu) == size && q.fits(pdu)
}

// mismatch describes a PDU of the right function that does not fit.
func (q *question) mismatch(pdu []byte) string {
	if q.same > 0 {
		return fmt.Sprintf("the device confirmed another write: % x instead of % x", pdu[1:min(len(pdu), 5)], q.pdu[1:5])
	}
	if q.answer == 0 {
		return fmt.Sprintf("the answer to function %d is torn", q.pdu[0])
	}
	return fmt.Sprintf("the device answered %d bytes where %d were asked for", len(pdu)-2, q.answer-2)
}

// findRTU looks for the answer byte by byte, because noise, our own echo and frames of other units may stand before
// it. The first place where the header of an answer stands is waited for until it is complete; where its checksum then
// fails, the search goes on one byte later.
func (d *Driver) findRTU(got []byte) (answer []byte, skip, missing int, err error) {
	q := &d.asked
	q.echo = false
	for i := 0; i < len(got); {
		b := got[i:]
		if b[0] != q.unit {
			i++
			continue
		}
		if d.isEcho(b) {
			q.echo = true
			i += len(q.adu)
			continue
		}
		size := q.sizeAt(b)
		switch {
		case size == 0:
			i += q.passOver(b)
		case len(b) < size:
			return nil, i, size - len(b), nil
		case q.intact(b[:size]):
			return b[:size], i + size, 0, nil
		default:
			i++
		}
	}
	return nil, len(got), exceptionSize, nil
}

// isEcho recognises our own request, as two-wire adapters give it back. The confirmation of functions 5 and 6 is the
// same bytes: there the first copy is the echo on a line that is known to echo, and no copy is elsewhere.
func (d *Driver) isEcho(b []byte) bool {
	q := &d.asked
	if q.twin && (d.echoes == 0 || q.echo) {
		return false
	}
	return bytes.HasPrefix(b, q.adu)
}

// sizeAt gives the size of the answer whose header stands at the beginning of b, 0 when none does. A header of which
// not enough is here yet counts as the shortest that it can become.
func (q *question) sizeAt(b []byte) int {
	if len(b) < 2 {
		return exceptionSize
	}
	switch b[1] {
	case q.pdu[0] | exceptionBit:
		return exceptionSize
	case q.pdu[0]:
		size := q.answer
		if size == 0 {
			size, _ = answerLength(b[1:])
		}
		if size <= mostPDU && q.fits(b[1:min(len(b), size+1)]) {
			return size + 3
		}
	}
	return 0
}

// passOver says how many bytes of b, which do not begin an answer, are done with: a whole frame when it is one of the
// unit and the function asked, but not to this question; else one byte.
func (q *question) passOver(b []byte) int {
	size := frameSize(b)
	if b[1] != q.pdu[0] || size <= 0 || len(b) < size || !q.intact(b[:size]) {
		return 1
	}
	q.fault = q.mismatch(b[1 : size-2])
	return size
}

// frameSize gives the size of an RTU answer by its own header, 0 when that cannot be told yet, -1 when there is no such
// frame.
func frameSize(b []byte) int {
	if len(b) < 3 {
		return 0
	}
	length, known := answerLength(b[1:])
	switch {
	case length == 0:
		return 8
	case length > mostPDU:
		return -1
	case !known:
		return 0
	default:
		return length + 3
	}
}

// intact checks the CRC.
func (q *question) intact(frame []byte) bool {
	_, err := q.packager.Decode(frame)
	return err == nil
}

// findStray looks for any whole frame with the unit and the function of the question: the late answer, or exception,
// of a request that was given up.
func (d *Driver) findStray(got []byte) (answer []byte, skip, missing int, err error) {
	q := &d.asked
	for i := range got {
		b := got[i:]
		if b[0] != q.unit || len(b) > 1 && b[1]&^exceptionBit != q.pdu[0] {
			continue
		}
		size := frameSize(b)
		if size < 0 {
			continue
		}
		if size == 0 {
			return nil, i, max(1, exceptionSize-len(b)), nil
		}
		if len(b) < size {
			return nil, i, size - len(b), nil
		}
		if q.intact(b[:size]) {
			return b[:size], i + size, 0, nil
		}
	}
	return nil, len(got), exceptionSize, nil
}

// findTCP reads frame after frame until one belongs to our transaction. What has the transaction and yet is no answer
// is given back all the same, with question.fault set: no better one will come.
func (d *Driver) findTCP(got []byte) (answer []byte, skip, missing int, err error) {
	q := &d.asked
	for {
		b := got[skip:]
		if len(b) < headerSize-1 {
			return nil, skip, headerSize + 2 - len(b), nil
		}
		protocol, length := binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:]))
		if protocol != 0 || length < 3 || length > maxLength {
			return nil, skip, 0, fmt.Errorf("this is no Modbus TCP: protocol id %d, length %d", protocol, length)
		}
		size := headerSize - 1 + length
		if len(b) < size {
			return nil, skip, size - len(b), nil
		}
		skip += size
		b = b[:size]
		pdu := b[headerSize:]
		switch {
		case !bytes.Equal(b[:2], q.adu[:2]):
			q.late++
		case !sameUnit(b[headerSize-1], q.unit):
			q.fault = fmt.Sprintf("unit %d answered instead of unit %d", b[headerSize-1], q.unit)
		case pdu[0] == q.pdu[0]|exceptionBit && len(pdu) == 2:
			q.fault = ""
			return b, skip, 0, nil
		case pdu[0] != q.pdu[0]:
			q.fault = fmt.Sprintf("the device answered function %d instead of %d", pdu[0], q.pdu[0])
		default:
			if !q.whole(pdu) {
				q.fault = q.mismatch(pdu)
			} else {
				q.fault = ""
			}
			return b, skip, 0, nil
		}
	}
}

// sameUnit lets a device that is alone behind its TCP address answer as 0 or as 255, whichever of the two it was
// called by. Behind a gateway, where units differ, it must be the very one.
func sameUnit(answered, asked byte) bool {
	alone := func(unit byte) bool { return unit == 0 || unit == 255 }
	return answered == asked || alone(answered) && alone(asked)
}
