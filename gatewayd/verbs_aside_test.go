package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/buffer"
	"edgegateway/gatewayd/candidate"
)

// asideStore leaves a store with n readings for the platform, set aside, in a state folder, and the configuration to it.
func asideStore(t *testing.T, n int) (state, config string) {
	t.Helper()
	state = t.TempDir()
	config = filepath.Join(t.TempDir(), "gatewayd.toml")
	if err := os.WriteFile(config, []byte("[gateway]\nname = \"box\"\n\n[platform]\nservers = [\"mqtt://127.0.0.1:1\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store := openBuffer(t, state)
	g := &field.Group{Device: "feeder-1", Name: field.MainGroup, Points: []field.Point{{Name: "power", Kind: field.KindInt, Unit: "W"}}}
	for i := range n {
		r := field.Record{At: field.Stamp{Wall: int64(i)}, Group: g, Values: []field.Value{field.Int(int64(i))}}
		if err := store.Append(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	closeBuffer(t, store)
	if err := os.Rename(filepath.Join(state, "buffer", "db"), filepath.Join(state, "buffer", "damaged-1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(state, "buffer", "damaged-1", "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	return state, config
}

func openBuffer(t *testing.T, state string, platforms ...string) *buffer.Store {
	t.Helper()
	if len(platforms) == 0 {
		platforms = []string{"platform"}
	}
	store, err := buffer.Open(buffer.Options{Dir: filepath.Join(state, "buffer"), Reserve: 1 << 20, Destinations: platforms,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func closeBuffer(t *testing.T, store *buffer.Store) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	end()
	if err := store.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreThatWasSetAsideIsReadAndTakenBack(t *testing.T) {
	const n = 250
	state, config := asideStore(t, n)
	call := func(want int, args ...string) string {
		t.Helper()
		var out, errOut bytes.Buffer
		if code := execute(append(args, "--state", state, "--config", config), &out, &errOut); code != want {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, out.String(), errOut.String())
		}
		return out.String()
	}
	var survey buffer.Survey
	if err := json.Unmarshal([]byte(call(0, "backlog", "verify", "--json")), &survey); err != nil || survey.Records() != n || survey.Damaged() != 0 {
		t.Fatalf("%+v, %v", survey, err)
	}
	if got := strings.Count(call(0, "backlog", "salvage", "--export"), `"device":"feeder-1"`); got != n {
		t.Errorf("%d records were printed, of %d", got, n)
	}
	call(0, "backlog", "salvage")
	// A second time nothing is left to save.
	if err := json.Unmarshal([]byte(call(0, "backlog", "salvage", "--json")), &survey); err != nil || survey.Records() != 0 {
		t.Errorf("%+v, %v", survey, err)
	}

	store := openBuffer(t, state)
	c, err := store.Cursor("platform")
	if err != nil {
		t.Fatal(err)
	}
	next, last := uint64(1), store.Epoch()
	for {
		b, ok := c.Next(buffer.Backlog, 100, 1<<20)
		if !ok {
			break
		}
		for _, r := range b.Records {
			if b.Epoch != 1 || r.Seq != next || r.Values[0].Bits() != next-1 {
				t.Fatalf("epoch %d, %+v, and number %d should come", b.Epoch, r, next)
			}
			next++
		}
		c.Ack(b)
	}
	if next != n+1 || last != 2 {
		t.Errorf("%d readings came back, of %d, in epoch %d", next-1, n, last)
	}
	closeBuffer(t, store)

	// It can be taken into another store, too, by the folder's name.
	folder := filepath.Join(state, "buffer", "damaged-1")
	if err := os.Remove(filepath.Join(folder, "saved")); err != nil {
		t.Fatal(err)
	}
	first := state
	state = t.TempDir()
	call(0, "backlog", "salvage", folder)
	store = openBuffer(t, state)
	if got := store.Stats().BlockRecords; got != n {
		t.Errorf("%d readings are in the other store, of %d", got, n)
	}
	closeBuffer(t, store)
	state = first

	// While a daemon runs its store is left alone; one that is not there is said so.
	store = openBuffer(t, state)
	call(1, "backlog", "salvage")
	closeBuffer(t, store)
	call(1, "backlog", "verify", filepath.Join(state, "nowhere"))
}

// TestSalvageServesThePlatformsThatHold: the installer's file knows less than the configuration from afar that holds, or
// that is on trial, and nobody loses by it what the store has for him.
func TestSalvageServesThePlatformsThatHold(t *testing.T) {
	const n = 20
	state, main := asideStore(t, n)
	platforms := []string{"platform", "kept", "trial"}
	store := openBuffer(t, state, platforms...)
	over, end := context.WithCancel(context.Background())
	end() // closing makes it durable
	if err := store.Append(over, field.Record{Reply: []byte("{}")}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	closeBuffer(t, store)

	text, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := candidate.Open(filepath.Join(state, configFolder), main, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range platforms[1:] {
		generation, _, err := kept.Prepare(candidate.Files{candidate.Main: fmt.Appendf(nil, "%sname = %q\n", text, name)})
		if err == nil {
			err = kept.Begin(candidate.Trial{Generation: generation})
		}
		if err == nil && name == "kept" {
			err = kept.End(true, "", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	var out, errOut bytes.Buffer
	if code := execute([]string{"backlog", "salvage", "--state", state, "--config", main}, &out, &errOut); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errOut.String())
	}
	store = openBuffer(t, state, platforms[1:]...)
	defer closeBuffer(t, store)
	for _, d := range store.Stats().Destinations {
		if b := d.Books[field.Replies]; b.Buffered != 1 {
			t.Errorf("%s is owed %d replies, and should be one", d.Name, b.Buffered)
		}
	}
	if trial := kept.Trial(); trial == nil {
		t.Error("the trial was ended")
	}
}
