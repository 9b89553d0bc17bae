// Package config turns one file plus drop-ins into checked structs.
//
// It promises that every fault is reported, not just the first, each with file, line and column, what stands there,
// what is allowed and what to do next; that nothing is silently skipped; and that a Config holds only lines and
// devices that can run, so that one bad device does not stop the others. It opens no device and no connection.
package config
