package buffer

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"edgegateway/adapters/field"
)

var kills = flag.Int("kills", 10, "rounds of the kill -9 test")

const crashDir = "BUFFER_TEST_CRASH_DIR"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	os.Exit(m.Run())
}

// crashOptions are those of the process that is killed and of the one that looks afterwards.
func crashOptions(dir string) Options {
	o := testOptions(dir, "a", "b")
	o.Commit = 10 * time.Millisecond
	return o
}

func crashTuning() tuning {
	t := quick()
	t.bucketBytes = 2 << 10
	t.leaseLeast = 200
	return t
}

// crashChild appends and drains until it is killed. It prints what the outside then knows: "t" a record was taken and
// is durable (an event's Append returned), "g" a record was given to a destination, durably or live, "k" it is about to
// be acknowledged. Each line is written at once, so that what the process did is never less than what it said.
func crashChild(dir string) {
	s, err := open(crashOptions(dir), crashTuning())
	if err != nil {
		fmt.Println("! ", err)
		return
	}
	go s.Run(context.Background())
	fmt.Println("up")
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for i, name := range []string{"a", "b"} {
		c, _ := s.Cursor(name)
		go func() {
			for ; ; time.Sleep(time.Duration(1+i*7) * time.Millisecond) {
				for _, lane := range Lanes {
					b, ok := c.Next(lane, 20, 1<<16)
					if !ok {
						continue
					}
					said := ""
					acked := i == 0 || rand.IntN(3) > 0
					for _, r := range b.Records {
						said += fmt.Sprintf("g %s %s %d %d %d %t\n", name, b.Class, b.Epoch, r.Seq, r.At.Mono, lane != Live)
						if acked {
							said += fmt.Sprintf("k %s %d\n", name, r.At.Mono)
						}
					}
					fmt.Print(said)
					if acked {
						c.Ack(b)
					} else {
						c.Rewind()
					}
				}
			}
		}()
	}
	g := meter("feeder-1")
	for n := int64(0); ; n++ {
		r := reading(g, int(n))
		if n%5 == 4 {
			r = event(int(n))
		}
		r.At.Mono = time.Now().UnixNano() // names the record, whatever number it gets
		if s.Append(context.Background(), r) == nil && r.Event != nil {
			fmt.Printf("t %d\n", r.At.Mono)
		}
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
	}
}

// TestKill kills a process that appends and drains, again and again on one store. After each kill: it opens in the
// same epoch, what was durable is there or was offered before, and no number ever names two records.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	names := map[string]int64{}                         // class, epoch and number → record
	seen := map[string]map[int64]bool{"a": {}, "b": {}} // records offered to a destination
	durable := map[int64]bool{}
	open := map[string]map[int64]bool{"a": {}, "b": {}} // offered from flash and not acknowledged
	given := func(name, class string, epoch uint32, seq uint64, record int64) {
		k := fmt.Sprint(class, epoch, seq)
		if old, ok := names[k]; ok && old != record {
			t.Fatalf("%s %d of epoch %d names two records", class, seq, epoch)
		}
		names[k] = record
		seen[name][record] = true
	}
	for range *kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(pipe)
		if !lines.Scan() || lines.Text() != "up" {
			t.Fatalf("the store did not open: %q", lines.Text())
		}
		kill := time.AfterFunc(time.Duration(50+rng.IntN(250))*time.Millisecond, func() { cmd.Process.Kill() })
		for lines.Scan() {
			var name, class string
			var epoch uint32
			var seq uint64
			var record int64
			var sealed bool
			if n, _ := fmt.Sscanf(lines.Text(), "g %s %s %d %d %d %t", &name, &class, &epoch, &seq, &record, &sealed); n == 6 {
				given(name, class, epoch, seq, record)
				if sealed && record > 0 {
					open[name][record] = true
				}
			} else if n, _ := fmt.Sscanf(lines.Text(), "k %s %d", &name, &record); n == 2 {
				delete(open[name], record)
			} else if n, _ := fmt.Sscanf(lines.Text(), "t %d", &record); n == 1 {
				durable[record] = true
			}
		}
		kill.Stop()
		_, _ = io.Copy(io.Discard, pipe)
		_ = cmd.Wait() // killed
	}

	r := start(t, crashOptions(dir), crashTuning())
	if st := r.Stats(); st.Epoch != 1 || !st.Durable {
		t.Fatalf("%+v", st)
	}
	r.balanced()
	skipped := 0
	for _, name := range []string{"a", "b"} {
		c := r.cursor(name)
		for _, lane := range Lanes {
			for {
				b, ok := c.Next(lane, 100, 1<<16)
				if !ok {
					break
				}
				for _, rec := range b.Records {
					if e := rec.Event; e != nil && e.Kind != "change" {
						if e.Kind != "skip" {
							t.Errorf("%+v", e)
						}
						skipped++
						continue
					}
					given(name, rec.Class().String(), b.Epoch, rec.Seq, rec.At.Mono)
					delete(open[name], rec.At.Mono)
				}
				c.Ack(b)
			}
		}
		if n := len(open[name]); n > 0 {
			t.Errorf("%d records were on flash, never acknowledged by %s, and did not come again", n, name)
		}
		missing := 0
		for record := range durable {
			if !seen[name][record] {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%d of %d durable events were never offered to %s", missing, len(durable), name)
		}
	}
	r.balanced()
	t.Logf("%d kills, %d durable events, %d names given, %d skips still to be told at the end", *kills, len(durable), len(names), skipped)
	if len(r.Ledger(0)) > 0 {
		t.Errorf("%+v", r.Ledger(0))
	}
	for _, d := range r.Stats().Destinations {
		if n := d.Books[field.Readings].Lost; n > 0 {
			t.Errorf("%d readings lost", n)
		}
	}
}
