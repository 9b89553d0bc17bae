package field

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestQualitiesAreTheContractsWords(t *testing.T) {
	want := []string{"good", "timeout", "exception", "offline", "invalid", "stale", "uncertain", "absent"}
	for i, word := range want {
		if got := Quality(i).String(); got != word {
			t.Errorf("quality %d is %q, want %q", i, got, word)
		}
	}
	var zero Quality
	if zero != Good {
		t.Error("the zero quality is not good: a record without qualities would be a bad one")
	}
	if got := Quality(200).String(); got == "good" || got == "absent" {
		t.Errorf("a quality that nobody knows is %q: it would pass for a value, or be dropped", got)
	}
}

func TestTrustIsTheContractsWord(t *testing.T) {
	for trust, want := range map[Trust]string{Synchronised: "", Corrected: "corrected", Estimated: "estimated"} {
		if got := trust.String(); got != want {
			t.Errorf("trust %d is %q, want %q", trust, got, want)
		}
	}
	if (Stamp{}).Trust != Synchronised {
		t.Error("the zero stamp needs a word on the wire")
	}
}

func TestClassesRankMostUrgentFirst(t *testing.T) {
	seen := map[string]bool{}
	for i, c := range Classes {
		if int(c) != i {
			t.Errorf("class %s stands at %d and has the rank %d", c, i, c)
		}
		seen[c.String()] = true
	}
	if len(seen) != len(Classes) || !seen["replies"] || !seen["events"] || !seen["readings"] {
		t.Errorf("the classes are %v", seen)
	}
}

func TestRecordClass(t *testing.T) {
	group := &Group{Device: "pump-1", Name: MainGroup, Points: []Point{{Name: "level", Kind: KindFloat32, Unit: "m"}}}
	for _, c := range []struct {
		name   string
		record Record
		want   Class
	}{
		{"a reading", Record{Group: group, Values: []Value{Float32(2.5)}}, Readings},
		{"an event", Record{Event: &Event{Kind: "device_offline", Subject: "pump-1"}}, Events},
		{"a reply", Record{Reply: []byte(`{"v":1}`)}, Replies},
	} {
		if got := c.record.Class(); got != c.want {
			t.Errorf("%s is of class %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRecordQualities(t *testing.T) {
	for _, c := range []struct {
		name     string
		record   Record
		want     []Quality
		readings int
	}{
		{"all good", Record{Values: []Value{Int(1), Int(2)}}, []Quality{Good, Good}, 2},
		{
			"one silent", Record{Values: []Value{Int(1), {}}, Quality: []Quality{Good, Timeout}},
			[]Quality{Good, Timeout}, 2,
		},
		{
			"one not spoken of", Record{Values: []Value{{}, Int(2), {}}, Quality: []Quality{Absent, Good, Exception}},
			[]Quality{Absent, Good, Exception}, 2,
		},
		{"nothing spoken of", Record{Values: []Value{{}}, Quality: []Quality{Absent}}, []Quality{Absent}, 0},
		{"an event", Record{Event: &Event{Kind: "clock"}}, nil, 0},
	} {
		for i, want := range c.want {
			if got := c.record.QualityOf(i); got != want {
				t.Errorf("%s: point %d is %s, want %s", c.name, i, got, want)
			}
		}
		if got := c.record.Readings(); got != c.readings {
			t.Errorf("%s: %d readings, want %d", c.name, got, c.readings)
		}
	}
}

func TestFaultsNameTheKeyTheValueAndTheHint(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{
			&TagError{Tag: "level", Key: "order", Value: "ABDC", Problem: "no such order", Hint: "ABCD, CDAB, BADC, DCBA"},
			`tag "level": order = "ABDC": no such order (ABCD, CDAB, BADC, DCBA)`,
		},
		{&TagError{Tag: "level", Key: "at", Value: "", Problem: "is missing"}, `tag "level": at = "": is missing`},
		{
			&DeviceError{Key: "address", Value: "300", Problem: "no such unit", Hint: "1 to 247"},
			`address = "300": no such unit (1 to 247)`,
		},
		{&DeviceError{Key: "holes", Value: "x", Problem: "cannot be read"}, `holes = "x": cannot be read`},
		{&ExceptionError{Code: 2, Name: "illegal data address"}, "the device answered exception 2 (illegal data address)"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestJoinedFaultsCanBeTakenApart: Bind reports every fault at once, and the configuration looks each one up.
func TestJoinedFaultsCanBeTakenApart(t *testing.T) {
	err := errors.Join(&TagError{Tag: "a"}, &DeviceError{Key: "address"}, &TagError{Tag: "b"})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Fatalf("%v is not three errors", err)
	}
	var tag *TagError
	if !errors.As(err, &tag) || tag.Tag != "a" {
		t.Errorf("the first tag's fault is %v", tag)
	}
	if strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not a line for each fault:\n%v", err)
	}
}

func TestPause(t *testing.T) {
	Pause(context.Background()) // nobody wants anything: nothing happens
	paused := 0
	ctx := WithPause(context.Background(), func() { paused++ })
	ctx, cancel := context.WithCancel(ctx)
	Pause(ctx)
	cancel()
	Pause(ctx)
	if paused != 2 {
		t.Errorf("called %d times, want 2: also under a context derived from it, and one that has ended", paused)
	}
}
