// Package dlt645 reads and writes meters on DL/T 645-2007 and DL/T 645-1997: single data items and whole blocks,
// answers in several frames, the meter's clock, freeze, and writing with a password.
//
// A tag's address is the data identifier in hexadecimal, eight digits for a meter of 2007 ("00010000") and four for
// one of 1997 ("9010"), or one of the words "clock" and "freeze". Formats of the usual identifiers are known; for
// others the tag's type is the format in the standard's own notation ("XXXXXX.XX", "±XX.XXXX").
//
// The package promises that a value is given only when it came in an answer of this meter to this very identifier,
// with the right checksum and length, and that the sign bit is read where the standard has one. A caller may not
// assume that two tags of one group were read by one request, nor that two Drivers may share a line.
package dlt645
