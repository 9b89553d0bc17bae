package field

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestValueJSON(t *testing.T) {
	for _, c := range []struct {
		name string
		v    Value
		json string
		text string // what a person reads; "" when it is the JSON
	}{
		{"null", Value{}, `null`, ""},
		{"true", Bool(true), `true`, ""},
		{"false", Bool(false), `false`, ""},
		{"zero", Int(0), `0`, ""},
		{"negative", Int(-1), `-1`, ""},
		{"largest exact", Int(1 << 53), `9007199254740992`, ""},
		{"beyond exact", Int(1<<53 + 1), `"9007199254740993"`, `9007199254740993`},
		{"smallest exact", Int(-1 << 53), `-9007199254740992`, ""},
		{"below exact", Int(-1<<53 - 1), `"-9007199254740993"`, `-9007199254740993`},
		{"smallest int", Int(math.MinInt64), `"-9223372036854775808"`, `-9223372036854775808`},
		{"largest exact uint", Uint(1 << 53), `9007199254740992`, ""},
		{"beyond exact uint", Uint(1<<53 + 1), `"9007199254740993"`, `9007199254740993`},
		{"largest uint", Uint(math.MaxUint64), `"18446744073709551615"`, `18446744073709551615`},
		{"float32 is not widened", Float32(230.2), `230.2`, ""},
		{"float64 of the same float32", Float64(float64(float32(230.2))), `230.1999969482422`, ""},
		{"whole float", Float64(42), `42`, ""},
		{"negative zero", Float64(math.Copysign(0, -1)), `-0`, ""},
		{"small", Float64(1e-6), `0.000001`, ""},
		{"smaller", Float64(9.5e-7), `9.5e-07`, ""},
		{"large", Float64(1e20), `100000000000000000000`, ""},
		{"larger", Float64(1e21), `1e+21`, ""},
		{"smallest float32", Float32(math.SmallestNonzeroFloat32), `1e-45`, ""},
		{"largest float32", Float32(math.MaxFloat32), `3.4028235e+38`, ""},
		{"smallest float64", Float64(math.SmallestNonzeroFloat64), `5e-324`, ""},
		{"NaN", Float64(math.NaN()), `null`, `NaN`},
		{"NaN of 32 bits", Float32(float32(math.NaN())), `null`, `NaN`},
		{"infinite", Float64(math.Inf(1)), `null`, `+Inf`},
		{"infinite of 32 bits", Float32(float32(math.Inf(-1))), `null`, `-Inf`},
		{"empty string", Text(""), `""`, "\x00"},
		{"string", Text(`a "b" \ / c`), `"a \"b\" \\ / c"`, `a "b" \ / c`},
	} {
		got := string(c.v.AppendJSON([]byte("x")))[1:]
		if got != c.json {
			t.Errorf("%s: JSON %s, want %s", c.name, got, c.json)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: %s is not JSON", c.name, got)
		}
		if marshalled, err := json.Marshal(c.v); err != nil || string(marshalled) != got {
			t.Errorf("%s: json.Marshal gives %s (%v), AppendJSON %s", c.name, marshalled, err, got)
		}
		want := c.text
		switch want {
		case "":
			want = c.json
		case "\x00":
			want = ""
		}
		if c.v.String() != want {
			t.Errorf("%s: String gives %q, want %q", c.name, c.v.String(), want)
		}
	}
}

// TestFloatsComeBack is the contract's promise: the shortest text that gives the same float back.
func TestFloatsComeBack(t *testing.T) {
	for _, bits := range []uint64{
		0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x43663333, 0x7f7fffff, 0x80000001, 0x4b800001, 0x358637bd, 0x7149f2ca,
	} {
		f := math.Float32frombits(uint32(bits))
		text := string(Float32(f).AppendJSON(nil))
		back, err := strconv.ParseFloat(text, 32)
		if err != nil || math.Float32bits(float32(back)) != uint32(bits) {
			t.Errorf("float32 %#x prints as %s, which is %v (%v)", bits, text, back, err)
		}
		if shortest := strconv.FormatFloat(float64(f), 'e', -1, 32); digits(text) != digits(shortest) {
			t.Errorf("float32 %#x prints as %s; %s has all its digits", bits, text, shortest)
		}
	}
	for _, bits := range []uint64{
		0, 1, 0xfffffffffffff, 0x10000000000000, 0x3ff0000000000001, 0x7fefffffffffffff, 0x8000000000000001, 0x4340000000000001,
	} {
		text := string(Float64(math.Float64frombits(bits)).AppendJSON(nil))
		back, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Float64bits(back) != bits {
			t.Errorf("float64 %#x prints as %s, which is %v (%v)", bits, text, back, err)
		}
	}
}

// digits are the significant ones of a number's text.
func digits(text string) string {
	mantissa, _, _ := strings.Cut(text, "e")
	return strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(mantissa), "0")
}

func FuzzFloatsComeBack(f *testing.F) {
	for _, bits := range []uint64{0, 1, 0x3ff0000000000001, 0x7fefffffffffffff, math.Float64bits(1e21), math.Float64bits(1e-6)} {
		f.Add(bits)
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		if v := Float64(math.Float64frombits(bits)); v.Finite() {
			var back float64
			if err := json.Unmarshal(v.AppendJSON(nil), &back); err != nil || math.Float64bits(back) != bits {
				t.Errorf("%#x: %s comes back as %v (%v)", bits, v, back, err)
			}
		}
		low := uint32(bits)
		if v := Float32(math.Float32frombits(low)); v.Finite() {
			var back float32
			if err := json.Unmarshal(v.AppendJSON(nil), &back); err != nil || math.Float32bits(back) != low {
				t.Errorf("%#x: %s comes back as %v (%v)", low, v, back, err)
			}
		}
	})
}

func TestBitsGiveTheValueBack(t *testing.T) {
	for _, v := range []Value{
		{}, Bool(true), Bool(false), Int(math.MinInt64), Int(-1), Uint(math.MaxUint64),
		Float32(float32(math.Inf(-1))), Float64(math.Pi),
		FromBits(KindFloat32, 0x7fa00001), // a signalling NaN: no conversion may quieten it
		FromBits(KindFloat64, 0x7ff4000000000001),
	} {
		if back := FromBits(v.Kind(), v.Bits()); back != v {
			t.Errorf("%s %s: comes back as %s %s", v.Kind(), v, back.Kind(), back)
		}
	}
}

func TestValuesAreEqualOnlyWhenTheyAreTheSame(t *testing.T) {
	nan := Float64(math.NaN())
	if nan != Float64(math.NaN()) {
		t.Error("two NaN with the same bits differ")
	}
	different := []Value{
		{}, Bool(false), Int(0), Uint(0), Float32(0), Float64(0), Float64(math.Copysign(0, -1)), Text(""), Text("0"),
		Bool(true), Int(1), Uint(1), Float64(1), Text("true"), nan,
	}
	for i, a := range different {
		for j, b := range different {
			if (a == b) != (i == j) {
				t.Errorf("%s %q == %s %q: %v", a.Kind(), a, b.Kind(), b, a == b)
			}
		}
	}
}

func TestValueAsNumberAndTruth(t *testing.T) {
	for _, c := range []struct {
		v      Value
		number float64
		is     bool
		truth  bool
	}{
		{Value{}, 0, false, false},
		{Bool(true), 1, true, true},
		{Bool(false), 0, true, false},
		{Int(-3), -3, true, true},
		{Int(0), 0, true, false},
		{Uint(math.MaxUint64), 18446744073709551616, true, true},
		{Float32(0.5), 0.5, true, true},
		{Float64(math.Copysign(0, -1)), 0, true, false},
		{Text("1"), 0, false, false},
	} {
		number, is := c.v.Float()
		if number != c.number || is != c.is {
			t.Errorf("%s %q: Float gives %v, %v", c.v.Kind(), c.v, number, is)
		}
		if c.v.AsBool() != c.truth {
			t.Errorf("%s %q: AsBool gives %v", c.v.Kind(), c.v, c.v.AsBool())
		}
		if c.v.IsNull() != (c.v == Value{}) {
			t.Errorf("%s %q: IsNull gives %v", c.v.Kind(), c.v, c.v.IsNull())
		}
	}
}

func TestFinite(t *testing.T) {
	for _, v := range []Value{{}, Bool(true), Int(1), Uint(math.MaxUint64), Text("NaN"), Float32(math.MaxFloat32), Float64(0)} {
		if !v.Finite() {
			t.Errorf("%s %q is said to be infinite", v.Kind(), v)
		}
	}
	for _, v := range []Value{Float64(math.NaN()), Float64(math.Inf(1)), Float32(float32(math.NaN())), Float32(float32(math.Inf(-1)))} {
		if v.Finite() {
			t.Errorf("%s %s is said to be finite", v.Kind(), v)
		}
	}
}

func TestJSONStrings(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", `""`},
		{"plain", "pump-1", `"pump-1"`},
		{"quotes and backslashes", `"\`, `"\"\\"`},
		{"short escapes", "a\nb\rc\td", `"a\nb\rc\td"`},
		{"control characters", "\x00\x01\x1f\x7f", `"\u0000\u0001\u001f` + "\x7f" + `"`},
		{"beyond ASCII", "µ °C 电压 🔌", `"µ °C 电压 🔌"`},
		{"left alone", "</script>&\u2028", `"</script>&` + "\u2028" + `"`},
		{"a bad byte", "a\xffb", `"a` + "\ufffd" + `b"`},
		{"bad bytes, one each", "\xff\xfe", `"` + "\ufffd\ufffd" + `"`},
		{"cut in a rune", "°"[:1], `"` + "\ufffd" + `"`},
		{"a surrogate", "\xed\xa0\x80", `"` + "\ufffd\ufffd\ufffd" + `"`},
		{"overlong", "\xc0\x80", `"` + "\ufffd\ufffd" + `"`},
		{"a true U+FFFD", "\ufffd", `"` + "\ufffd" + `"`},
	} {
		if got := string(AppendJSONString(nil, c.in)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzAppendJSONString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c", "\x00\n\r\t\x1f\x7f", "µ\u2028\u2029🔌", "\xff\xed\xa0\x80\xc0", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		prefix := []byte("kept")
		out := AppendJSONString(prefix, s)
		if string(out[:4]) != "kept" {
			t.Fatalf("what was there before became %q", out[:4])
		}
		got := out[4:]
		if !json.Valid(got) || !utf8.Valid(got) {
			t.Fatalf("%q becomes %q, which is not JSON in UTF-8", s, got)
		}
		reference, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var ours, theirs string
		if err := json.Unmarshal(got, &ours); err != nil {
			t.Fatalf("%q becomes %q: %v", s, got, err)
		}
		if err := json.Unmarshal(reference, &theirs); err != nil {
			t.Fatal(err)
		}
		if ours != theirs {
			t.Errorf("%q reads back as %q, what encoding/json wrote as %q", s, ours, theirs)
		}
	})
}

func TestParseValue(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		text string
		want Value
	}{
		{KindBool, "true", Bool(true)},
		{KindBool, "on", Bool(true)},
		{KindBool, "1", Bool(true)},
		{KindBool, "false", Bool(false)},
		{KindBool, "off", Bool(false)},
		{KindBool, "0", Bool(false)},
		{KindInt, "-9223372036854775808", Int(math.MinInt64)},
		{KindInt, "0x10", Int(16)},
		{KindUint, "18446744073709551615", Uint(math.MaxUint64)},
		{KindUint, "0xFFFF", Uint(65535)},
		{KindFloat32, "230.2", Float32(230.2)},
		{KindFloat32, "3.4028235e38", Float32(math.MaxFloat32)},
		{KindFloat64, "-1e-3", Float64(-0.001)},
		{KindFloat64, "42", Float64(42)},
		{KindString, "", Text("")},
		{KindString, " as it stands ", Text(" as it stands ")},
	} {
		got, err := ParseValue(c.kind, c.text)
		if err != nil || got != c.want {
			t.Errorf("%s %q: %s %q, %v; want %q", c.kind, c.text, got.Kind(), got, err, c.want)
		}
	}
}

func TestParseValueRefuses(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		text string
		says string
	}{
		{KindBool, "yes", "allowed are true, on, 1, false, off, 0"},
		{KindBool, "", "allowed are"},
		{KindInt, "", "integer between"},
		{KindInt, "1.5", "integer between"},
		{KindInt, "9223372036854775808", "integer between -9223372036854775808 and 9223372036854775807"},
		{KindUint, "-1", "integer between 0 and 18446744073709551615"},
		{KindUint, "18446744073709551616", "integer between"},
		{KindFloat32, "1e39", "float32"},
		{KindFloat64, "1e400", "float64"},
		{KindFloat64, "NaN", "float64"},
		{KindFloat32, "inf", "float32"},
		{KindFloat64, "2,5", "float64"},
		{KindFloat64, " 2", "float64"},
		{KindNull, "null", "cannot be read from text"},
		{Kind(99), "1", "kind(99)"},
	} {
		got, err := ParseValue(c.kind, c.text)
		switch {
		case err == nil:
			t.Errorf("%s %q is taken as %q", c.kind, c.text, got)
		case got != Value{}:
			t.Errorf("%s %q: a value beside the error: %q", c.kind, c.text, got)
		case !strings.Contains(err.Error(), c.says):
			t.Errorf("%s %q: %q does not say %q", c.kind, c.text, err, c.says)
		case c.text != "" && c.kind != KindNull && c.kind != 99 && !strings.Contains(err.Error(), strconv.Quote(c.text)):
			t.Errorf("%s %q: %q does not name what was typed", c.kind, c.text, err)
		}
	}
}

// TestWhatIsPrintedCanBeTyped holds String and ParseValue together.
func TestWhatIsPrintedCanBeTyped(t *testing.T) {
	for _, v := range []Value{
		Bool(true), Bool(false), Int(math.MinInt64), Int(7), Uint(math.MaxUint64), Float32(230.2), Float32(1e-45),
		Float64(1e21), Float64(-0.1), Text("a b"),
	} {
		if back, err := ParseValue(v.Kind(), v.String()); err != nil || back != v {
			t.Errorf("%s %s reads back as %s (%v)", v.Kind(), v, back, err)
		}
	}
}

func TestKindNames(t *testing.T) {
	names := map[string]Kind{}
	for k := KindNull; k <= KindString; k++ {
		name := k.String()
		if other, twice := names[name]; name == "" || twice {
			t.Errorf("%d and %d are both %q", other, k, name)
		}
		names[name] = k
	}
	if got := fmt.Sprint(Kind(200)); got != "kind(200)" {
		t.Errorf("an unknown kind is %q", got)
	}
}

// TestNumbersAreAppendedWithoutAllocating: a batch of a thousand values is one buffer, not a thousand strings.
func TestNumbersAreAppendedWithoutAllocating(t *testing.T) {
	values := []Value{Int(1 << 60), Uint(7), Float32(230.2), Float64(math.Pi), Bool(true), Text("a\nb\xff")}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		b := buf
		for _, v := range values {
			b = v.AppendJSON(b)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run, want none", n)
	}
}
