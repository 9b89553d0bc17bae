package serial

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// kind is how the end of a frame is known.
type kind uint8

const (
	lines     kind = iota // by a line feed
	delimited             // by bytes of its own
	fixed                 // all are of one length
	counted               // by a length that stands in it
	silent                // by the silence behind it
)

var kindNames = []string{"line", "delimiter", "fixed", "length", "silence"}

// speech is how a device speaks, as its quirks say.
type speech struct {
	kind       kind
	start, end []byte
	length     int // of every frame, when it is fixed
	lengthAt   int // where the length stands
	lengthSize int // 1 or 2 bytes
	lengthLow  bool
	lengthAdd  int // bytes of a frame that the length does not count
	most       int // bytes of the longest frame
	check      checksum
	from       int  // the first byte that the sum counts
	little     bool // the sum's low byte stands first
	hex        bool // the sum is written in hexadecimal digits

	request   []byte // nil for a device that speaks by itself
	separator string
	pattern   *regexp.Regexp // nil for any frame
}

const (
	longest      = 4096 // the most that a frame may be
	usualLongest = 512
)

// keys are the quirks that there are.
var keys = []string{"frame", "start", "end", "length", "length_at", "length_size", "length_order", "length_add", "longest",
	"checksum", "checksum_from", "checksum_order", "checksum_as", "request", "request_checksum", "pattern", "separator"}

// reader reads quirks and collects what is wrong with them.
type reader struct {
	quirks map[string]string
	faults []error
}

func (r *reader) fault(key, problem, hint string) {
	r.faults = append(r.faults, &field.DeviceError{Key: key, Value: r.quirks[key], Problem: problem, Hint: hint})
}

func (r *reader) has(key string) bool { _, ok := r.quirks[key]; return ok }

// word reads one of several words; the first is the default.
func (r *reader) word(key string, allowed ...string) string {
	v, ok := r.quirks[key]
	if !ok {
		return allowed[0]
	}
	if !slices.Contains(allowed, v) {
		r.fault(key, "there is no such "+strings.ReplaceAll(key, "_", " "), field.Suggest(v, allowed...))
		return allowed[0]
	}
	return v
}

func (r *reader) number(key string, usual, least, most int) int {
	v, ok := r.quirks[key]
	if !ok {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		r.fault(key, "this is out of range", fmt.Sprintf("allowed are %d to %d", least, most))
		return usual
	}
	return n
}

func (r *reader) bytes(key string) []byte {
	v, ok := r.quirks[key]
	if !ok {
		return nil
	}
	b, err := unescape(v)
	switch {
	case err != nil:
		r.fault(key, err.Error(), bytesHint)
	case len(b) == 0:
		r.fault(key, "there is nothing in it", bytesHint)
	}
	return b
}

func (r *reader) flag(key string) bool { return r.word(key, "false", "true") == "true" }

// expression reads a regular expression in which the address may stand.
func expression(text, address string) (*regexp.Regexp, error) {
	return regexp.Compile(withAddress(text, regexp.QuoteMeta(address)))
}

// readSpeech reads how a device speaks. It reports every fault at once.
func readSpeech(quirks map[string]string, address string) (*speech, []error) {
	r := &reader{quirks: quirks}
	for _, k := range slices.Sorted(maps.Keys(quirks)) {
		if !slices.Contains(keys, k) {
			r.fault(k, "there is no such quirk of a serial device", field.Suggest(k, keys...))
		}
	}
	s := &speech{kind: kind(slices.Index(kindNames, r.word("frame", kindNames...)))}
	s.start, s.end = r.bytes("start"), r.bytes("end")
	s.most = r.number("longest", usualLongest, 1, longest)
	r.readExtent(s)
	r.readChecksum(s)
	s.separator = quirks["separator"]
	if text, ok := quirks["pattern"]; ok {
		var err error
		if s.pattern, err = expression(text, address); err != nil {
			r.fault("pattern", "this is no regular expression: "+err.Error(), "the notation is that of RE2")
		}
	}
	r.readRequest(s, address)
	return s, r.faults
}

// framesLike says that another device's frames are found in the same way.
func (s *speech) framesLike(o *speech) bool {
	return s.kind == o.kind && bytes.Equal(s.start, o.start) && bytes.Equal(s.end, o.end) && s.length == o.length &&
		s.lengthAt == o.lengthAt && s.lengthSize == o.lengthSize && s.lengthLow == o.lengthLow && s.lengthAdd == o.lengthAdd &&
		s.check.name == o.check.name && s.from == o.from && s.little == o.little && s.hex == o.hex
}

// readExtent reads what tells a frame's end.
func (r *reader) readExtent(s *speech) {
	only := func(k kind, names ...string) {
		for _, name := range names {
			if r.has(name) && s.kind != k {
				r.fault(name, fmt.Sprintf("this means nothing with frame = %q", kindNames[s.kind]),
					fmt.Sprintf("leave it out, or write frame = %q", kindNames[k]))
			}
		}
	}
	only(delimited, "end")
	only(fixed, "length")
	only(counted, "length_at", "length_size", "length_order", "length_add")
	switch s.kind {
	case lines:
		s.end = []byte{'\n'}
	case delimited:
		if !r.has("end") {
			r.fault("end", "the bytes that end a frame are missing", bytesHint)
		}
	case fixed:
		s.length = r.number("length", 0, 1, longest)
		if s.length == 0 && !r.has("length") {
			r.fault("length", "the length of a frame is missing", fmt.Sprintf("allowed are 1 to %d bytes", longest))
		}
		s.most = max(s.most, s.length)
	case counted:
		s.lengthAt = r.number("length_at", 0, 0, 255)
		s.lengthSize = r.number("length_size", 1, 1, 2)
		s.lengthLow = r.word("length_order", "big", "little") == "little"
		s.lengthAdd = r.number("length_add", 0, -16, 255)
		if !r.has("length_at") {
			r.fault("length_at", "where the length stands in a frame is missing", "count its bytes from 0")
		}
	}
}

func (r *reader) readChecksum(s *speech) {
	name := r.word("checksum", checksumNames()...)
	s.check = checksums[slices.IndexFunc(checksums[:], func(c checksum) bool { return c.name == name })]
	for _, key := range []string{"checksum_from", "checksum_order", "checksum_as", "request_checksum"} {
		if r.has(key) && s.check.size == 0 {
			r.fault(key, "there is no checksum", "leave it out, or name the checksum")
		}
	}
	usual := "big"
	if s.check.little {
		usual = "little"
	}
	if r.has("checksum_order") {
		usual = r.word("checksum_order", "big", "little")
	}
	s.little = usual == "little"
	s.from = r.number("checksum_from", 0, 0, 255)
	s.hex = r.word("checksum_as", "bytes", "hex") == "hex"
	if s.check.name == "nmea" {
		s.hex = true
		s.from = r.number("checksum_from", 1, 0, 255)
		if s.kind != lines {
			r.fault("checksum", "NMEA 0183 is written in lines", `write frame = "line", or leave it out`)
		}
	}
}

// readRequest reads what the device is asked with; a sum is put where an answer's would stand.
func (r *reader) readRequest(s *speech, address string) {
	text, ok := r.quirks["request"]
	if !ok {
		if r.has("request_checksum") {
			r.fault("request_checksum", "the device is not asked for anything", "leave it out, or give the request")
		}
		return
	}
	request, err := s.spell(text, address, r.flag("request_checksum"))
	if err != nil || len(request) == 0 {
		problem := "there is nothing in it"
		if err != nil {
			problem = err.Error()
		}
		r.fault("request", problem, bytesHint)
		return
	}
	s.request = request
}

// spell makes the bytes of a request.
func (s *speech) spell(text, address string, sealed bool) ([]byte, error) {
	b, err := unescape(withAddress(text, address))
	if err != nil || !sealed {
		return b, err
	}
	head, ended := b, false
	if s.end != nil && bytes.HasSuffix(b, s.end) {
		head, ended = b[:len(b)-len(s.end)], true
	}
	if len(head) < s.from {
		return nil, fmt.Errorf("it is shorter than checksum_from = %d", s.from)
	}
	out := append(slices.Clone(head), s.seal(head[min(s.from, len(head)):])...)
	if ended {
		out = append(out, s.end...)
	}
	return out, nil
}

// extent says how long the frame is that begins with b: its length when it stands there in full, else the least number
// of bytes that are missing. n < 0 says that no frame can begin so.
func (s *speech) extent(b []byte) (n int, whole bool) {
	switch s.kind {
	case lines, delimited:
		end := bytes.Index(b[min(len(s.start), len(b)):min(len(b), s.most+len(s.end))], s.end)
		if end >= 0 {
			return len(s.start) + end + len(s.end), true
		}
		if len(b) >= s.most+len(s.end) {
			return -1, false
		}
		return 1, false
	case fixed:
		return reach(s.length, len(b))
	case counted:
		if need := s.lengthAt + s.lengthSize; len(b) < need {
			return need - len(b), false
		}
		n = int(b[s.lengthAt])
		if s.lengthSize == 2 {
			high, low := b[s.lengthAt], b[s.lengthAt+1]
			if s.lengthLow {
				high, low = low, high
			}
			n = int(high)<<8 | int(low)
		}
		n += s.lengthAdd
		if n < max(len(s.start), s.lengthAt+s.lengthSize, 1) || n > s.most {
			return -1, false
		}
		return reach(n, len(b))
	default:
		return 1, false
	}
}

// reach compares a frame's length with what has come of it.
func reach(length, come int) (n int, whole bool) {
	if come >= length {
		return length, true
	}
	return length - come, false
}

// chunk is more than what can come between two looks. What stands further back than that and a frame's length was
// looked at before: a line that babbles costs no more with every byte.
const chunk = 4096

// find looks for the first frame that is whole and sound and that fits. skip is how much of got is of no use any more.
func (s *speech) find(got []byte, fits func(content []byte) bool) (frame []byte, skip, missing int) {
	waiting, missing := -1, 1 // where the first frame begins that may yet become whole
	for p := max(0, len(got)-s.most-chunk); p < len(got); {
		if at := s.begin(got[p:]); at < 0 {
			if waiting < 0 {
				return nil, max(p, len(got)-len(s.start)+1), 1
			}
			break
		} else {
			p += at
		}
		n, whole := s.extent(got[p:])
		switch {
		case whole:
			content, sound := s.open(got[p : p+n])
			if sound && fits(content) {
				return got[p : p+n], p + n, 0
			}
			p += s.stride(n, sound)
		case n < 0 && (s.kind == lines || s.kind == delimited) && s.start == nil:
			return nil, len(got), 1 // too long for a line: what follows it is looked at when it has ended
		case n < 0:
			p++
		default:
			if waiting < 0 {
				waiting, missing = p, n
			}
			if s.check.size == 0 || s.kind == silent {
				return nil, waiting, missing
			}
			missing = min(missing, n)
			p++
		}
	}
	if waiting < 0 {
		waiting = len(got)
	}
	return nil, waiting, missing
}

// begin finds the first place where a frame can begin; -1 for nowhere.
func (s *speech) begin(b []byte) int {
	if s.start == nil {
		return 0
	}
	return bytes.Index(b, s.start)
}

// stride is how far the next frame may begin behind one that was not taken. One that is not sound may have begun
// within noise.
func (s *speech) stride(n int, sound bool) int {
	if sound || s.start == nil && (s.kind == lines || s.kind == delimited) {
		return n
	}
	return 1
}
