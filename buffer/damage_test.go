package buffer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgegateway/adapters/field"
)

// corrupt overwrites the middle of the store's files that match.
func corrupt(t *testing.T, dir, pattern string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, flashFolder, pattern))
	if len(files) == 0 {
		t.Fatalf("no file matches %s", pattern)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(b) / 4; i < len(b)/2; i++ {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, dir, pattern string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	if len(files) == 0 {
		t.Fatalf("no file matches %s", pattern)
	}
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func empty(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, flashFolder, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamage damages one file of a store that was stopped cleanly with 3000 readings waiting. Whatever happens: the
// store opens, goes on, gives no number twice, and says what is lost.
func TestDamage(t *testing.T) {
	const n = 3000
	for _, c := range []struct {
		name  string
		do    func(t *testing.T, dir string)
		epoch uint32
		lost  bool // something must be declared
	}{
		{"nothing", func(*testing.T, string) {}, 1, false},
		{"a zero-length memtable", func(t *testing.T, dir string) { empty(t, dir, "00099.mem") }, 1, false},
		{"a zero-length value log", func(t *testing.T, dir string) { empty(t, dir, "000099.vlog") }, 1, false},
		{"MANIFEST flipped", func(t *testing.T, dir string) { corrupt(t, dir, "MANIFEST") }, 2, false},
		{"MANIFEST empty", func(t *testing.T, dir string) { empty(t, dir, "MANIFEST") }, 2, false},
		{"MANIFEST gone", func(t *testing.T, dir string) { remove(t, dir, "db/MANIFEST") }, 2, false},
		{"a table gone", func(t *testing.T, dir string) { remove(t, dir, "db/*.sst") }, 2, true},
		{"KEYREGISTRY empty", func(t *testing.T, dir string) { empty(t, dir, "KEYREGISTRY") }, 1, false},
		{"KEYREGISTRY flipped", func(t *testing.T, dir string) { corrupt(t, dir, "KEYREGISTRY") }, 1, false},
		{"the folder gone", func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, flashFolder)) }, 2, true},
		{"the record of numbers gone", func(t *testing.T, dir string) { remove(t, dir, identityFile) }, 2, false},
		{"the record of numbers flipped", func(t *testing.T, dir string) {
			name := filepath.Join(dir, identityFile)
			b, _ := os.ReadFile(name)
			b[10] ^= 1
			os.WriteFile(name, b, 0o600)
		}, 2, false},
		{"three crashes while opening", func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, openingFile), []byte("3"), 0o600) }, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			r := start(t, testOptions(dir, "a"), quick())
			g := meter("feeder-1")
			r.fill(g, 0, n)
			r.sealed(field.Readings)
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			c.do(t, dir)
			r = start(t, testOptions(dir, "a"), quick())
			if st := r.Stats(); st.Epoch != c.epoch || !st.Durable {
				t.Fatalf("%+v", st)
			}
			r.balanced()
			cur := r.cursor("a")
			old := drain(cur, Backlog)
			r.fill(g, n, n+1)
			r.sealed(field.Readings)
			fresh, ok := cur.Next(Backlog, 10, 1<<20)
			if !ok || fresh.Epoch != c.epoch {
				t.Fatalf("%+v", fresh)
			}
			if fresh.Epoch == 1 && fresh.Records[0].Seq != n+1 {
				t.Errorf("number %d after %d", fresh.Records[0].Seq, n)
			}
			lost := r.Stats().Destinations[0].Books[field.Readings].Lost
			if uint64(len(old))+lost < n || !c.lost && len(old) != n || len(old) > 0 && seqs(old) != "1-3000" {
				t.Errorf("%d came back, %d were declared lost, of %d", len(old), lost, n)
			}
			if c.lost != (lost > 0) {
				t.Errorf("declared lost: %d", lost)
			}
			if c.lost {
				r.wait("the ledger", func() bool { return len(r.Ledger(0)) > 0 })
				if l := r.Ledger(0)[0]; l.Cause != Corrupt || l.Epoch != 1 || l.From != 1 || l.To != n {
					t.Errorf("%+v", l)
				}
			}
			r.balanced()
		})
	}
}

// TestDamagedBlocksCostThemselvesAlone flips bytes in the tables: Badger opens them, and what cannot be read is found
// while draining, and declared.
func TestDamagedBlocksCostThemselvesAlone(t *testing.T) {
	const n = 6000
	dir := t.TempDir()
	r := start(t, testOptions(dir, "a", "b"), quick())
	g := meter("feeder-1")
	for at := 0; at < n; at += 100 {
		r.fill(g, at, at+100)
		r.sealed(field.Readings)
	}
	r.end()
	files, _ := filepath.Glob(filepath.Join(dir, flashFolder, "*.sst"))
	if len(files) == 0 {
		t.Fatal("no table")
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 5000; i < 5008; i++ { // in the data, far from the table's index
		b[i] ^= 0xff
	}
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	r = start(t, testOptions(dir, "a", "b"), quick())
	for _, name := range []string{"a", "b"} {
		got := drain(r.cursor(name), Backlog)
		st := r.Stats()
		for _, d := range st.Destinations {
			books := d.Books[field.Readings]
			if d.Name == name && (uint64(len(got))+books.ByCause[Corrupt] != n || books.Buffered != 0 || books.Lost == 0 || books.Lost > 500) {
				t.Errorf("%s: %d came back; %+v", name, len(got), books)
			}
		}
	}
	r.balanced()
	r.wait("the ledger", func() bool { return len(r.Ledger(0)) > 0 })
	for _, l := range r.Ledger(0) {
		if l.Cause != Corrupt || l.To-l.From+1 < l.Count {
			t.Errorf("%+v", l)
		}
	}
}

func TestOneDamagedStoreIsKept(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		r := start(t, testOptions(dir, "a"), quick())
		if got := r.Epoch(); got != uint32(round+1) {
			t.Fatalf("epoch %d in round %d", got, round)
		}
		r.fill(meter("feeder-1"), 0, 10)
		r.end()
		corrupt(t, dir, "MANIFEST")
	}
	if list := asides(dir); len(list) != 1 || list[0] != "damaged-3" {
		t.Errorf("%q", list)
	}
}

func TestASecondDaemonIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	r := start(t, testOptions(dir, "a"), quick())
	if _, err := open(testOptions(dir, "a"), quick()); !errors.Is(err, ErrLocked) {
		t.Fatalf("%v", err)
	}
	r.end()
	start(t, testOptions(dir, "a"), quick())
}

// TestALockThatIsStillHeldIsWaitedFor: a process that was killed may hold the store's locks a little longer.
func TestALockThatIsStillHeldIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	start(t, testOptions(dir, "a"), quick()).end()
	for _, name := range []string{flashFolder, "lock"} {
		held, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		released := make(chan struct{})
		go func() {
			defer close(released)
			time.Sleep(4 * lockLook)
			held.Close()
		}()
		patient := quick()
		patient.lock = time.Minute
		r := start(t, testOptions(dir, "a"), patient)
		<-released
		if st := r.Stats(); !st.Durable {
			t.Errorf("%s: not durable: %s", name, st.Trouble)
		}
		r.end()
	}
	if list := asides(dir); len(list) != 0 {
		t.Errorf("set aside: %q", list)
	}
}

// TestWhatIsInUseIsLeftAlone: while another process has the store on flash open, what it is about to list or to fill looks
// like the rests of a crash.
func TestWhatIsInUseIsLeftAlone(t *testing.T) {
	o := testOptions(t.TempDir(), "a")
	dir := filepath.Join(o.Dir, flashFolder)
	holder, err := openFlash(dir, "", newShapes(), o.Log)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.close()
	for _, name := range []string{"000099.sst", "00099.mem"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := idle(t, o); r.Stats().Durable {
		t.Fatal("the store is open while another has it")
	}
	if found(t, dir, "000099.sst") != 1 || found(t, dir, "00099.mem") != 1 {
		t.Error("they were taken away")
	}
	if found(t, o.Dir, openingFile) > 0 {
		t.Error("an attempt that ended counts as a crash")
	}
}

func TestNoUsableFolder(t *testing.T) {
	parent := t.TempDir()
	file := filepath.Join(parent, "state")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(filepath.Join(file, "buffer"), "a")
	r := start(t, o, quick())
	if st := r.Stats(); st.Durable || st.Trouble == "" || st.Epoch < 1<<31 {
		t.Fatalf("%+v", st)
	}
	g := meter("feeder-1")
	r.fill(g, 0, 5)
	c := r.cursor("a")
	b, ok := c.Next(Live, 3, 1<<20)
	if !ok || seqs(b.Records) != "1-3" {
		t.Fatalf("%+v", b)
	}
	// The folder can be made now: what is in memory goes to flash, under the name that it had.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.wait("the store", func() bool { return r.Stats().Durable })
	r.fill(g, 5, 10)
	r.sealed(field.Readings)
	c.Ack(b)
	first, _ := c.Next(Backlog, 100, 1<<20)
	second, _ := c.Next(Backlog, 100, 1<<20)
	if first == nil || second == nil || seqs(first.Records) != "4-5" || first.Epoch != b.Epoch || seqs(second.Records) != "1-5" || second.Epoch != 1 {
		t.Fatalf("%+v\n%+v", first, second)
	}
	r.balanced()
}

func TestAnUncleanStopIsSkippedAndSaid(t *testing.T) {
	dir := t.TempDir()
	s, err := open(testOptions(dir, "a"), quick())
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Store: s, t: t}
	r.fill(meter("feeder-1"), 0, 20)
	s.seal(everything)
	r.fill(meter("feeder-1"), 20, 25)
	// What a crash leaves: everything as it is on the disk, and no lock.
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.closeFlash()
	s.w.lock.release()

	r = start(t, testOptions(copied, "a"), quick())
	c := r.cursor("a")
	var told []field.Record
	r.wait("the events", func() bool { told = append(told, drain(c, Events)...); return len(told) >= 2 })
	spans := map[string][2]uint64{}
	for _, e := range told {
		if e.Event.Kind != "skip" {
			t.Fatalf("%+v", e.Event)
		}
		spans[e.Event.Subject] = [2]uint64{e.Event.More[0].Value.Bits(), e.Event.More[1].Value.Bits()}
	}
	if spans["data"] != [2]uint64{21, 500} || spans["event"] != [2]uint64{1, 500} {
		t.Errorf("%v", spans)
	}
	if told[0].Seq != 501 {
		t.Errorf("the event has number %d", told[0].Seq)
	}
	r.fill(meter("feeder-1"), 0, 1)
	r.sealed(field.Readings)
	if got := seqs(drain(c, Backlog)); got != "1-20 501" {
		t.Errorf("%s", got)
	}
	r.end()
	r = start(t, testOptions(copied, "a"), quick())
	if e := drain(r.cursor("a"), Events); len(e) != 0 {
		t.Errorf("skips after a clean stop: %+v", e)
	}
}
