package field

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// A block is a run of records of one class in the form in which they are kept: by columns, so that what is alike
// stands together. Version 1 (integers are LEB128 varints, signed ones zigzag; see blockcolumn.go for the values):
//
//	byte     version = 1
//	byte     flags: bit 0 the body is compressed with zstd (RFC 8878)
//	4 bytes  CRC-32C of version, flags and all that follows, little endian
//	varint   length of the body before compression (only when compressed)
//	body     class, number of records, sequence numbers, stamps, then by class:
//	         readings: the groups' numbers in the dictionary, one group index a record, the columns of each group
//	         events:   kind, subject, text, members, with a table of the strings already seen
//	         replies:  length and bytes
//
// Group shapes stand outside, in a dictionary that the block's keeper owns, because hundreds of blocks share them.
const (
	blockVersion   = 1
	flagCompressed = 1 << 0
	blockHead      = 6 // version, flags, CRC
)

// The bounds of a block. An encoder refuses what is larger; a decoder that meets larger claims refuses them before it
// allocates, so that a damaged block costs no memory.
const (
	MaxBlockRecords = 1 << 16 // records in one block
	MaxBlockValues  = 1 << 18 // values (records × points, over all groups) in one block
	MaxBlockBytes   = 4 << 20 // bytes of the body before compression
)

// compressFrom is the body size, in bytes, from which compression is tried: about 50 readings. Below it zstd's own
// frame makes blocks bigger (measured), and its time is wasted.
const compressFrom = 200

// ErrBlock is what every decoding error wraps: the bytes are no block that this version can read.
var ErrBlock = errors.New("damaged block")

func castagnoli(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) // the standard library keeps this table
}

// BlockEncoder turns records into blocks. It keeps its buffers, so it is not safe for concurrent use.
type BlockEncoder struct {
	zstd    *zstd.Encoder
	body    []byte
	packed  []byte
	column  []Value
	strings map[string]uint64
}

// NewBlockEncoder makes an encoder. It holds about 0.5 MB once it has compressed something.
func NewBlockEncoder() *BlockEncoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(64<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("field: the zstd encoder refuses constant options: " + err.Error())
	}
	return &BlockEncoder{zstd: z, strings: map[string]uint64{}}
}

// Append encodes records as one block and appends it to dst. The records are of one class, at least one, in strictly
// rising order of Seq. id gives a group's number in the keeper's dictionary. Every Value comes back as it was, bit by
// bit; a Quality slice that says Good throughout comes back as nil. The error says which record cannot be encoded.
func (e *BlockEncoder) Append(dst []byte, records []Record, id func(*Group) uint32) ([]byte, error) {
	if len(records) == 0 || len(records) > MaxBlockRecords {
		return dst, fmt.Errorf("a block holds 1 to %d records, not %d", MaxBlockRecords, len(records))
	}
	class := records[0].Class()
	values := 0
	for i := range records {
		r := &records[i]
		if err := r.Check(); err != nil {
			return dst, fmt.Errorf("record %d: %w", r.Seq, err)
		}
		if r.Class() != class {
			return dst, fmt.Errorf("record %d: %s in a block of %s", r.Seq, r.Class(), class)
		}
		if i > 0 && r.Seq <= records[i-1].Seq {
			return dst, fmt.Errorf("record %d stands behind record %d", r.Seq, records[i-1].Seq)
		}
		values += len(r.Values)
	}
	if values > MaxBlockValues {
		return dst, fmt.Errorf("a block holds at most %d values, not %d", MaxBlockValues, values)
	}

	b := append(e.body[:0], byte(class))
	b = binary.AppendUvarint(b, uint64(len(records)))
	b = appendSequence(b, records)
	b = appendStamps(b, records)
	switch class {
	case Readings:
		b = e.appendGroups(b, records, id)
	case Events:
		b = e.appendEvents(b, records)
	default:
		for i := range records {
			b = binary.AppendUvarint(b, uint64(len(records[i].Reply)))
			b = append(b, records[i].Reply...)
		}
	}
	e.body = b
	if len(b) > MaxBlockBytes {
		return dst, fmt.Errorf("a block holds at most %d bytes, not %d", MaxBlockBytes, len(b))
	}

	start := len(dst)
	dst = append(dst, blockVersion, 0, 0, 0, 0, 0)
	if len(b) >= compressFrom {
		e.packed = e.zstd.EncodeAll(b, e.packed[:0])
	}
	if length := binary.AppendUvarint(nil, uint64(len(b))); len(b) >= compressFrom && len(e.packed)+len(length) < len(b) {
		dst[start+1] |= flagCompressed
		dst = append(append(dst, length...), e.packed...)
	} else {
		dst = append(dst, b...)
	}
	binary.LittleEndian.PutUint32(dst[start+2:], blockSum(dst[start:]))
	return dst, nil
}

// blockSum covers everything but itself.
func blockSum(b []byte) uint32 {
	return crc32.Update(castagnoli(b[:2]), crc32.MakeTable(crc32.Castagnoli), b[blockHead:])
}

// BlockDecoder turns blocks back into records. It is safe for concurrent use.
type BlockDecoder struct{ zstd *zstd.Decoder }

// NewBlockDecoder makes a decoder.
func NewBlockDecoder() *BlockDecoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxBlockBytes))
	if err != nil {
		panic("field: the zstd decoder refuses constant options: " + err.Error())
	}
	return &BlockDecoder{zstd: z}
}

// Decode reads one block. group gives the shape with a number of the dictionary, nil when there is none. The records
// share nothing with b. Any error wraps ErrBlock; no input makes Decode panic or allocate out of proportion.
func (d *BlockDecoder) Decode(b []byte, group func(uint32) *Group) ([]Record, error) {
	if len(b) < blockHead || b[0] != blockVersion || b[1]&^flagCompressed != 0 {
		return nil, fmt.Errorf("%w: unknown form", ErrBlock)
	}
	if binary.LittleEndian.Uint32(b[2:]) != blockSum(b) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrBlock)
	}
	body := b[blockHead:]
	if b[1]&flagCompressed != 0 {
		r := blockReader{b: body}
		length := r.uvarint()
		if r.bad || length > MaxBlockBytes {
			return nil, fmt.Errorf("%w: claims %d bytes", ErrBlock, length)
		}
		var err error
		if body, err = d.zstd.DecodeAll(r.b, make([]byte, 0, length)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBlock, err)
		}
		if uint64(len(body)) != length {
			return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrBlock, len(body), length)
		}
	}
	return decodeBody(body, group)
}

func decodeBody(body []byte, group func(uint32) *Group) ([]Record, error) {
	r := &blockReader{b: body}
	class := Class(r.byte())
	n := r.uvarint()
	// Each record costs a byte of stamps at least, so its count cannot exceed what is left.
	if n == 0 || n > MaxBlockRecords || n > uint64(len(r.b)) || class > Readings {
		return nil, fmt.Errorf("%w: %d records of class %d", ErrBlock, n, class)
	}
	records := make([]Record, n)
	r.sequence(records)
	r.stamps(records)
	switch class {
	case Readings:
		if err := r.groups(records, group); err != nil {
			return nil, err
		}
	case Events:
		r.events(records)
	default:
		for i := range records {
			records[i].Reply = append([]byte{}, r.take(r.uvarint())...)
		}
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: its parts do not add up", ErrBlock)
	}
	return records, nil
}

// appendSequence writes the first number and then runs: how many follow one another, how many are left out.
func appendSequence(b []byte, records []Record) []byte {
	b = binary.AppendUvarint(b, records[0].Seq)
	for i := 0; i < len(records); {
		run := 1
		for i+run < len(records) && records[i+run].Seq == records[i+run-1].Seq+1 {
			run++
		}
		b = binary.AppendUvarint(b, uint64(run))
		if i += run; i < len(records) {
			b = binary.AppendUvarint(b, records[i].Seq-records[i-1].Seq-1)
		}
	}
	return b
}

func (r *blockReader) sequence(records []Record) {
	seq := r.uvarint()
	for i := 0; i < len(records) && !r.bad; {
		run := r.uvarint()
		if run == 0 || run > uint64(len(records)-i) {
			r.bad = true
			return
		}
		for range run {
			records[i].Seq = seq
			i, seq = i+1, seq+1
		}
		if i < len(records) {
			seq += r.uvarint()
		}
	}
}

// appendStamps writes wall times as differences, then the monotonic times by how far they moved against the wall
// (0 but for jitter), then boots and trusts as runs.
func appendStamps(b []byte, records []Record) []byte {
	var wall, lag int64
	for i := range records {
		b = binary.AppendVarint(b, records[i].At.Wall-wall)
		wall = records[i].At.Wall
	}
	for i := range records {
		l := records[i].At.Mono - records[i].At.Wall
		b = binary.AppendVarint(b, l-lag)
		lag = l
	}
	b = appendRuns(b, len(records), func(i int) uint64 { return uint64(records[i].At.Boot) })
	return appendRuns(b, len(records), func(i int) uint64 { return uint64(records[i].At.Trust) })
}

func (r *blockReader) stamps(records []Record) {
	var wall, lag int64
	for i := range records {
		wall += r.varint()
		records[i].At.Wall = wall
	}
	for i := range records {
		lag += r.varint()
		records[i].At.Mono = records[i].At.Wall + lag
	}
	r.runs(len(records), 1<<32-1, func(i int, v uint64) { records[i].At.Boot = uint32(v) })
	r.runs(len(records), 1<<8-1, func(i int, v uint64) { records[i].At.Trust = Trust(v) })
}
