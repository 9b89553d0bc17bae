package consumer

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The contract's own examples, as they stand.
const (
	exampleData = `{"v":1,"gateway":"sub042-gw1","epoch":3,"backfill":false,
 "records":[{"seq":1042,"device":"feeder-1","t":1763925256123,"v":{"voltage_l1":230.2,"position":true},
             "q":{"current_l1":"timeout"},"tq":"estimated"}]}`
	exampleReply = `{"v":1,"id":"01JD","gateway":"sub042-gw1","verb":"write","code":"ok","text":"","result":{},"t":1763925256923}`
	exampleState = `{"v":1,"gateway":"sub042-gw1","online":true,"epoch":3,"version":"1.0.0","since":1763925200000}`
	exampleEvent = `{"v":1,"gateway":"sub042-gw1","epoch":3,"events":[
{"seq":7,"t":1763925256123,"kind":"change","subject":"pump-1/running","text":"","value":true,"was":false}]}`
)

func TestTheContractsExamplesPass(t *testing.T) {
	var records []Record
	var events []Event
	r := New(Options{
		Record: func(x Record) { records = append(records, x) },
		Event:  func(x Event) { events = append(events, x) },
	})
	r.Take("gw/sub042-gw1/state", []byte(exampleState), true)
	r.Take("gw/sub042-gw1/birth", []byte(`{"v":1,"gateway":"sub042-gw1","epoch":3,"devices":[]}`), true)
	r.Take("gw/sub042-gw1/birth/2", []byte(`{"v":1,"gateway":"sub042-gw1","epoch":3,"part":2,"devices":[]}`), true)
	r.Take("gw/sub042-gw1/data", []byte(exampleData), false)
	r.Take("gw/sub042-gw1/event", []byte(exampleEvent), false)
	r.Take("gw/sub042-gw1/reply", []byte(exampleReply), false)
	b := r.Books()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if b.Messages != 6 || b.Unique != 2 || b.Readings != 2 || b.Marked != 1 || b.Replies != 1 {
		t.Errorf("%+v", b)
	}
	x := records[0]
	v, ok := x.Float("voltage_l1")
	if x.Seq != 1042 || x.Device != "feeder-1" || x.Time != 1763925256123 || x.Trust != "estimated" || !ok || v != 230.2 ||
		string(x.Values["position"]) != "true" || x.Quality["current_l1"] != "timeout" {
		t.Errorf("%+v", x)
	}
	if e := events[0]; e.Seq != 7 || e.Kind != "change" || e.Subject != "pump-1/running" || string(e.Members["was"]) != "false" {
		t.Errorf("%+v", e)
	}
	if a := r.Replies("01JD"); len(a) != 1 || a[0].Code != "ok" || a[0].Verb != "write" {
		t.Errorf("%+v", a)
	}
	s, ok := r.State("gw/sub042-gw1")
	if !ok || !s.Online || s.Epoch != 3 || s.Changes != 1 || !strings.Contains(string(s.Birth), `"devices"`) {
		t.Errorf("%+v", s)
	}
}

// Each payload breaks the contract in one way; the complaint must name it.
func TestWhatBreaksTheContractIsReported(t *testing.T) {
	record := func(inside string) string {
		return `{"v":1,"gateway":"g","epoch":1,"backfill":false,"records":[{` + inside + `}]}`
	}
	event := func(inside string) string {
		return `{"v":1,"gateway":"g","epoch":1,"events":[{` + inside + `}]}`
	}
	for _, c := range []struct{ topic, payload, complaint string }{
		{"data", `[]`, "no JSON object"},
		{"data", `{"v":1`, "no valid JSON"},
		{"data", `{} {}`, "no valid JSON"},
		{"data", ``, "no valid JSON"},
		{"data", `{"v":2,"gateway":"g","epoch":1,"backfill":false,"records":[{"seq":1,"device":"d","t":1,"v":{}}]}`, "version 2"},
		{"data", `{"v":1,"gateway":"","epoch":1,"backfill":false,"records":[{"seq":1,"device":"d","t":1,"v":{}}]}`, "is empty"},
		{"data", `{"v":1,"gateway":"g","backfill":false,"records":[{"seq":1,"device":"d","t":1,"v":{}}]}`, `"epoch" is missing`},
		{"data", `{"v":1,"gateway":"g","epoch":1,"records":[{"seq":1,"device":"d","t":1,"v":{}}]}`, `"backfill" is missing`},
		{"data", `{"v":1,"gateway":"g","epoch":1,"backfill":false,"records":[]}`, `"records" is empty`},
		{"data", `{"v":1,"gateway":"g","epoch":1,"backfill":false,"records":{}}`, `"records" is no array`},
		{"data", `{"v":1,"gateway":"g","epoch":1,"backfill":0,"records":[{"seq":1,"device":"d","t":1,"v":{}}]}`, "no truth value"},
		{"data", `{"v":1,"gateway":"g","epoch":1,"backfill":false,"site":"x","records":[{"seq":1,"device":"d","t":1,"v":{}}]}`, `member "site" is unknown`},
		{"data", record(`"seq":1,"Seq":1,"device":"d","t":1,"v":{}`), `member "Seq" is unknown`},
		{"data", record(`"seq":1.0,"device":"d","t":1,"v":{}`), "no whole number"},
		{"data", record(`"seq":-1,"device":"d","t":1,"v":{}`), "no whole number"},
		{"data", record(`"seq":"1","device":"d","t":1,"v":{}`), "no whole number"},
		{"data", record(`"seq":1,"device":"","t":1,"v":{}`), "is empty"},
		{"data", record(`"seq":1,"device":"d","t":1763925256123000,"v":{}`), "no milliseconds"},
		{"data", record(`"seq":1,"device":"d","t":1`), `"v" is missing`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":[]`), `"v" is no object`},
		{"data", record(`"seq":1,"seq":1,"device":"d","t":1,"v":{}`), `"seq" stands there twice`},
		{"data", `{"v":1,"gateway":"g","epoch":1,"backfill":false,"records":[7]}`, "no JSON object"},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{"a":null}`), `tag "a" is null`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{"a":[1]}`), `"a" is [1]`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{"a":NaN}`), "no valid JSON"},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{"a":1,"a":2}`), `"a" stands there twice`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{"a":1},"q":{}`), "left out when all is well"},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{},"q":{"a":"bad"}`), `tag "a" has the quality "bad"`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{"a":1},"q":{"a":"stale"}`), `tag "a" stands there twice`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{},"tq":""`), `"tq" is ""`},
		{"data", record(`"seq":1,"device":"d","t":1,"v":{},"unit":"V"`), `member "unit" is unknown`},
		{"event", event(`"seq":1,"t":1,"kind":"noise"`), `"kind" is "noise"`},
		{"event", event(`"seq":1,"t":1,"kind":"change","subject":"p/r"`), `"value" is missing`},
		{"event", event(`"seq":1,"t":1,"kind":"loss","from_seq":1,"to_seq":2,"count":1`), `"cause" is missing`},
		{"event", event(`"seq":1,"t":1,"kind":"loss","cause":"rust","from_seq":1,"to_seq":2,"count":1`), `"cause" is "rust"`},
		{"event", event(`"seq":1,"t":1,"kind":"loss","cause":"expired","from_seq":3,"to_seq":2,"count":1`), "from 3 to 2"},
		{"event", event(`"seq":1,"t":1,"kind":"loss","cause":"expired","from_seq":1,"to_seq":2,"count":3`), "3 records in numbers 1 to 2"},
		{"event", event(`"seq":1,"t":1,"kind":"loss","cause":"expired","from_seq":1,"to_seq":2`), `"count" is missing`},
		{"event", event(`"seq":1,"t":1,"kind":"skip","from_seq":1`), `"to_seq" is missing`},
		{"state", `{"v":1,"gateway":"g","online":true,"epoch":1,"since":1}`, `"version" is missing`},
		{"reply", `{"v":1,"id":"a","gateway":"g","verb":"w","code":"fine","text":"","result":{},"t":1}`, `"code" is "fine"`},
		{"hello", `{}`, "no such topic"},
	} {
		r := New(Options{})
		r.Take("gw/g/"+c.topic, []byte(c.payload), false)
		b := r.Books()
		if got := strings.Join(b.Problems, "\n"); b.ProblemCount != 1 || !strings.Contains(got, c.complaint) {
			t.Errorf("%s %s\n  want one complaint of %s\n  got %s", c.topic, c.payload, c.complaint, got)
		}
		if b.Check() == nil {
			t.Errorf("%s %s passes", c.topic, c.payload)
		}
	}
	for _, topic := range []string{"data", "event", "reply"} {
		r := New(Options{})
		payload := map[string]string{"data": exampleData, "event": exampleEvent, "reply": exampleReply}[topic]
		r.Take("gw/g/"+topic, []byte(payload), true)
		if b := r.Books(); b.ProblemCount != 1 || !strings.Contains(b.Problems[0], "retained") {
			t.Errorf("a retained %s: %v", topic, b.Problems)
		}
	}
}

// A script is a gateway's day in short: "1-5" live records, "b3-4" backfill, "e1" events, "loss 3-4 2" and
// "skip 6-9" events with a number of their own, "/2" switches the epoch, "=x" changes what records say.
func play(r *Recorder, script string) {
	epoch, event, value := 1, 0, "1"
	send := func(topic, list, item string) {
		backfill := ""
		if topic == "data" {
			backfill = `"backfill":` + fmt.Sprint(strings.HasPrefix(list, "b")) + `,`
		}
		name := map[string]string{"data": "records", "event": "events"}[topic]
		r.Take("gw/g/"+topic, fmt.Appendf(nil, `{"v":1,"gateway":"g","epoch":%d,%s"%s":[%s]}`, epoch, backfill, name, item), false)
	}
	words := strings.Fields(script)
	for i := 0; i < len(words); i++ {
		w := words[i]
		var from, to uint64
		span := func(s string) {
			if n, _ := fmt.Sscanf(s, "%d-%d", &from, &to); n == 1 {
				to = from
			}
		}
		switch {
		case w[0] == '/':
			fmt.Sscanf(w, "/%d", &epoch)
		case w[0] == '=':
			value = w[1:]
		case w == "loss", w == "skip":
			event++
			i++
			subject := "data"
			if rest, ok := strings.CutPrefix(words[i], "e"); ok {
				subject, words[i] = "event", rest
			}
			span(words[i])
			more := ""
			if w == "loss" {
				i++
				count, where, also := strings.Cut(words[i], "@")
				more = `,"cause":"evicted","count":` + count
				if also {
					more += `,"destination":"` + where + `"`
				}
			}
			send("event", "", fmt.Sprintf(`{"seq":%d,"t":1,"kind":"%s","subject":"%s","from_seq":%d,"to_seq":%d%s}`, event, w, subject, from, to, more))
		case w[0] == 'e':
			span(w[1:])
			for seq := from; seq <= to; seq++ {
				event = int(seq)
				send("event", "", fmt.Sprintf(`{"seq":%d,"t":1,"kind":"sim"}`, seq))
			}
		default:
			span(strings.TrimPrefix(w, "b"))
			var items []string
			for seq := from; seq <= to; seq++ {
				items = append(items, fmt.Sprintf(`{"seq":%d,"device":"d","t":%d,"v":{"a":%s}}`, seq, seq, value))
			}
			send("data", w, strings.Join(items, ","))
		}
	}
}

func TestBooks(t *testing.T) {
	type want struct {
		unique, repeats, outOfOrder, backfilled int
		gaps                                    string
		explained, declared                     uint64
		problem                                 string
	}
	for _, c := range []struct {
		name, script string
		options      Options
		want         want
	}{
		{"a quiet day", "1-10 11 12-20", Options{}, want{unique: 20}},
		{"a day that began before we came", "100-110", Options{}, want{unique: 11}},
		{"the same, and we were there from the start", "3-5", Options{FromStart: true}, want{unique: 3, gaps: "1-2"}},
		{"from the start", "1-5", Options{FromStart: true}, want{unique: 5}},
		{"a gap", "1-5 8-9", Options{}, want{unique: 7, gaps: "6-7"}},
		{"two gaps", "1 3 5", Options{}, want{unique: 3, gaps: "2-2 4-4"}},
		{"repeats of a window", "1-10 6-12", Options{}, want{unique: 12, repeats: 5}},
		{"repeated as backfill", "1-10 b6-12", Options{}, want{unique: 12, repeats: 5, backfilled: 2}},
		{"an outage: live first, backfill behind", "1-5 20-22 b6-12 23 b13-19 24", Options{}, want{unique: 24, backfilled: 14}},
		{"out of order, live", "1-5 8 6-7 9", Options{}, want{unique: 9, outOfOrder: 2}},
		{"out of order, backfill", "1 20 b10-19 b2-9", Options{}, want{unique: 20, backfilled: 18, outOfOrder: 8}},
		{"a repeat is not out of order", "1-9 b3-4 10", Options{}, want{unique: 10, repeats: 2}},
		{"evicted and said so", "1-5 11-12 loss 6-10 5", Options{}, want{unique: 8, explained: 5, declared: 5}},
		{"said so beforehand", "loss 6-10 5 1-5 11-12", Options{}, want{unique: 8, explained: 5, declared: 5}},
		{"more lost than said", "1-5 12-13 loss 6-10 5", Options{}, want{unique: 8, gaps: "11-11", explained: 5, declared: 5}},
		{"thinned: every second one", "1-5 7 9 11 loss 6-10 3", Options{}, want{unique: 9, explained: 3, declared: 3}},
		{"thinned, and one more is missing", "1-5 7 11 loss 6-10 3", Options{},
			want{unique: 8, explained: 4, declared: 3, problem: "4 records are lost, and 3 were declared"}},
		{"a loss that came through after all", "1-5 loss 3-4 2", Options{}, want{unique: 6, declared: 2}},
		{"a loss told twice", "1-5 8 loss 6-7 2 e1 loss 6-7 2", Options{},
			want{unique: 8, repeats: 0, explained: 2, declared: 4, problem: "another record before"}},
		{"an unclean stop", "1-5 100-101 skip 4-99", Options{}, want{unique: 8, explained: 94}},
		{"a skip that is too short", "1-5 100-101 skip 6-98", Options{}, want{unique: 8, gaps: "99-99", explained: 93}},
		{"a loss within a skip needs no count", "1-5 100 loss 6-7 1 skip 6-99", Options{}, want{unique: 8, explained: 94, declared: 1}},
		{"a new epoch counts anew", "1-5 /2 1-3", Options{}, want{unique: 8}},
		{"an explanation holds for its epoch only", "1-5 8 /2 loss 6-7 2", Options{}, want{unique: 7, gaps: "6-7", declared: 2}},
		{"a gap among events", "e1 e2 e5", Options{}, want{unique: 3, gaps: "3-4"}},
		{"explained as events", "e1 e2 e5 loss e3-4 2", Options{}, want{unique: 4, explained: 2, declared: 2}},
		{"explained as data, which it is not", "e1 e2 e5 loss 3-4 2", Options{}, want{unique: 4, gaps: "3-4", declared: 2}},
		{"lost for us", "1 3 loss 2-2 1@us", Options{Destination: "us"}, want{unique: 3, explained: 1, declared: 1}},
		{"lost for another platform", "1 3 loss 2-2 1@them", Options{Destination: "us"}, want{unique: 3, gaps: "2-2"}},
		{"lost for all", "1 3 loss 2-2 1", Options{Destination: "us"}, want{unique: 3, explained: 1, declared: 1}},
		{"a number given twice", "1-3 =2 3-4", Options{}, want{unique: 4, repeats: 1, problem: "number 3 of epoch 1 was another record before"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New(c.options)
			play(r, c.script)
			b := r.Books()
			var gaps []string
			for _, g := range b.Gaps {
				gaps = append(gaps, fmt.Sprintf("%d-%d", g.From, g.To))
			}
			got := want{unique: b.Unique, outOfOrder: b.OutOfOrder, repeats: b.Repeats, backfilled: b.Backfilled,
				gaps: strings.Join(gaps, " "), explained: b.Explained, declared: b.Declared}
			if c.want.problem != "" {
				if b.ProblemCount != 1 || !strings.Contains(b.Problems[0], c.want.problem) {
					t.Errorf("problems %q, want %q", b.Problems, c.want.problem)
				}
				got.problem, got.repeats = c.want.problem, c.want.repeats
			} else if b.ProblemCount != 0 {
				t.Errorf("problems: %q", b.Problems)
			}
			if got != c.want {
				t.Errorf("\n got %+v\nwant %+v", got, c.want)
			}
			if bad := c.want.gaps != "" || c.want.outOfOrder > 0 || c.want.problem != ""; (b.Check() != nil) != bad {
				t.Errorf("Check: %v", b.Check())
			}
		})
	}
}

func TestATimePutRightIsStillTheSameRecord(t *testing.T) {
	r := New(Options{})
	before := strings.Replace(exampleData, "1763925256123", "1000", 1)
	after := strings.Replace(exampleData, "estimated", "corrected", 1)
	r.Take("gw/g/data", []byte(before), false)
	r.Take("gw/g/data", []byte(after), false)
	if b := r.Books(); b.Check() != nil || b.Unique != 1 || b.Repeats != 1 {
		t.Errorf("%+v, %v", b, b.Check())
	}
}

func TestOneAnswerForEachCommand(t *testing.T) {
	reply := func(code, result string, at int) []byte {
		return fmt.Appendf(nil, `{"v":1,"id":"a","gateway":"g","verb":"write","code":"%s","text":"","result":%s,"t":%d}`, code, result, at)
	}
	r := New(Options{})
	r.Take("gw/g/reply", reply("ok", "{}", 1), false)
	r.Take("gw/g/reply", reply("ok", "{}", 1), false) // QoS 1 may bring it twice
	r.Take("gw/g/reply", reply("repeated", "{}", 2), false)
	if b := r.Books(); b.Check() != nil || b.Replies != 2 || b.RepliesRepeated != 1 {
		t.Errorf("%+v, %v", b, b.Check())
	}
	r.Take("gw/g/reply", reply("failed", "{}", 3), false)
	if b := r.Books(); b.ProblemCount != 1 || !strings.Contains(b.Problems[0], "answered twice") {
		t.Errorf("%v", b.Problems)
	}
}

func TestStateTurns(t *testing.T) {
	r := New(Options{Prefix: "gw/g"})
	for _, online := range []bool{true, true, false, true} {
		payload := strings.Replace(exampleState, "true", fmt.Sprint(online), 1)
		r.Take("gw/g/state", []byte(payload), false)
		r.Take("gw/other/state", []byte("not ours"), false)
	}
	s, ok := r.State("gw/g")
	if !ok || !s.Online || s.Changes != 3 {
		t.Errorf("%+v", s)
	}
	if _, ok := r.State("gw/other"); ok || r.Books().Check() != nil {
		t.Error("another prefix was looked at")
	}
}

func TestStreamIsTheLatestEpochs(t *testing.T) {
	r := New(Options{})
	play(r, "1-5 /2 1-3 e1")
	b := r.Books()
	if s := b.Stream("g", "data"); s.Epoch != 2 || s.First != 1 || s.Last != 3 || s.Unique != 3 {
		t.Errorf("%+v", s)
	}
	if s := b.Stream("nobody", "data"); s != (Stream{}) {
		t.Errorf("%+v", s)
	}
}

func TestSplitTakesJSONApart(t *testing.T) {
	var got []string
	each([]byte(` {"a" : 1 ,"b":"},\"]" , "c\u0020d":{"x":[1,{}]},"e":[ ],"f":true, "g":-1.5e3}`)[1:], func(name string, value json.RawMessage) {
		got = append(got, name+"="+string(value))
	})
	if want := `a=1|b="},\"]"|c d={"x":[1,{}]}|e=[ ]|f=true|g=-1.5e3`; strings.Join(got, "|") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, "|"), want)
	}
	got = nil
	elements([]byte(`[ 1,"a" ,[2 ], {"b":"]"},null ]`), func(e json.RawMessage) { got = append(got, string(e)) })
	if want := `1|"a"|[2 ]|{"b":"]"}|null`; strings.Join(got, "|") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, "|"), want)
	}
	each([]byte(`{ }`), func(string, json.RawMessage) { t.Error("a member of nothing") })
	elements([]byte(`[]`), func(json.RawMessage) { t.Error("an element of nothing") })
}

func TestSpans(t *testing.T) {
	var s spans
	for _, x := range []Span{{5, 6}, {1, 1}, {9, 9}, {7, 7}, {3, 3}, {2, 2}, {6, 8}, {20, 30}, {12, 12}, {11, 25}} {
		s.add(x)
	}
	if want := (spans{{1, 3}, {5, 9}, {11, 30}}); !reflect.DeepEqual(s, want) {
		t.Fatalf("%v, want %v", s, want)
	}
	if got, want := (spans{{0, 40}}).without(s), (spans{{0, 0}, {4, 4}, {10, 10}, {31, 40}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := s.without(spans{{0, 40}}); got.len() != 0 {
		t.Errorf("%v", got)
	}
	if got, want := s.without(spans{{3, 5}, {15, 16}}), (spans{{1, 2}, {6, 9}, {11, 14}, {17, 30}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if s.len() != 28 {
		t.Errorf("%d", s.len())
	}
}

func BenchmarkTake(b *testing.B) {
	r := New(Options{})
	var values []string
	for i := range 100 {
		values = append(values, fmt.Sprintf(`"voltage_l%d":%d.5`, i, 200+i))
	}
	inside := strings.Join(values, ",")
	for i := 0; b.Loop(); i++ {
		r.Take("gw/g/data", fmt.Appendf(nil, `{"v":1,"gateway":"g","epoch":1,"backfill":false,"records":[{"seq":%d,"device":"d","t":1,"v":{%s}}]}`, i, inside), false)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100, "µs/reading")
}

func FuzzTake(f *testing.F) {
	f.Add("gw/g/data", exampleData)
	f.Add("gw/g/event", exampleEvent)
	f.Add("gw/g/reply", exampleReply)
	f.Add("gw/g/state", exampleState)
	f.Fuzz(func(t *testing.T, topic, payload string) {
		r := New(Options{FromStart: true})
		r.Take(topic, []byte(payload), false)
		r.Books()
	})
}
