// Package iec62056 reads meters on IEC 62056-21 (once IEC 1107): the readout in modes A, B, C and D, and single
// registers in programming mode. It agrees with the meter on a faster rate where the line can change its own.
//
// A tag's address is the data set's as the meter prints it, "1.8.0" or "1-0:1.8.0*255"; parts that the tag leaves out
// may be anything. The package promises that a value is given only from a whole readout with the right check character
// (mode D has none), and that a number whose unit the meter prints is in the tag's unit. A caller may not assume that a
// readout is quick: at 300 baud it takes half a minute. A meter is alone on its line unless it has an address.
package iec62056
