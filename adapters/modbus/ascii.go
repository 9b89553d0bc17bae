package modbus

import (
	"bytes"
	"encoding/hex"
)

// Of an ASCII frame (Modbus over serial line V1.02, 2.5.2): a colon, unit, PDU and LRC in hexadecimal, CR, LF.
const (
	asciiStart     = ':'
	asciiOverhead  = 1 + 2*2 + 2 // colon, unit and LRC, CR and LF
	asciiException = asciiOverhead + 2*2
	asciiMost      = asciiOverhead + 2*253 // unit and LRC with the longest PDU: 513 characters
)

// fromASCII reads a whole frame, with its colon and its CR LF: unit and PDU. ok is false when it is torn, has anything
// but hexadecimal digits, or the wrong LRC.
func fromASCII(frame []byte) (unit byte, pdu []byte, ok bool) {
	if len(frame) < asciiOverhead+2 || frame[0] != asciiStart || !bytes.HasSuffix(frame, []byte("\r\n")) {
		return 0, nil, false
	}
	digits := frame[1 : len(frame)-2]
	b := make([]byte, len(digits)/2)
	if _, err := hex.Decode(b, digits); err != nil {
		return 0, nil, false
	}
	var sum byte // the LRC makes the sum of all bytes 0
	for _, c := range b {
		sum += c
	}
	return b[0], b[1 : len(b)-1], sum == 0
}

// asciiFrames calls see with each whole frame in got, in order, until it says that it has seen enough. It gives what
// of got is of no use any more, and the least number of characters that are missing when shortest is the shortest
// answer that would do.
func asciiFrames(got []byte, shortest int, see func(frame []byte, unit byte, pdu []byte) (enough bool)) (used, missing int) {
	for {
		start := bytes.IndexByte(got[used:], asciiStart)
		if start < 0 {
			return len(got), shortest
		}
		used += start
		end := bytes.IndexByte(got[used:], '\n')
		again := bytes.IndexByte(got[used+1:], asciiStart)
		switch {
		case again >= 0 && (end < 0 || again+1 < end): // a colon begins a new frame, whatever was before it
			used += again + 1
		case end < 0 && len(got)-used > asciiMost:
			used++
		case end < 0:
			return used, max(1, shortest-(len(got)-used))
		default:
			frame := got[used : used+end+1]
			used += end + 1
			if unit, pdu, ok := fromASCII(frame); ok && see(frame, unit, pdu) {
				return used, 0
			}
		}
	}
}

// findASCII looks for the answer among the frames that came.
func (d *Driver) findASCII(got []byte) (answer []byte, skip, missing int, err error) {
	q := &d.asked
	q.echo = false
	skip, missing = asciiFrames(got, asciiException, func(frame []byte, unit byte, pdu []byte) bool {
		switch {
		case unit != q.unit:
		case d.isEcho(frame):
			q.echo = true
		case pdu[0] == q.pdu[0]|exceptionBit && len(pdu) == 2, pdu[0] == q.pdu[0] && q.whole(pdu):
			answer = frame
		case pdu[0] == q.pdu[0]:
			q.fault = q.mismatch(pdu)
		}
		return answer != nil
	})
	return answer, skip, missing, nil
}

// findStrayASCII looks for any whole frame with the unit and the function of the question.
func (d *Driver) findStrayASCII(got []byte) (answer []byte, skip, missing int, err error) {
	q := &d.asked
	skip, missing = asciiFrames(got, asciiException, func(frame []byte, unit byte, pdu []byte) bool {
		if unit == q.unit && pdu[0]&^exceptionBit == q.pdu[0] {
			answer = frame
		}
		return answer != nil
	})
	return answer, skip, missing, nil
}
