// Package modbus is a Modbus slave simulator: the other end of the wire for tests, for the demo and for benchmarks.
// It serves Modbus TCP, RTU and ASCII on a serial port or a pty (at the wire's own pace), and both of them over TCP.
//
//	port ─ framing (RTU, ASCII, TCP) ─ Server ─ Unit: tables, holes, generators, witness
//	                               └─ faults: what to do to the answer on its way back
//
// Its codec is written from the specifications (Modbus application protocol V1.1b3, Modbus over serial line V1.02,
// Modbus messaging on TCP/IP V1.0b) and shares nothing with the code under test, so that a wrong codec cannot agree
// with itself.
//
// It promises that bytes of a paced answer appear no earlier than the wire could have brought them, that what a unit
// answers and how its faults fall is determined by the seed and by the order of that unit's own requests, and that
// Serve functions have ended everything they began when they return. A caller may not assume that a paced answer is
// on time to the microsecond: a busy machine is late, never early.
package modbus
