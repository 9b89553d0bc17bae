// Package modbus reads and writes devices on Modbus RTU, ASCII and TCP, and on the first two over TCP: it plans which
// registers are asked for together, decodes what comes back, and learns what a device refuses.
//
//	field.Device ── Bind ──▶ Station: points ── plan ──▶ blocks ── ask ──▶ link.Line
//	                            ▲                          │
//	                            └── learns: refused points, holes, limits, turnaround
//
// PDUs, CRC, packing and exceptions are goburrow/modbus's; its transports are not used. The framers of this package
// take an answer only when it is one to what was asked: unit, function, length and checksum on a serial line, the
// transaction besides on TCP. A serial line has no transactions, so after a request that was not answered the next
// one that its late answer would fit waits for that answer first (Options.Guard).
//
// The package promises that no value is given that did not come in an answer to this very request, that an address
// which the device refuses costs its own point alone, and that nothing is sent twice by itself. A caller may not
// assume that two tags of one group were read by one request, nor that two Drivers may share a line.
package modbus
