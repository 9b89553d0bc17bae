package sunspec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"edgegateway/adapters/field"
)

// device is the registers of a device, from a base on. What is not there is refused.
type device struct {
	base      int
	registers []uint16
	reads     int
}

func (d *device) read(start, count int) ([]byte, error) {
	d.reads++
	from := start - d.base
	if from < 0 || from+count > len(d.registers) {
		return nil, &field.ExceptionError{Code: 2, Name: "illegal data address"}
	}
	var b []byte
	for _, r := range d.registers[from : from+count] {
		b = binary.BigEndian.AppendUint16(b, r)
	}
	return b, nil
}

// block adds a model: its id, its length, and values by offset from the standard's offset 2.
func (d *device) block(id, length int, values map[int]uint16) {
	if len(d.registers) == 0 {
		d.registers = []uint16{0x5375, 0x6E53}
	}
	d.registers = append(d.registers, uint16(id), uint16(length))
	body := make([]uint16, length)
	for at, v := range values {
		body[at] = v
	}
	d.registers = append(d.registers, body...)
}

func (d *device) end() { d.registers = append(d.registers, 0xFFFF, 0) }

func text(s string, at int, into map[int]uint16) {
	for i := 0; i < len(s); i += 2 {
		low := byte(0)
		if i+1 < len(s) {
			low = s[i+1]
		}
		into[at+i/2] = uint16(s[i])<<8 | uint16(low)
	}
}

func inverter() *device {
	d := &device{base: 40000}
	common := map[int]uint16{}
	text("Acme", 0, common)
	text("X-5000", 16, common)
	d.block(1, 65, common) // 65 is the older length, without the pad
	d.block(64999, 7, nil) // a maker's own: passed over
	sf := func(n int) uint16 { return uint16(int16(n)) }
	d.block(103, 50, map[int]uint16{
		0: 1234, 4: sf(-2), // A, A_SF: 12.34 A
		12: 0xFB2E, 13: sf(1), // W: -1234 × 10
		14: 5001, 15: sf(-2), // Hz
		22: 0x0001, 23: 0x86A0, 24: 0, // WH: 100000
		25: 0xFFFF, 26: sf(-1), // DCA: not implemented
		27: 6000, 28: 0x8000, // DCV: its scale factor is not implemented
		36: 4, // St
	})
	d.block(203, 105, map[int]uint16{16: 100, 20: 0})
	d.block(203, 105, map[int]uint16{16: 200, 20: sf(1)})
	module := map[int]uint16{0: sf(-2), 1: sf(-1), 2: 0, 3: 0, 6: 2}
	module[8+9], module[8+10], module[8+11] = 850, 4012, 3410
	module[28+9], module[28+10], module[28+11] = 900, 4100, 3690
	d.block(160, 48, module)
	d.end()
	return d
}

func TestWalkAndDecode(t *testing.T) {
	d := inverter()
	chain, err := Walk(d.read)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for _, b := range chain {
		ids = append(ids, b.ID)
	}
	if want := []int{1, 64999, 103, 203, 203, 160}; !slices.Equal(ids, want) {
		t.Fatalf("chain %v, want %v", ids, want)
	}
	for _, c := range []struct {
		at   string
		kind field.Kind
		want field.Value
		q    field.Quality
	}{
		{"sunspec 1 Mn", field.KindString, field.Text("Acme"), field.Good},
		{"sunspec 1 Md", field.KindString, field.Text("X-5000"), field.Good},
		{"sunspec 1 SN", field.KindString, field.Value{}, field.Invalid},
		{"sunspec 103 A", field.KindFloat64, field.Float64(12.34), field.Good},
		{"sunspec 101|102|103 W", field.KindFloat64, field.Float64(-12340), field.Good},
		{"sunspec 113|103 Hz", field.KindFloat64, field.Float64(50.01), field.Good},
		{"sunspec 103 WH", field.KindFloat64, field.Float64(100000), field.Good},
		{"sunspec 103 DCA", field.KindFloat64, field.Value{}, field.Invalid},
		{"sunspec 103 DCV", field.KindFloat64, field.Value{}, field.Invalid},
		{"sunspec 103 St", field.KindUint, field.Uint(4), field.Good},
		{"sunspec 203 W", field.KindFloat64, field.Float64(100), field.Good},
		{"sunspec 203 #2 W", field.KindFloat64, field.Float64(2000), field.Good},
		{"sunspec 160 module 1 DCA", field.KindFloat64, field.Float64(8.5), field.Good},
		{"sunspec 160 module 2 DCV", field.KindFloat64, field.Float64(410), field.Good},
		{"sunspec 160 module 2 DCW", field.KindFloat64, field.Float64(3690), field.Good},
	} {
		ref, err := ParseRef(c.at)
		if err != nil {
			t.Errorf("%s: %v", c.at, err)
			continue
		}
		if ref.Kind() != c.kind {
			t.Errorf("%s: kind %v, want %v", c.at, ref.Kind(), c.kind)
		}
		place, ok := ref.Locate(chain)
		if !ok {
			t.Errorf("%s: not found", c.at)
			continue
		}
		data, err := d.read(place.Start, place.Count)
		if err != nil {
			t.Errorf("%s: %v", c.at, err)
			continue
		}
		if v, q := place.Decode(data); v != c.want || q != c.q {
			t.Errorf("%s = %v (%v), want %v (%v)", c.at, v, q, c.want, c.q)
		}
	}
	for _, at := range []string{"sunspec 113 W", "sunspec 203 #3 W", "sunspec 160 module 3 DCA"} {
		ref, err := ParseRef(at)
		if _, ok := ref.Locate(chain); err != nil || ok {
			t.Errorf("%s: found %v, %v", at, ok, err)
		}
	}
}

// TestWalkOfOddDevices: other bases, no marker, a chain that breaks off or has no end, a device that falls silent.
func TestWalkOfOddDevices(t *testing.T) {
	for _, base := range []int{0, 50000} {
		d := inverter()
		d.base = base
		if chain, err := Walk(d.read); err != nil || len(chain) != 6 {
			t.Errorf("base %d: %d blocks, %v", base, len(chain), err)
		}
	}
	if _, err := Walk((&device{base: 40000, registers: make([]uint16, 10)}).read); !errors.Is(err, ErrNone) {
		t.Errorf("without a marker: %v", err)
	}
	short := inverter()
	short.registers = short.registers[:80]
	if chain, err := Walk(short.read); err != nil || len(chain) != 2 && len(chain) != 3 {
		t.Errorf("broken off: %d blocks, %v", len(chain), err)
	}
	endless := &device{base: 40000}
	for range 400 {
		endless.block(64999, 0, nil)
	}
	if chain, err := Walk(endless.read); err != nil || len(chain) != mostBlocks {
		t.Errorf("without an end: %d blocks, %v", len(chain), err)
	}
	silent := fmt.Errorf("unit 1: %w", field.ErrSilent)
	if _, err := Walk(func(int, int) ([]byte, error) { return nil, silent }); !errors.Is(err, field.ErrSilent) {
		t.Errorf("silent: %v", err)
	}
}

func TestParseRefComplains(t *testing.T) {
	for at, problem := range map[string]string{
		"sunspec": "sunspec 103 W", "sunspec x W": "no number of a model", "sunspec 9 W": "known are 1, 101",
		"sunspec 103 WW": "did you mean", "sunspec 103|9 W": "model 9", "sunspec 103 module 1 DCA": "no groups",
		"sunspec 160 string 1 DCA": `but "module"`, "sunspec 103 #0 W": "#1", "sunspec 103 A_SF": "no point",
		"sunspec 160 module 0 DCA": "is 1", "sunspec 1 Mn Md": "no SunSpec point",
	} {
		if _, err := ParseRef(at); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v, want %q in it", at, err, problem)
		}
	}
}

// TestScaleFactorIsRead with its value: every point of the table fits into one request together with its factor.
func TestScaleFactorIsReadWithItsValue(t *testing.T) {
	for _, row := range table {
		for _, id := range row.ids {
			m, _ := find(id)
			block := []Block{{ID: id, Start: 40002, Length: m.length + 2*m.each}}
			for _, group := range []string{"", m.group} {
				r := Ref{models: []int{id}, group: -1}
				prefix := fmt.Sprintf("sunspec %d ", id)
				if group != "" {
					r.group = 0
					prefix += group + " 1 "
				}
				for _, name := range m.names(r) {
					ref, err := ParseRef(prefix + name)
					if err != nil {
						t.Error(err)
						continue
					}
					place, ok := ref.Locate(block)
					p, _ := m.point(ref)
					if _, err := strconv.Atoi(p.scale); !ok || place.Count > 125 || p.scale != "" && err != nil && place.scale < 0 {
						t.Errorf("%s%s: place %+v, %v", prefix, name, place, ok)
					}
				}
			}
		}
	}
}

var oracle = flag.String("sunspec", "", "folder of the SunSpec models as JSON; by default shared/data/sunspec/json beside the repository")

// TestTableAgreesWithTheModels holds the table against the published models, where they are at hand.
func TestTableAgreesWithTheModels(t *testing.T) {
	dir := *oracle
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data", "sunspec", "json")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the published models are not here (%v); put github.com/sunspec/models' json folder there", err)
	}
	type published struct {
		Name, Type string
		Size       int
		SF         any
	}
	letters := map[string]byte{"uint16": 'u', "int16": 'i', "uint32": 'U', "int32": 'I', "uint64": 'Q', "int64": 'L', "acc32": 'a',
		"acc64": 'A', "float32": 'f', "enum16": 'e', "bitfield16": 'B', "bitfield32": 'b', "sunssf": 'x', "count": 'c', "pad": 'p', "string": 's'}
	compare := func(id int, want []published, got []point) {
		if len(want) != len(got) {
			t.Errorf("model %d: %d points, want %d", id, len(got), len(want))
			return
		}
		offset := 0
		for i, w := range want {
			scale := ""
			if w.SF != nil {
				scale = fmt.Sprint(w.SF)
			}
			p := point{w.Name, letters[w.Type], offset, w.Size, scale}
			if got[i] != p {
				t.Errorf("model %d: %+v, want %+v", id, got[i], p)
			}
			offset += w.Size
		}
	}
	for _, row := range table {
		for _, id := range row.ids {
			text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("model_%d.json", id)))
			if err != nil {
				t.Error(err)
				continue
			}
			var doc struct {
				Group struct {
					Points []published
					Groups []struct {
						Name   string
						Points []published
					}
				}
			}
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			m, _ := find(id)
			compare(id, doc.Group.Points[2:], m.points)
			if len(doc.Group.Groups) > 0 {
				if doc.Group.Groups[0].Name != m.group {
					t.Errorf("model %d: group %q, want %q", id, m.group, doc.Group.Groups[0].Name)
				}
				compare(id, doc.Group.Groups[0].Points, m.repeat)
			}
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add("sunspec 103 W", []byte{0x53, 0x75})
	f.Add("sunspec 160 module 1 DCA", []byte{0xFF, 0xFF, 0x80, 0})
	f.Add("sunspec 1|103 #2 Mn", []byte{})
	f.Fuzz(func(t *testing.T, at string, memory []byte) {
		d := &device{base: 40000, registers: []uint16{0x5375, 0x6E53}}
		for i := 0; i+1 < len(memory); i += 2 {
			d.registers = append(d.registers, binary.BigEndian.Uint16(memory[i:]))
		}
		chain, err := Walk(d.read)
		if err != nil || len(chain) > mostBlocks {
			t.Fatalf("%d blocks, %v", len(chain), err)
		}
		ref, err := ParseRef(at)
		if err != nil {
			return
		}
		place, ok := ref.Locate(chain)
		if !ok {
			return
		}
		if place.Start < 0 || place.Start+place.Count > 65536 || place.Count < 1 {
			t.Fatalf("place %+v", place)
		}
		data := make([]byte, 2*place.Count)
		copy(data, memory)
		v, q := place.Decode(data)
		if (q == field.Good) == v.IsNull() || q == field.Good && v.Kind() != ref.Kind() {
			t.Fatalf("%v of kind %v with quality %v, the reference's is %v", v, v.Kind(), q, ref.Kind())
		}
		if n, _ := v.Float(); math.IsNaN(n) || math.IsInf(n, 0) {
			t.Fatalf("%v", v)
		}
	})
}
