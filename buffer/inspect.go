package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4/fb"
)

// inspectFor is how long opening the store may take to read its tables. With a card that reads 20 MB a second that is
// 40 MB; of older tables only the index is looked at.
const inspectFor = 2 * time.Second

// inspect looks at every table that Badger's list names, the youngest first. Badger itself leaves out a table whose
// index has a wrong checksum and says so in its log alone; over other damage it ends the process, at opening or when it
// compacts; and what it makes of a damaged block is not what was written.
func inspect(dir string) error {
	listed, err := tables(dir)
	if err != nil {
		return nil // Badger will refuse it, or make a new one
	}
	until := time.Now().Add(inspectFor)
	ids := slices.Sorted(maps.Keys(listed))
	slices.Reverse(ids)
	for _, id := range ids {
		name := fmt.Sprintf("%06d.sst", id)
		if err := inspectTable(filepath.Join(dir, name), until); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

var (
	errIndex = errors.New("its index is damaged")
	errBlock = errors.New("a block of it is damaged")
)

// inspectTable checks a table's index against its checksum, and until some time its blocks. At the table's end stand:
// the index, its length, the checksum, the checksum's length; lengths are four bytes, big endian.
func inspectTable(name string, until time.Time) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	part := func(length int64) ([]byte, error) {
		if length <= 0 || length > end {
			return nil, errIndex
		}
		end -= length
		b := make([]byte, length)
		_, err := f.ReadAt(b, end)
		return b, err
	}
	var parts [2][]byte // the checksum, the index
	for i := range parts {
		length, err := part(4)
		if err == nil {
			parts[i], err = part(int64(binary.BigEndian.Uint32(length)))
		}
		if err != nil {
			return err
		}
	}
	if !sumFits(parts[0], parts[1]) {
		return errIndex
	}
	index := fb.GetRootAsTableIndex(parts[1], 0)
	for i := 0; i < index.OffsetsLength() && time.Now().Before(until); i++ {
		var at fb.BlockOffset
		if !index.Offsets(&at, i) || int64(at.Offset())+int64(at.Len()) > end || at.Len() < 8 {
			return errIndex
		}
		b := make([]byte, at.Len())
		if _, err := f.ReadAt(b, int64(at.Offset())); err != nil {
			return err
		}
		// The checksum stands at the block's end, and behind it its length.
		length := binary.BigEndian.Uint32(b[len(b)-4:])
		if int64(length) > int64(len(b)-4) {
			return errBlock
		}
		body := len(b) - 4 - int(length)
		if !sumFits(b[body:len(b)-4], b[:body]) {
			return errBlock
		}
	}
	return nil
}

// sumFits checks Badger's checksum of b: a protobuf message of an algorithm, which is left out when it is CRC-32C, as
// field 1, and the sum as field 2.
func sumFits(sum, b []byte) bool {
	if len(sum) < 2 || sum[0] != 2<<3 {
		return false
	}
	want, n := binary.Uvarint(sum[1:])
	return n == len(sum)-1 && want == uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}
