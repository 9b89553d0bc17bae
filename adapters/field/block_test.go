package field

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew")

// dictionary is a keeper's dictionary in memory.
type dictionary struct{ groups []*Group }

func (d *dictionary) id(g *Group) uint32 {
	for i, known := range d.groups {
		if known == g {
			return uint32(i)
		}
	}
	d.groups = append(d.groups, g)
	return uint32(len(d.groups) - 1)
}

func (d *dictionary) group(id uint32) *Group {
	if id < uint32(len(d.groups)) {
		return d.groups[id]
	}
	return nil
}

func roundTrip(t *testing.T, rs []Record) []byte {
	t.Helper()
	d := &dictionary{}
	b, err := NewBlockEncoder().Append([]byte("before"), rs, d.id)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.TrimPrefix(b, []byte("before"))
	got, err := NewBlockDecoder().Decode(b, d.group)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(rs) {
		t.Fatalf("%d records became %d", len(rs), len(got))
	}
	for i := range rs {
		if want := plain(rs[i]); !reflect.DeepEqual(got[i], want) {
			t.Fatalf("record %d:\n got %+v\nwant %+v", i, got[i], want)
		}
	}
	return b
}

// plain is what Append promises to give back: a Quality that is good throughout is nil, empty slices as they come.
func plain(r Record) Record {
	good := true
	for _, q := range r.Quality {
		good = good && q == Good
	}
	if good {
		r.Quality = nil
	}
	if r.Group != nil && len(r.Values) == 0 {
		r.Values = []Value{}
	}
	if r.Event != nil && len(r.Event.More) == 0 {
		ev := *r.Event
		ev.More = nil
		r.Event = &ev
	}
	return r
}

// anyValue draws values that are hard for some encoding.
func anyValue(r *rand.Rand) Value {
	switch r.IntN(16) {
	case 0:
		return Value{}
	case 1:
		return Bool(r.IntN(2) == 0)
	case 2:
		return Int(r.Int64() - r.Int64())
	case 3:
		return Int([]int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)])
	case 4:
		return Uint(r.Uint64())
	case 5:
		return Float32(float32(r.IntN(100000)) / 100)
	case 6:
		return FromBits(KindFloat32, uint64(r.Uint32())) // NaN payloads, subnormals, infinities among them
	case 7:
		return Float64(float64(r.IntN(1000000)) / 1000)
	case 8:
		return Float64(r.NormFloat64())
	case 9:
		return FromBits(KindFloat64, r.Uint64())
	case 10:
		return FromBits(KindFloat64, 0x7ff8_0000_dead_beef)
	case 11:
		return Float64(math.Copysign(0, -1))
	case 12:
		return Text(strings.Repeat("å", r.IntN(5)))
	case 13:
		return Text(string([]byte{0xff, byte(r.Uint32())}))
	case 14:
		return FromBits(Kind(r.IntN(256)), r.Uint64()) // no constructor makes these
	default:
		return Float32(float32(r.IntN(7)) * 1e7)
	}
}

func anyRecords(r *rand.Rand) []Record {
	class := Class(r.IntN(3))
	n := 1 + r.IntN(40)
	var groups []*Group
	for range 1 + r.IntN(4) {
		g := &Group{Device: fmt.Sprint("d", len(groups)), Name: MainGroup}
		for range r.IntN(12) {
			g.Points = append(g.Points, Point{Name: fmt.Sprint("p", len(g.Points))})
		}
		groups = append(groups, g)
	}
	steady := r.IntN(2) == 0 // each point keeps to one kind, as real ones do
	seq := r.Uint64N(1 << 40)
	at := Stamp{Wall: r.Int64N(1 << 42), Mono: r.Int64N(1 << 40)}
	var rs []Record
	for range n {
		if r.IntN(9) == 0 {
			seq += r.Uint64N(1000)
		}
		seq++
		at.Wall += r.Int64N(2000) - 100
		at.Mono += r.Int64N(2000)
		if r.IntN(20) == 0 {
			at = Stamp{r.Int64() - r.Int64(), r.Int64(), r.Uint32(), Trust(r.IntN(256))}
		}
		rec := Record{Seq: seq, At: at}
		switch class {
		case Replies:
			rec.Reply = []byte(strings.Repeat("{}", r.IntN(50)))
		case Events:
			ev := &Event{Kind: []string{"change", "loss"}[r.IntN(2)], Subject: fmt.Sprint("pump-", r.IntN(3)), Text: strings.Repeat("x", r.IntN(9))}
			for range r.IntN(4) {
				ev.More = append(ev.More, Member{fmt.Sprint("m", r.IntN(5)), anyValue(r)})
			}
			rec.Event = ev
		default:
			rec.Group = groups[r.IntN(len(groups))]
			rec.Values = []Value{}
			if r.IntN(3) == 0 && len(rec.Group.Points) > 0 {
				rec.Quality = make([]Quality, len(rec.Group.Points))
			}
			for p := range rec.Group.Points {
				v := anyValue(r)
				if steady {
					v = []Value{Float32(float32(r.IntN(1000)) / 10), Float64(r.Float64()), Int(r.Int64N(100)), Bool(r.IntN(2) == 0), Text("on"), Uint(7)}[p%6]
				}
				if rec.Quality != nil && r.IntN(3) == 0 {
					rec.Quality[p] = Quality(1 + r.IntN(255))
					v = Value{}
				}
				rec.Values = append(rec.Values, v)
			}
		}
		rs = append(rs, rec)
	}
	return rs
}

func TestBlockGivesBackWhatItTook(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		roundTrip(t, anyRecords(r))
	}
}

func TestBlockRefusesWhatItCannotHold(t *testing.T) {
	g := &Group{Device: "feeder-1", Points: []Point{{Name: "a"}}}
	good := Record{Seq: 5, Group: g, Values: []Value{Int(1)}}
	for _, c := range []struct {
		name string
		rs   []Record
	}{
		{"nothing", nil},
		{"two classes", []Record{good, {Seq: 6, Event: &Event{}}}},
		{"falling numbers", []Record{good, {Seq: 5, Group: g, Values: []Value{Int(1)}}}},
		{"too few values", []Record{{Group: g}}},
		{"too many qualities", []Record{{Group: g, Values: []Value{Int(1)}, Quality: []Quality{Good, Good}}}},
		{"no record at all", []Record{{}}},
		{"reading and event", []Record{{Group: g, Values: []Value{Int(1)}, Event: &Event{}}}},
		{"too large", []Record{{Seq: 1, Reply: make([]byte, MaxBlockBytes)}}},
	} {
		if b, err := NewBlockEncoder().Append(nil, c.rs, (&dictionary{}).id); err == nil || len(b) != 0 {
			t.Errorf("%s: %d bytes, error %v", c.name, len(b), err)
		}
	}
}

func TestEveryDamagedByteIsSeen(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	d := &dictionary{}
	b, err := NewBlockEncoder().Append(nil, anyRecords(r), d.id)
	if err != nil {
		t.Fatal(err)
	}
	dec := NewBlockDecoder()
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << r.IntN(8)
		if _, err := dec.Decode(bad, d.group); !errors.Is(err, ErrBlock) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := dec.Decode(b[:i], d.group); !errors.Is(err, ErrBlock) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := dec.Decode(b, func(uint32) *Group { return nil }); len(d.groups) > 0 && !errors.Is(err, ErrBlock) {
		t.Fatalf("without its dictionary: %v", err)
	}
}

func FuzzDecodeBlock(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	d := &dictionary{}
	for range 20 {
		b, err := NewBlockEncoder().Append(nil, anyRecords(r), d.id)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[blockHead:])
	}
	dec := NewBlockDecoder()
	f.Fuzz(func(t *testing.T, body []byte) {
		// Behind the checksum, which would keep every mutation out.
		if rs, err := decodeBody(body, d.group); err == nil {
			for i := range rs {
				if err := rs[i].Check(); err != nil {
					t.Fatalf("decoded a record that cannot be: %v", err)
				}
			}
		}
		if _, err := dec.Decode(body, d.group); err == nil && len(body) < blockHead {
			t.Fatal("decoded what is shorter than a header")
		}
		if g, err := DecodeGroup(body); err == nil && !bytes.Equal(AppendGroup(nil, g), body) {
			t.Fatal("a shape that encodes otherwise")
		}
	})
}

func TestHostileClaimsCostNoMemory(t *testing.T) {
	wide := &Group{Points: make([]Point, 60000)}
	group := func(uint32) *Group { return wide }
	bodies := map[string]string{
		"a million records":      "02c0843d",
		"a run of 2^60 numbers":  "0202" + "01" + "ffffffffffffffff0f",
		"two wide groups' worth": "020a" + "010a" + strings.Repeat("00", 20) + "000a" + "000a" + "0100",
	}
	for name, text := range bodies {
		body, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(1, func() { _, err = decodeBody(body, group) })
		if !errors.Is(err, ErrBlock) || n > 100 {
			t.Errorf("%s: %v, %v allocations", name, err, n)
		}
	}
}

func TestGroupShape(t *testing.T) {
	g := &Group{"feeder-1", SlowGroup, "sdm630", []Point{{"voltage_l1", KindFloat32, "V"}, {"position", KindBool, ""}}}
	b := AppendGroup(nil, g)
	got, err := DecodeGroup(b)
	if err != nil || !reflect.DeepEqual(got, g) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 4
		if _, err := DecodeGroup(bad); !errors.Is(err, ErrBlock) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
}

// golden is a block of each class that shows every encoding. It must be decoded by every later version.
func golden() map[string][]Record {
	g := &Group{"feeder-1", MainGroup, "sdm630", []Point{{"voltage_l1", KindFloat32, "V"}, {"energy", KindFloat64, "kWh"},
		{"position", KindBool, ""}, {"count", KindUint, ""}, {"temperature", KindInt, "°C"}, {"state", KindString, ""},
		{"noise32", KindFloat32, ""}, {"noise64", KindFloat64, ""}, {"mixed", KindInt, ""}, {"never", KindInt, ""}}}
	slow := &Group{"feeder-2", SlowGroup, "", []Point{{"serial", KindString, ""}}}
	var readings []Record
	for i := range 30 {
		at := Stamp{Wall: 1763925256123 + int64(i)*1000 + int64(i%3), Mono: 5000 + int64(i)*1000, Boot: 7, Trust: Trust(i / 20)}
		mixed := Int(int64(i))
		if i%2 == 1 {
			mixed = Text("°")
		}
		r := Record{Seq: uint64(1042 + i + i/10*5), At: at, Group: g, Values: []Value{Float32(float32(23000+i) / 100),
			Float64(123456.789 + float64(i)), Bool(i%4 == 0), Uint(uint64(i) << 40), Int(int64(-i * 3)), Text([]string{"on", "off"}[i/15]),
			Float32(float32(math.Sin(float64(i)))), Float64(math.Cos(float64(i))), mixed, {}}}
		if i%7 == 3 {
			r.Quality = make([]Quality, len(g.Points))
			r.Values[0], r.Quality[0] = Value{}, Timeout
		}
		if i%11 == 5 {
			r = Record{Seq: r.Seq, At: at, Group: slow, Values: []Value{Text("00012345")}}
		}
		readings = append(readings, r)
	}
	return map[string][]Record{
		"readings": readings,
		"events": {
			{Seq: 1, At: Stamp{Wall: 1763925256123}, Event: &Event{Kind: "change", Subject: "pump-1/running", More: []Member{{"value", Bool(true)}, {"was", Bool(false)}}}},
			{Seq: 2, At: Stamp{Wall: 1763925256124}, Event: &Event{Kind: "loss", Subject: "data", Text: "3 readings lost", More: []Member{{"cause", Text("evicted")}, {"count", Uint(3)}}}},
		},
		"replies": {{Seq: 9, At: Stamp{Wall: 1}, Reply: []byte(`{"v":1,"id":"01JD","code":"ok"}`)}, {Seq: 12, Reply: []byte{}}},
	}
}

// TestGoldenBlocks decodes what version 1 wrote. -update is for a new version's files only; those that are there stay.
func TestGoldenBlocks(t *testing.T) {
	for name, want := range golden() {
		file := filepath.Join("testdata", "block-v1-"+name+".hex")
		d := &dictionary{}
		for i := range want {
			if want[i].Group != nil {
				d.id(want[i].Group)
			}
		}
		if *update {
			b, err := NewBlockEncoder().Append(nil, want, d.id)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewBlockDecoder().Decode(b, d.group)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], plain(want[i])) {
				t.Errorf("%s, record %d:\n got %+v\nwant %+v", name, i, got[i], plain(want[i]))
			}
		}
	}
}

// meters makes n readings of smooth meter data: 20 meters with 10 quantities each, one record a meter and second,
// every value a random walk in steps of 0.01.
func meters(n int) []Record {
	r := rand.New(rand.NewPCG(7, 8))
	var groups []*Group
	var walk [20][10]int
	for m := range walk {
		g := &Group{Device: fmt.Sprint("meter-", m), Name: MainGroup}
		for p := range walk[m] {
			g.Points = append(g.Points, Point{Name: fmt.Sprint("quantity-", p), Kind: KindFloat32})
			walk[m][p] = 10000 + r.IntN(15000)
		}
		groups = append(groups, g)
	}
	var rs []Record
	for i := range n / 10 {
		m := i % len(walk)
		at := int64(i/len(walk)) * 1000
		rec := Record{Seq: uint64(i + 1), At: Stamp{Wall: 1763925256000 + at + int64(m*37), Mono: at + int64(m*37), Boot: 3}, Group: groups[m]}
		for p := range walk[m] {
			walk[m][p] += r.IntN(11) - 5
			rec.Values = append(rec.Values, Float32(float32(walk[m][p])/100))
		}
		rs = append(rs, rec)
	}
	return rs
}

// TestBytesPerReading holds the codec to its goal on smooth meter data.
func TestBytesPerReading(t *testing.T) {
	for _, c := range []struct {
		readings int
		most     float64
	}{{10, 8}, {100, 5}, {500, 3}, {1000, 2.5}, {5000, 2}} {
		b := roundTrip(t, meters(c.readings))
		got := float64(len(b)) / float64(c.readings)
		t.Logf("%5d readings a block: %.2f bytes a reading", c.readings, got)
		if got > c.most {
			t.Errorf("%d readings a block take %.2f bytes each, more than %.1f", c.readings, got, c.most)
		}
	}
}

func BenchmarkBlock(b *testing.B) {
	rs := meters(1000)
	d := &dictionary{}
	enc, dec := NewBlockEncoder(), NewBlockDecoder()
	block, err := enc.Append(nil, rs, d.id)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			block, _ = enc.Append(block[:0], rs, d.id)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/reading")
		b.ReportMetric(float64(len(block))/1000, "B/reading")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := dec.Decode(block, d.group); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/reading")
	})
}
