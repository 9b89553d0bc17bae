// Package interop holds our protocols against other people's: mbpoll and pymodbus read the Modbus simulator, the driver
// reads a libmodbus and a pymodbus server, and libmbus makes the same numbers of M-Bus telegrams as we do. It has no code
// besides its tests, which skip, and say what to install, where a peer is missing.
//
// It promises that no side of a test shares code with the other. A reader may not assume that a peer is right: where it
// is known to differ from the specification, the test says so.
package interop
