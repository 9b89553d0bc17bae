package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/adapters/field"
)

// relic is a store on flash that nobody uses: one that was set aside, mostly. It is read byte by byte, without Badger,
// whose index may be what is damaged: blocks and notes are known by themselves. Nothing in it is changed.
type relic struct {
	dir    string
	files  []string // names, those first that were written last
	shapes map[uint32]*field.Group
	tracks map[trackKey]track // of each destination's number, the furthest
	names  map[uint8]string   // of the destinations' numbers; nil when that is not known
	dec    *field.BlockDecoder
	survey Survey
	parts  map[partKey]*Part
	seen   map[blockID]bool // whether the block could be read
	taken  map[partKey]ranges
}

type (
	trackKey struct {
		number uint8
		class  field.Class
	}
	partKey struct {
		class field.Class
		epoch uint32
	}
	blockID struct {
		first, end, shift uint64
		epoch             uint32
	}
)

// rest is a record that was found in a relic, and who lacks it: nil when that is not known.
type rest struct {
	epoch  uint32
	owedTo []string
	record field.Record
	pos    uint64 // in its store
	owed   mask   // of its store's numbers of destinations
}

// Verify reads the store in a folder that nobody uses (one that was set aside, or "db" of a daemon that does not run)
// and calls each, unless it is nil, for every record that is owed to somebody. Records come about in the order in which
// they were stored. It stops at each's first error, or ctx's. Whether the store could be opened is another question.
func Verify(ctx context.Context, folder string, each func(epoch uint32, r field.Record) error) (Survey, error) {
	r, err := openRelic(folder)
	if err != nil {
		return Survey{}, err
	}
	err = r.each(ctx, func(found []rest) error {
		for _, f := range found {
			if each == nil {
				return nil
			}
			if err := each(f.epoch, f.record); err != nil {
				return err
			}
		}
		return nil
	})
	return r.finish(), err
}

var errNoRelic = errors.New("no store")

// openRelic looks at a folder and reads the notes in it.
func openRelic(dir string) (*relic, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	r := &relic{dir: dir, shapes: map[uint32]*field.Group{}, tracks: map[trackKey]track{}, dec: field.NewBlockDecoder(),
		parts: map[partKey]*Part{}, seen: map[blockID]bool{}, taken: map[partKey]ranges{}}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".sst" || ext == ".mem") {
			r.files = append(r.files, e.Name())
		}
	}
	if len(r.files) == 0 {
		return nil, fmt.Errorf("%s: %w: it has neither tables (*.sst) nor logs (*.mem)", dir, errNoRelic)
	}
	// Tables are older than logs, and of each kind the lower number is older.
	slices.SortFunc(r.files, func(a, b string) int {
		if c := strings.Compare(filepath.Ext(b), filepath.Ext(a)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for _, name := range r.files {
		_ = r.windows(name, true, func(b []byte, _ int64) error { r.notes(b); return nil }) // told of below
	}
	r.survey.Trouble = nil
	return r, nil
}

// The parts in which a file is read: a value that begins in one ends within the overlap. Notes sort behind all blocks,
// so they stand near the end of a table.
const (
	windowSize = 1 << 20
	overlap    = 2 * txnBytes
	notesTail  = 1 << 20
)

// windows reads a file, or the part of it where notes stand, window by window. A part that the disk does not give is
// left out.
func (r *relic) windows(name string, tail bool, do func(b []byte, at int64) error) error {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		r.survey.Trouble = append(r.survey.Trouble, err.Error())
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		r.survey.Trouble = append(r.survey.Trouble, err.Error())
		return nil
	}
	at := int64(0)
	if tail && filepath.Ext(name) == ".sst" {
		at = max(0, info.Size()-notesTail)
	}
	buf := make([]byte, windowSize+overlap)
	for ; at < info.Size(); at += windowSize {
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			r.survey.Trouble = append(r.survey.Trouble, fmt.Sprintf("%s, from byte %d: %v", name, at, err))
		}
		if len(bytes.TrimRight(buf[:n], "\x00")) == 0 {
			continue // logs have a hole at their end
		}
		if err := do(buf[:n], at); err != nil {
			return err
		}
	}
	return nil
}

// notes takes in the notes in b.
func (r *relic) notes(b []byte) {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], noteMark)
		if n < 0 {
			return
		}
		i += n
		of, text, _, ok := readNote(b[i:])
		switch {
		case !ok:
		case of == ofShape && len(text) > 4:
			if g, err := field.DecodeGroup(text[4:]); err == nil {
				r.shapes[binary.BigEndian.Uint32(text)] = g
			}
		case of == ofCursor && len(text) > 2:
			var t track
			k := trackKey{text[0], field.Class(text[1])}
			if t.parse(text[2:]) == nil && t.low >= r.tracks[k].low {
				r.tracks[k] = t
			}
		case of == ofMeta:
			var m meta
			if json.Unmarshal(text, &m) == nil {
				r.names = map[uint8]string{}
				for name, number := range m.Destinations {
					r.names[number] = name
				}
			}
		}
	}
}

// each finds every block, and calls do for the records of each that are owed to somebody.
func (r *relic) each(ctx context.Context, do func([]rest) error) error {
	for _, name := range r.files {
		r.survey.Files++
		if err := r.file(ctx, name, do); err != nil {
			return err
		}
	}
	return nil
}

func (r *relic) file(ctx context.Context, name string, do func([]rest) error) error {
	return r.windows(name, false, func(b []byte, _ int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.survey.Bytes += int64(min(len(b), windowSize))
		for i := 0; i < min(len(b), windowSize); {
			n := bytes.IndexByte(b[i:], headerVersion)
			if n < 0 || i+n+1 >= len(b) {
				return nil
			}
			i += n
			if b[i+1] > 1 {
				i++
				continue
			}
			size, err := r.block(b[i:], do)
			if err != nil {
				return err
			}
			i += max(size, 1)
		}
		return nil
	})
}

// block takes the block that b begins with, and gives its size; 0 when it begins with none.
func (r *relic) block(b []byte, do func([]rest) error) (int, error) {
	h, payload, err := readHeader(b)
	if err != nil || len(h.runs) == 0 {
		return 0, nil
	}
	id := blockID{h.first, h.end(), h.shift, h.epoch}
	if r.seen[id] {
		return 0, nil
	}
	records, size := r.payload(payload)
	if size == 0 || !h.fits(records) {
		r.seen[id] = false
		return 0, nil
	}
	r.seen[id] = true
	return len(b) - len(payload) + size, r.hand(h, records, do)
}

// payload finds the end of the block that b begins with, where its checksum is right, and decodes it.
func (r *relic) payload(b []byte) ([]field.Record, int) {
	const head = 6 // version, flags, checksum
	if len(b) < head {
		return nil, 0
	}
	want, table := binary.LittleEndian.Uint32(b[2:]), crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(b[:2], table)
	for end := head + 1; end <= min(len(b), txnBytes); end++ {
		if sum = crc32.Update(sum, table, b[end-1:end]); sum != want {
			continue
		}
		if records, err := r.dec.Decode(b[:end], func(id uint32) *field.Group { return r.shapes[id] }); err == nil {
			return records, end
		}
	}
	return nil, 0
}

// fits says that a header has places for so many records, of these numbers.
func (h *header) fits(records []field.Record) bool {
	n, pos := 0, h.first
	for _, run := range h.runs {
		for i := uint64(0); run.owed != 0 && i < run.count; i++ {
			if n == len(records) || records[n].Seq != pos+i+h.shift {
				return false
			}
			n++
		}
		pos += run.count
	}
	return n == len(records)
}

// hand passes on the records of a block that are owed to somebody.
func (r *relic) hand(h header, records []field.Record, do func([]rest) error) error {
	class := records[0].Class()
	k := partKey{class, h.epoch}
	p := r.part(k)
	taken := r.taken[k]
	var found []rest
	n, pos := 0, h.first
	for _, run := range h.runs {
		for i := uint64(0); run.owed != 0 && i < run.count; i++ {
			rec := records[n]
			n++
			if taken.has(rec.Seq) {
				continue
			}
			taken.add(rec.Seq, rec.Seq+1)
			to, owed := r.owedTo(class, pos+i, run.owed)
			if !owed {
				p.Settled++
				continue
			}
			p.note(rec.Seq)
			found = append(found, rest{h.epoch, to, rec, pos + i, run.owed})
		}
		pos += run.count
	}
	r.taken[k] = taken
	if len(found) == 0 {
		return nil
	}
	return do(found)
}

func (r *relic) part(k partKey) *Part {
	p := r.parts[k]
	if p == nil {
		p = &Part{Class: k.class.String(), Epoch: k.epoch}
		r.parts[k] = p
	}
	return p
}

// note counts a record.
func (p *Part) note(seq uint64) {
	if p.Records == 0 || seq < p.From {
		p.From = seq
	}
	p.To = max(p.To, seq)
	p.Records++
}

// owedTo tells who lacks the record at a position; no names when they are not known.
func (r *relic) owedTo(c field.Class, pos uint64, owed mask) (names []string, some bool) {
	for number := range uint8(32) {
		if owed&(1<<number) == 0 {
			continue
		}
		if t, ok := r.tracks[trackKey{number, c}]; ok && (pos < t.low || t.settled.has(pos)) {
			continue
		}
		some = true
		if name, ok := r.names[number]; ok {
			names = append(names, name)
		}
	}
	return names, some
}

// finish sums up. Blocks whose header alone could be read tell how much is lost, and of which numbers.
func (r *relic) finish() Survey {
	for id, readable := range r.seen {
		if readable {
			continue
		}
		p := r.part(partKey{field.Class(len(field.Classes)), id.epoch})
		p.Class = "unknown"
		from, to := id.first+id.shift, id.end-1+id.shift
		if p.Damaged == 0 || from < p.FromLost {
			p.FromLost = from
		}
		p.ToLost = max(p.ToLost, to)
		p.Damaged += id.end - id.first
	}
	for _, p := range r.parts {
		r.survey.Parts = append(r.survey.Parts, *p)
	}
	slices.SortFunc(r.survey.Parts, func(a, b Part) int {
		if a.Epoch != b.Epoch {
			return int(a.Epoch) - int(b.Epoch)
		}
		return strings.Compare(a.Class, b.Class)
	})
	return r.survey
}
