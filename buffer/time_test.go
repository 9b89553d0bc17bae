package buffer

import (
	"context"
	"sync/atomic"
	"testing"

	"edgegateway/adapters/field"
)

// TestStampsArePutRightWhenRecordsLeave takes records before the clock is known, some of them in a boot that is over,
// and lets them go after it is: from flash, from the head and in an export, and what is stored stays as it was taken.
func TestStampsArePutRightWhenRecordsLeave(t *testing.T) {
	dir := t.TempDir()
	var known atomic.Bool
	offsets := map[uint32]int64{1: 5e12, 2: 7e12} // by boot; nothing is ever known of boot 3
	o := testOptions(dir, "a")
	o.Correct = func(at field.Stamp) field.Stamp {
		if offset, ok := offsets[at.Boot]; ok && known.Load() {
			at.Wall, at.Trust = at.Mono+offset, field.Corrected
		}
		return at
	}
	early := func(boot uint32, n int) field.Record {
		r := reading(meter("feeder-1"), n)
		r.At = field.Stamp{Wall: int64(n), Mono: int64(n) * 1000, Boot: boot, Trust: field.Estimated}
		return r
	}
	r := start(t, o, quick())
	if err := r.Append(context.Background(), early(1, 1), early(3, 2), reading(meter("feeder-1"), 3)); err != nil {
		t.Fatal(err)
	}
	r.sealed(field.Readings)
	c := r.cursor("a")
	if b, _ := c.Next(Backlog, 1, 1<<16); b.Records[0].At.Trust != field.Estimated {
		t.Errorf("put right before anything is known: %+v", b.Records[0].At)
	}
	r.end()

	r = start(t, o, quick()) // the box booted again: boot 2
	late := early(2, 4)
	late.Event, late.Group, late.Values = &field.Event{Kind: "change"}, nil, nil
	if err := r.Append(context.Background(), late); err != nil {
		t.Fatal(err)
	}
	known.Store(true)
	check := func(what string, got []field.Record) {
		t.Helper()
		want := []field.Stamp{
			{Wall: 5e12 + 1000, Mono: 1000, Boot: 1, Trust: field.Corrected},
			{Wall: 2, Mono: 2000, Boot: 3, Trust: field.Estimated},
			reading(meter("feeder-1"), 3).At,
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d records", what, len(got))
		}
		for i := range want {
			if got[i].At != want[i] {
				t.Errorf("%s: record %d has %+v, want %+v", what, i, got[i].At, want[i])
			}
		}
	}
	var exported []field.Record
	if err := r.Export(context.Background(), "a", func(_ uint32, rec field.Record) error {
		if rec.Group != nil {
			exported = append(exported, rec)
		} else if rec.Event.Kind == "change" && rec.At.Wall != 7e12+4000 {
			t.Errorf("the event has %+v", rec.At)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	check("exported", exported)
	c = r.cursor("a")
	b, _ := c.Next(Backlog, 10, 1<<16)
	check("from flash", b.Records)
	c.Rewind()
	known.Store(false)
	if b, _ := c.Next(Backlog, 1, 1<<16); b.Records[0].At != early(1, 1).At {
		t.Errorf("what is stored was changed: %+v", b.Records[0].At)
	}
}
