// Package nbd is a disk with a cache that forgets: a network block device for the machines of testbench/appliance.
//
// What is written is in the cache until the guest flushes; Cut takes the power away, after which each block that was
// not flushed is lost, kept, or torn, as a real drive may do. It promises that what was flushed, or written with FUA, is
// on the backing file before the guest hears so. A caller may not assume that the file holds anything else before Close
// or Cut. The protocol is the fixed newstyle handshake and simple replies of the NBD project's doc/proto.md.
package nbd
