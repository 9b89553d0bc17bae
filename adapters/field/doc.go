// Package field is the vocabulary of what is out there: devices, tags, values with their quality, the records that
// one read of a device yields, the events and replies that travel with them, and the few verbs that an adapter has.
//
// It is a leaf: it knows no protocol, no platform and no storage. It promises that a Value holds no interface and no
// pointer for numbers, that a Group is immutable once built (so it may be shared between goroutines by pointer), and
// that an encoded block can be decoded by any later version of this package (see block.go). A caller may not assume
// that a Record is safe to change once it was handed on: whoever receives one shares its slices.
package field
