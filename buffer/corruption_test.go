package buffer

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

var corruptions = flag.Int("corruptions", 8, "how many cases of the corruption matrix are run, drawn at random; 0 for all of them")

// sample is a store with a backlog, as a folder, and what is owed of it.
type sample struct {
	name string
	dir  string
	owed map[string]map[string]int64 // destination → class and number → which record
	all  map[string]int64
}

// noisy makes a reading that does not compress.
func noisy(g *field.Group, r *rand.Rand, n int64) field.Record {
	b := make([]byte, 400+r.IntN(800))
	for i := range b {
		b[i] = byte(' ' + r.IntN(90))
	}
	return field.Record{At: field.Stamp{Wall: wall + n, Mono: n}, Group: g, Values: []field.Value{field.Text(string(b))}}
}

func sampleTuning() tuning {
	t := quick()
	t.bucketBytes = 64 << 10
	t.leaseLeast = 100
	return t
}

// newSample fills a store with some megabytes of readings, and with events and replies, of which the destination "a"
// takes most and "b" few. Then it stops cleanly, or the power goes.
func newSample(t *testing.T, clean bool) *sample {
	t.Helper()
	s := &sample{name: "unclean", owed: map[string]map[string]int64{"a": {}, "b": {}}, all: map[string]int64{}}
	o := testOptions(t.TempDir(), "a", "b")
	r := start(t, o, sampleTuning())
	g := &field.Group{Device: "feeder-1", Name: field.MainGroup, Points: []field.Point{{Name: "noise", Kind: field.KindString}}}
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 4000
	for i := int64(1); i <= n; i++ {
		rec := noisy(g, rng, i)
		switch {
		case i%80 == 0:
			rec = field.Record{At: field.Stamp{Wall: wall, Mono: i}, Reply: []byte(`{"code":"ok"}`)}
		case i%40 == 0:
			rec = field.Record{At: field.Stamp{Wall: wall, Mono: i}, Event: &field.Event{Kind: "change", Subject: "pump-1/running"}}
		}
		if err := r.Append(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range field.Classes {
		r.sealed(c)
	}
	for name, part := range map[string]int{"a": 3 * n / 4, "b": n / 4} {
		c := r.cursor(name)
		for came := 0; came < part; {
			b, ok := c.Next(Backlog, 50, 1<<20)
			if !ok {
				t.Fatal("too little came")
			}
			came += len(b.Records)
			c.Ack(b)
		}
		err := r.Export(context.Background(), name, func(epoch uint32, rec field.Record) error {
			if epoch != 1 || rec.At.Mono == 0 {
				return fmt.Errorf("epoch %d, %+v", epoch, rec)
			}
			s.owed[name][fmt.Sprint(rec.Class(), " ", rec.Seq)] = rec.At.Mono
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if clean {
		s.name = "clean"
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	}
	s.dir = r.cut()
	r.end()
	for _, owed := range s.owed {
		for k, id := range owed {
			s.all[k] = id
		}
	}
	return s
}

// faults are what may become of a file.
var faults = []struct {
	name string
	do   func(r *rand.Rand, b []byte) []byte // nil deletes the file
}{
	{"a bit flipped", func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }},
	{"a byte of its head flipped", func(r *rand.Rand, b []byte) []byte { b[r.IntN(min(len(b), 32))] ^= 0xff; return b }},
	{"64 bytes overwritten", func(r *rand.Rand, b []byte) []byte {
		for i, at := 0, r.IntN(len(b)); i < 64 && at+i < len(b); i++ {
			b[at+i] = byte(r.Uint32())
		}
		return b
	}},
	{"cut in half", func(_ *rand.Rand, b []byte) []byte { return b[:len(b)/2] }},
	{"a few bytes short", func(r *rand.Rand, b []byte) []byte { return b[:max(0, len(b)-1-r.IntN(64))] }},
	{"emptied", func(*rand.Rand, []byte) []byte { return []byte{} }},
	{"its tail zeroed", func(r *rand.Rand, b []byte) []byte { clear(b[len(b)-1-r.IntN(len(b)):]); return b }},
	{"a page zeroed", func(r *rand.Rand, b []byte) []byte {
		at := r.IntN(len(b)) &^ 4095
		clear(b[at:min(len(b), at+4096)])
		return b
	}},
	{"deleted", func(*rand.Rand, []byte) []byte { return nil }},
}

// kinds are the kinds of file of a store, as patterns below its folder.
var kinds = []string{"db/*.sst", "db/*.mem", "db/*.vlog", "db/MANIFEST", "db/KEYREGISTRY", "db/DISCARD", "db/LOCK", identityFile, "lock", ballastFile}

// TestCorruption damages a file of each kind in each way. The store opens within 10 s and goes on; what it owed comes,
// under its own number, or an event explains that it does not.
func TestCorruption(t *testing.T) {
	samples := []*sample{newSample(t, true), newSample(t, false)}
	type matrixCase struct{ sample, kind, fault int }
	var cases []matrixCase
	for s := range samples {
		for k := range kinds {
			for f := range faults {
				cases = append(cases, matrixCase{s, k, f})
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	if *corruptions > 0 {
		cases = cases[:min(len(cases), *corruptions)]
	}
	run, setAside, explained, saved := 0, 0, 0, 0
	var slowest time.Duration
	for _, c := range cases {
		s := samples[c.sample]
		name := fmt.Sprintf("%s/%s/%s", s.name, kinds[c.kind], faults[c.fault].name)
		if !t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, kinds[c.kind]))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 {
				t.Skip("there is no such file")
			}
			file := files[r.IntN(len(files))]
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == 0 {
				t.Skip("it is empty")
			}
			if b = faults[c.fault].do(r, b); b == nil {
				err = os.Remove(file)
			} else {
				err = os.WriteFile(file, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			again := start(t, testOptions(dir, "a", "b"), sampleTuning())
			slowest = max(slowest, time.Since(began))
			if st := again.Stats(); !st.Durable {
				t.Fatalf("%s: %+v", filepath.Base(file), st)
			}
			missing := s.judge(t, again)
			run, explained = run+1, explained+missing
			if n := len(asides(dir)); n > 0 {
				setAside++
				saved += len(s.owed["b"]) - missing
				if n > 1 {
					t.Errorf("%d stores are kept", n)
				}
			}
		}) {
			t.Logf("seed %d", seed)
		}
	}
	if slowest > 10*time.Second {
		t.Errorf("opening took %s", slowest)
	}
	t.Logf("%d cases, %d stores set aside, %d records of them saved for b, %d records explained as lost; slowest opening %s; undeclared losses: 0",
		run, setAside, saved, explained, slowest.Round(time.Millisecond))
}

// judge drains the store, and says how many records "b" did not get; each of them must be explained.
func (s *sample) judge(t *testing.T, r *running) (missing int) {
	t.Helper()
	came := map[string]map[string]bool{"a": {}, "b": {}}
	spans := map[string]map[string]ranges{"a": {}, "b": {}}
	take := func(name string) (any bool) {
		c := r.cursor(name)
		for _, lane := range Lanes {
			for {
				b, ok := c.Next(lane, 100, 1<<20)
				if !ok {
					break
				}
				any = true
				for i := range b.Records {
					rec := &b.Records[i]
					k := fmt.Sprint(b.Class, " ", rec.Seq)
					if e := rec.Event; e != nil && e.Kind != "change" {
						explain(t, spans[name], e)
					} else if want, ok := s.all[k]; b.Epoch == 1 && ok && want != rec.At.Mono {
						t.Fatalf("%s names record %d, and was %d", k, rec.At.Mono, want)
					} else if b.Epoch != 1 {
						t.Fatalf("record %d came back under a new number: %s of epoch %d", rec.At.Mono, k, b.Epoch)
					}
					if b.Epoch == 1 {
						came[name][k] = true
					}
				}
				c.Ack(b)
			}
		}
		return any
	}
	r.wait("everything that is told", func() bool {
		more := take("a") || take("b")
		r.mu.Lock()
		defer r.mu.Unlock()
		return !more && len(r.losses) == 0
	})
	take("a")
	take("b")
	r.balanced()
	topicOf := map[string]string{"replies": "reply", "events": "event", "readings": "data"}
	for name, owed := range s.owed {
		for k := range owed {
			class, number, _ := strings.Cut(k, " ")
			var seq uint64
			fmt.Sscan(number, &seq)
			if came[name][k] {
				continue
			}
			if name == "b" {
				missing++
			}
			if !spans[name][topicOf[class]].has(seq) {
				t.Fatalf("%s did not come to %s, and nothing explains it; explained: %v", k, name, spans[name])
			}
		}
	}
	return missing
}

// explain takes in what an event says of the numbers of epoch 1.
func explain(t *testing.T, spans map[string]ranges, e *field.Event) {
	t.Helper()
	if e.Kind != "loss" && e.Kind != "skip" {
		return
	}
	of := map[string]uint64{"count": 1}
	for _, m := range e.More {
		of[m.Name] = m.Value.Bits()
	}
	if of["count"] == 0 || of["to_seq"] < of["from_seq"] {
		t.Errorf("it explains nothing: %+v", e)
	}
	if of["of_epoch"] == 1 {
		x := spans[e.Subject]
		x.add(of["from_seq"], of["to_seq"]+1)
		spans[e.Subject] = x
	}
}
