//go:build linux && (amd64 || arm64)

package powercut

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mode says what a cut leaves of the writes since the last flush.
type Mode string

// The modes of a cut.
const (
	None   Mode = "none"   // nothing
	Random Mode = "random" // each write with one chance in two
	Torn   Mode = "torn"   // of each write a random number of its first sectors
)

// Modes lists them.
var Modes = [...]Mode{None, Random, Torn}

const sector = 512

// Disk is a disk with a volatile write cache, as a file of a FUSE file system. Its methods may be called from any
// goroutine.
type Disk struct {
	fs.Inode

	mu     sync.Mutex
	seen   []byte        // what a reader gets
	stable []byte        // what survives
	cached []write       // seen, and not stable
	off    bool          // the power is cut
	dead   chan struct{} // closed when those who still wait for the disk may know

	Flushes, Written uint64 // flushes, and bytes written; to be read after the cut
}

type write struct {
	at   int64
	data []byte
}

// NewDisk makes a disk that holds the image, which it takes over.
func NewDisk(image []byte) *Disk {
	return &Disk{stable: image, seen: append([]byte(nil), image...), dead: make(chan struct{})}
}

// Cut takes the power away, and gives the image that is left. From then on the disk answers reads alone: who writes or
// flushes waits until Release, and so never takes for stable what is not.
func (d *Disk) Cut(m Mode, r *rand.Rand) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	for _, w := range d.cached {
		n := 0
		switch {
		case m == Random && r.IntN(2) == 0:
			n = len(w.data)
		case m == Torn:
			n = min(len(w.data), r.IntN(len(w.data)/sector+1)*sector)
		}
		copy(d.stable[w.at:], w.data[:n])
	}
	d.cached = nil
	return d.stable
}

// Release fails what waits for the disk, once those who wait were killed.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	select {
	case <-d.dead:
	default:
		close(d.dead)
	}
}

// powered says whether there is power; when not it waits for Release. The caller holds the lock.
func (d *Disk) powered() bool {
	if d.off {
		d.mu.Unlock()
		<-d.dead
		d.mu.Lock()
	}
	return !d.off
}

const diskFile = "disk"

// folder is the file system's root; it holds the disk.
type folder struct {
	fs.Inode
	disk *Disk
}

var (
	_ fs.NodeOnAdder   = (*folder)(nil)
	_ fs.NodeGetattrer = (*Disk)(nil)
	_ fs.NodeSetattrer = (*Disk)(nil)
	_ fs.NodeOpener    = (*Disk)(nil)
	_ fs.NodeReader    = (*Disk)(nil)
	_ fs.NodeWriter    = (*Disk)(nil)
	_ fs.NodeFsyncer   = (*Disk)(nil)
)

// OnAdd puts the disk into the folder.
func (f *folder) OnAdd(ctx context.Context) {
	f.AddChild(diskFile, f.NewPersistentInode(ctx, f.disk, fs.StableAttr{Mode: syscall.S_IFREG}), false)
}

// Getattr tells the disk's size.
func (d *Disk) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, uint64(len(d.seen))
	return 0
}

// Setattr changes nothing: a disk has its size.
func (d *Disk) Setattr(ctx context.Context, h fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.Getattr(ctx, h, out)
}

// Open allows everything.
func (d *Disk) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) { return nil, 0, 0 }

// Read gives what was written last, flushed or not.
func (d *Disk) Read(_ context.Context, _ fs.FileHandle, into []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at >= int64(len(d.seen)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(into[:copy(into, d.seen[at:])]), 0
}

// Write takes data into the cache.
func (d *Disk) Write(_ context.Context, _ fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.powered():
		return 0, syscall.EIO
	case at+int64(len(data)) > int64(len(d.seen)):
		return 0, syscall.ENOSPC
	}
	copy(d.seen[at:], data)
	d.cached = append(d.cached, write{at, append([]byte(nil), data...)})
	d.Written += uint64(len(data))
	return uint32(len(data)), 0
}

// Fsync is a flush: what is cached becomes stable.
func (d *Disk) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.powered() {
		return syscall.EIO
	}
	for _, w := range d.cached {
		copy(d.stable[w.at:], w.data)
	}
	d.cached = d.cached[:0]
	d.Flushes++
	return 0
}
