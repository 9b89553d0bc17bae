package replay_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/adapters/ble"
	"edgegateway/gatewayd/replay"
)

func series(device, seal string) ble.Series {
	return ble.Series{Device: device, Format: "bthome", Seal: seal}
}

// has fails the test where the book does not give the number; -1 for none.
func has(t *testing.T, b *replay.Book, s ble.Series, want int64) {
	t.Helper()
	n, ok := b.Last(s)
	if got := int64(n); !ok && want != -1 || ok && got != want {
		t.Errorf("%+v: %d, %v; want %d", s, n, ok, want)
	}
}

// TestWrites: the file is written ten minutes after a change at most once, at the end, and not while nothing changed.
func TestWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "counts.json")
		b := replay.Open(file, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		b.Note(series("cellar", "a"), 1)
		b.Note(series("attic", "a"), 1<<32-1)
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if _, err := os.Stat(file); err == nil {
			t.Error("it was written before ten minutes had passed")
		}
		b.Note(series("cellar", "a"), 7)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		crashed := replay.Open(file, slog.New(slog.DiscardHandler)) // as one finds it that was not stopped
		has(t, crashed, series("cellar", "a"), 7)
		has(t, crashed, series("attic", "a"), 1<<32-1)
		has(t, crashed, series("attic", "b"), -1)
		has(t, crashed, ble.Series{Device: "attic", Format: "mibeacon", Seal: "a"}, -1)

		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		b.Note(series("cellar", "a"), 7)
		b.Forget(func(string) bool { return true })
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := os.Stat(file); err == nil {
			t.Error("it was written, and nothing had changed")
		}

		b.Note(series("cellar", "b"), 3) // another key: the one before is worth nothing
		b.Forget(func(device string) bool { return device == "cellar" })
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		next := replay.Open(file, slog.New(slog.DiscardHandler))
		has(t, next, series("cellar", "b"), 3)
		has(t, next, series("cellar", "a"), -1)
		has(t, next, series("attic", "a"), -1)
	})
}

// TestDamaged: a file that says nothing is told of, and replaced; one that is not there, or names nobody, is as it should be.
func TestDamaged(t *testing.T) {
	for content, damaged := range map[string]bool{
		"": true, "{}": true, `{"counts":[{"device":"cell`: true, `{"counts":[{"device":"cellar","last":-1}]}`: true, strings.Repeat("\x00", 200): true,
		`{"counts":[]}`: false, "none": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "counts.json")
			if content != "none" {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var said bytes.Buffer
			log := slog.New(slog.NewTextHandler(&said, nil))
			b := replay.Open(file, log)
			if got := strings.Contains(said.String(), "begin anew"); got != damaged {
				t.Errorf("%q: said %q", content, said.String())
			}
			has(t, b, series("cellar", "a"), -1)
			b.Note(series("cellar", "a"), 5)
			stopped, stop := context.WithCancel(t.Context())
			stop()
			if err := b.Run(stopped); err != nil {
				t.Error(err)
			}
			said.Reset()
			has(t, replay.Open(file, log), series("cellar", "a"), 5)
			if said.Len() > 0 {
				t.Errorf("%q: then said %q", content, said.String())
			}
		})
	}
}

// TestUnwritable: a folder that cannot be written is told of once, and what was not kept is once it can.
func TestUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "state")
		file := filepath.Join(folder, "counts.json")
		var said bytes.Buffer
		b := replay.Open(file, slog.New(slog.NewTextHandler(&said, nil)))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		b.Note(series("cellar", "a"), 5)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(said.String(), "cannot be kept"); n != 1 {
			t.Errorf("said %d times:\n%s", n, said.String())
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		has(t, replay.Open(file, slog.New(slog.DiscardHandler)), series("cellar", "a"), 5)
		stop()
		<-ended
	})
}
