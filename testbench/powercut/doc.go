// Package powercut is a machine whose power can be cut: a disk with a volatile cache under a real ext4, on which the
// code under test works in a process of its own.
//
//	process ─ ext4 ─ loop device ─ one file of a FUSE file system ─ Disk
//
// Each flush of the block layer arrives at the Disk as an fsync. A cut keeps what was flushed, and of what was written
// since nothing, a random part, or torn sectors, as the Mode says. From then on the disk answers no write and no flush, so
// that what the process claims to be durable was so before the cut, until it is killed. The image that the cut left
// starts the next machine: its file system replays its journal, and the store must open.
//
// The package promises that the cut falls between two writes of the disk's, and that everything goes when the process
// ends in whose mount namespace the machine was made (see Inside). A caller may not assume that the disk keeps the
// order of writes between two flushes, or that it is fast. It needs root, /dev/fuse, loop devices and mkfs.ext4, and
// does not exist on 32 bits; Missing tells.
//
// The package's own test drives the buffer on such a machine:
//
//	go test ./testbench/powercut -v -rounds 300
package powercut
