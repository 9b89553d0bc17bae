// Package serial is for devices with a serial protocol of their own: a scale that prints a line, a transmitter that is
// asked with two bytes, a GNSS receiver. How such a device frames what it says, proves it by a checksum and is asked
// stands in its quirks; where its values stand is said by its tags.
//
// It promises that a value comes only from a frame that is whole, whose checksum is right and whose pattern fits, that
// a frame with a wrong checksum costs no more than itself (the next one that begins behind it is found), and that an
// answer which comes after its request was given up is never taken for the next one's. A caller may not assume that a
// device which speaks by itself can share its line with one that is asked: the line is listened to all the time.
package serial
