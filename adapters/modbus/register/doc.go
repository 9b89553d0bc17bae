// Package register is what lies in a Modbus device and how it is read: address spaces and spans of them, the types that
// a value can have in registers, tags bound to their places, and the search for an encoding that nobody wrote down. It
// does no I/O.
//
// It promises that what Decode gives is a value of the point's kind or has a quality that says why not, and that what
// is encoded decodes to the same within the point's scale. A caller may not assume that a point lies in one place for
// ever: those of a device that describes itself are found by a walk.
package register
