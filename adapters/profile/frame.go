package profile

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile/strict"
)

// Frame is one [[test]]: a request, the answer that a device gave, and what they mean. Without a request the answer is
// what the device says by itself.
type Frame struct {
	Origin  string      // where the frames come from: "captured", a document, "constructed from the register table"
	Address string      // of the device that answered
	Before  [][2][]byte // requests and answers that come first: of a device that must be asked what it is
	Request []byte
	Answer  []byte
	Expect  map[string]strict.Value // tag → the value that the answer means
	Quality map[string]string       // tag → the quality of a tag that has no value then

	table *strict.Table
}

func readFrame(t *strict.Table) Frame {
	f := Frame{
		table:   t,
		Origin:  t.Need("origin", `where the frames come from: origin = "captured", or the document, or "constructed from the register table"`),
		Address: t.Need("address", `the device that answered: address = "1"`),
		Answer:  readHex(t, "answer"),
		Expect:  map[string]strict.Value{},
		Quality: t.Scalars("quality", `write quality = { tag = "invalid" }`),
	}
	if t.Has("request") {
		f.Request = readHex(t, "request")
	}
	if t.Has("before") {
		f.readBefore(t)
	}
	if expect := t.Inner("expect", "write expect = { tag = value, … }"); expect != nil {
		for _, k := range expect.Keys() {
			if expect.Scalar(k); !expect.Failed() {
				f.Expect[k], _ = expect.Find(k)
			}
		}
		expect.Done(nil)
	}
	if !t.Failed() && len(f.Expect)+len(f.Quality) == 0 {
		t.Complain("", "nothing is expected of the answer", "add expect = { tag = value, … }")
	}
	t.Done(nil)
	return f
}

// readBefore reads the exchanges that come before the one of the test, each as "request = answer".
func (f *Frame) readBefore(t *strict.Table) {
	for _, v := range t.Values("before") {
		request, answer, ok := strings.Cut(v.AsText(), "=")
		q, err := bytesOf(request)
		a, err2 := bytesOf(answer)
		if !ok || err != nil || err2 != nil || len(q) == 0 {
			t.ComplainOf("before", v, "this is no exchange", `write "01 03 9C 40 00 02 EB 8F = 01 03 04 53 75 6E 53 97 F0"`)
			continue
		}
		f.Before = append(f.Before, [2][]byte{q, a})
	}
}

// bytesOf reads "01 04 00".
func bytesOf(text string) ([]byte, error) {
	return hex.DecodeString(strings.Join(strings.Fields(text), ""))
}

func readHex(t *strict.Table, key string) []byte {
	text := t.Need(key, fmt.Sprintf(`the bytes of the frame: %s = "01 04 00 00 00 02 71 CB"`, key))
	b, err := bytesOf(text)
	if err != nil {
		t.Complain(key, "these are no bytes in hexadecimal notation", `write two digits for each: "01 04 00 00 00 02 71 CB"`)
	}
	return b
}

// checkFrame complains about tags that the profile does not have.
func (p *Profile) checkFrame(f Frame) {
	for _, name := range f.tags() {
		if p.Tag(name) == nil {
			key := "expect"
			if _, ok := f.Quality[name]; ok {
				key = "quality"
			}
			f.table.Complain(key, fmt.Sprintf("the profile has no tag %q", name), strict.Choices(name, p.TagNames()))
			p.root.Fail()
		}
	}
}

// tags lists the tags that the test speaks of.
func (f Frame) tags() []string {
	var names []string
	for name := range f.Expect {
		names = append(names, name)
	}
	for name := range f.Quality {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Exchange stands for the line in a test: it is given what the driver sends, and gives what the device answered.
type Exchange func(request []byte) (answer []byte, err error)

// Open makes the driver of a protocol on a line where exchange answers. Frames are those of the protocol's serial
// line, checksum and all.
type Open func(protocol string, exchange Exchange) (field.Driver, error)

// errUnexpected says that the driver sent something else than was captured.
var errUnexpected = errors.New("the driver sent another request than the one that was captured")

// Test runs the profile's captured frames through the real driver. For each test a device with the tags that the
// test names is bound and read: the driver must send the captured request and make the expected values of the
// captured answer. It returns a complaint for each test that fails.
func (p *Profile) Test(ctx context.Context, open Open) []strict.Problem {
	var problems []strict.Problem
	for _, f := range p.Tests {
		for _, err := range p.run(ctx, open, f) {
			problems = append(problems, f.table.Problem("", err.Error(), ""))
		}
	}
	return problems
}

// run runs one test and returns everything that is not as expected.
func (p *Profile) run(ctx context.Context, open Open, f Frame) []error {
	device := field.Device{Name: p.Name, Protocol: p.Protocol, Profile: p.Name, Address: f.Address, Quirks: p.Quirks}
	group := ""
	for _, t := range p.Tags {
		if !slices.Contains(f.tags(), t.Name) {
			continue
		}
		if group != "" && t.Group != group {
			return []error{errors.New("the test names tags of both groups: one request reads one group; make two tests of it")}
		}
		group = t.Group
		device.Tags = append(device.Tags, t)
	}
	sent := -len(f.Before)
	var wrong error
	driver, err := open(p.Protocol, func(request []byte) ([]byte, error) {
		if len(request) == 0 && f.Request == nil {
			return f.heard(&sent), nil
		}
		sent++
		if sent <= 0 && slices.Equal(request, f.Before[len(f.Before)-1+sent][0]) {
			return f.Before[len(f.Before)-1+sent][1], nil
		}
		if sent != 1 || !slices.Equal(request, f.Request) {
			wrong = fmt.Errorf("%w: % X instead of % X", errUnexpected, request, f.Request)
			return nil, wrong
		}
		return f.Answer, nil
	})
	if err != nil {
		return []error{err}
	}
	station, err := driver.Bind(device)
	if err != nil {
		return []error{err}
	}
	read := func() (field.Record, error) { return station.Read(ctx, group) }
	if pusher, ok := station.(field.Pusher); ok && pusher.Pushes() {
		read = func() (field.Record, error) { return hear(ctx, driver, group) }
	}
	if hearer, ok := station.(field.Hearer); ok && hearer.Hears(group) && f.Request == nil {
		read = func() (field.Record, error) { return hearer.Hear(f.Answer) }
	}
	record, err := read()
	switch {
	case wrong != nil:
		return []error{wrong}
	case err != nil:
		return []error{fmt.Errorf("the answer was not understood: %w", err)}
	}
	return f.compare(record)
}

// heard is what the device says by itself: its frame once, then nothing.
func (f Frame) heard(times *int) []byte {
	if *times++; *times > 1 {
		return nil
	}
	return f.Answer
}

// hear listens until the device has spoken of the group, or has been silent once.
func hear(ctx context.Context, driver field.Driver, group string) (heard field.Record, err error) {
	listener, ok := driver.(field.Listener)
	if !ok {
		return heard, errors.New("the device speaks by itself, and nothing listens")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = listener.Listen(ctx, func(r field.Record) {
		if r.Group.Name == group || group == "" && r.Group.Name == field.MainGroup {
			heard = r
			cancel()
		}
	})
	if heard.Group != nil {
		return heard, nil
	}
	return heard, fmt.Errorf("nothing was heard: %w", err)
}

// patience is how long a test listens for a frame that is there at once, or never.
const patience = time.Second

func (f Frame) compare(r field.Record) []error {
	var faults []error
	seen := map[string]bool{}
	for i, point := range r.Group.Points {
		seen[point.Name] = true
		quality, got := r.QualityOf(i), r.Values[i]
		if want, ok := f.Quality[point.Name]; ok {
			if quality.String() != want {
				faults = append(faults, fmt.Errorf("%s: the quality is %s, and %s is expected", point.Name, quality, want))
			}
			continue
		}
		want, ok := f.Expect[point.Name]
		switch {
		case !ok:
		case quality != field.Good:
			faults = append(faults, fmt.Errorf("%s: the quality is %s, and %s is expected", point.Name, quality, want.Raw()))
		case !equal(got, want):
			faults = append(faults, fmt.Errorf("%s = %s, and %s is expected", point.Name, got, want.Raw()))
		}
	}
	for _, name := range f.tags() {
		if !seen[name] {
			faults = append(faults, fmt.Errorf("%s is not in what was read", name))
		}
	}
	return faults
}

// equal compares what was read with what is written in a test: numbers to the last digit that their type can hold.
func equal(got field.Value, want strict.Value) bool {
	switch got.Kind() {
	case field.KindString:
		return want.IsText() && got.AsText() == want.AsText()
	case field.KindBool:
		flag, ok := want.IsFlag()
		return ok && got.AsBool() == flag
	}
	g, ok := got.Float()
	w, isNumber := want.Number()
	if !ok || !isNumber {
		return false
	}
	precision := 1e-12
	if got.Kind() == field.KindFloat32 {
		precision = 1e-7
	}
	return math.Abs(g-w) <= precision*max(math.Abs(g), math.Abs(w))
}
