// Package interop holds our Modbus against other people's: mbpoll and pymodbus read the simulator, and the
// driver reads a libmodbus and a pymodbus server. It has no code besides its tests, which skip, and say what to install, where a peer is missing.
//
// It promises that no side of a test shares code with the other. A reader may not assume that a peer is right: where it
// is known to differ from the specification, the test says so.
package interop
