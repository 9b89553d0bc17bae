package strict

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// wrongType complains that a value is of another type than wanted.
func (t *Table) wrongType(key string, v Value, want string) {
	hint, quoted := "", fmt.Sprintf(`%s = "%s"`, key, v.raw)
	if v.Place != t.Locate(key) {
		quoted = fmt.Sprintf(`"%s"`, v.raw) // an item of a list
	}
	switch {
	case want == textType && v.kind == unstable.Integer:
		hint = fmt.Sprintf(`write it in quotes: %s; leading zeros count`, quoted)
	case want == textType && v.kind != unstable.Array && v.kind != unstable.InlineTable:
		hint = fmt.Sprintf(`write it in quotes: %s`, quoted)
	case want == textsType && v.kind == unstable.String:
		hint = fmt.Sprintf(`write it in brackets: %s = [%s]`, key, v.raw)
	case want == flagType:
		hint = fmt.Sprintf(`allowed: %s = true, %s = false; without quotes`, key, key)
	case want == numberType && v.kind == unstable.String:
		hint = "write it without quotes"
	}
	t.ComplainOf(key, v, fmt.Sprintf("this is %s, and %s is wanted", v.Kind(), want), hint)
}

// What a key may want.
const (
	textType   = "a text"
	textsType  = "a list of texts"
	flagType   = "true or false"
	numberType = "a number"
)

// Text reads a text; "" when the key is not there.
func (t *Table) Text(key string) string {
	e := t.ask(key)
	if e == nil {
		return ""
	}
	if e.value.kind != unstable.String {
		t.wrongType(key, e.value, textType)
		return ""
	}
	return e.value.text
}

// Need reads a text that has to be there and may not be empty.
func (t *Table) Need(key, hint string) string {
	if !t.Has(key) {
		t.Missing(key, hint)
		return ""
	}
	s := t.Text(key)
	if v, _ := t.Find(key); s == "" && v.kind == unstable.String {
		t.Complain(key, "this may not be empty", hint)
	}
	return s
}

// NameLength is the most characters that a name may have.
const NameLength = 64

// NeedName reads a name: what topics and paths of every platform carry.
func (t *Table) NeedName(key, hint string) string {
	s := t.Need(key, hint)
	if s == "" || GoodName(s) {
		return s
	}
	t.Complain(key, "this cannot be a name", fmt.Sprintf(
		"allowed: letters A to Z and a to z, digits, and . _ -, at most %d characters", NameLength))
	return ""
}

// GoodName says whether s is a name that topics and paths of every platform carry: [A-Za-z0-9_.-], 1 to NameLength.
func GoodName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= NameLength
}

// OneOf reads a text that must be one of a few words; the fallback when the key is not there.
func (t *Table) OneOf(key, fallback string, allowed ...string) string {
	if !t.Has(key) {
		return fallback
	}
	s := t.Text(key)
	if v, _ := t.Find(key); v.kind == unstable.String && !slices.Contains(allowed, s) {
		t.Complain(key, "there is no such choice", Choices(s, allowed))
		return fallback
	}
	return s
}

// Texts reads a list of texts; nil when the key is not there.
func (t *Table) Texts(key string) []string {
	var texts []string
	for _, v := range t.Values(key) {
		texts = append(texts, v.text)
	}
	return texts
}

// Values reads a list of texts and tells where each stands. The items that are no texts are left out.
func (t *Table) Values(key string) []Value {
	e := t.ask(key)
	if e == nil {
		return nil
	}
	if e.value.kind != unstable.Array {
		t.wrongType(key, e.value, textsType)
		return nil
	}
	values := make([]Value, 0, len(e.value.items))
	for _, v := range e.value.items {
		if v.kind != unstable.String {
			t.wrongType(key, v, textType)
			continue
		}
		values = append(values, v)
	}
	return values
}

// AsText is the content of a value that is a text, and what is written of any other.
func (v Value) AsText() string { return v.text }

// IsText says that the value is a text.
func (v Value) IsText() bool { return v.kind == unstable.String }

// IsFlag says that the value is true or false, and gives it.
func (v Value) IsFlag() (value, ok bool) { return v.text == "true", v.kind == unstable.Bool }

// Number gives the number that the value is.
func (v Value) Number() (float64, bool) {
	s := strings.ReplaceAll(v.text, "_", "")
	switch v.kind {
	case unstable.Integer:
		if n, err := strconv.ParseInt(s, 0, 64); err == nil {
			return float64(n), true
		}
	case unstable.Float:
		if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, true
		}
	}
	return 0, false
}

// Integer gives the whole number that the value is.
func (v Value) Integer() (int64, bool) {
	if v.kind != unstable.Integer {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	return n, err == nil
}

// IsScalar says that the value is a text, a number or a flag.
func (v Value) IsScalar() bool {
	switch v.kind {
	case unstable.String, unstable.Integer, unstable.Float, unstable.Bool:
		return true
	}
	return false
}

// Flag reads true or false; false when the key is not there.
func (t *Table) Flag(key string) bool {
	e := t.ask(key)
	if e == nil {
		return false
	}
	value, ok := e.value.IsFlag()
	if !ok {
		t.wrongType(key, e.value, flagType)
	}
	return value && ok
}

// Number reads a number; the fallback when the key is not there.
func (t *Table) Number(key string, fallback float64) float64 {
	e := t.ask(key)
	if e == nil {
		return fallback
	}
	n, ok := e.value.Number()
	if !ok {
		t.wrongType(key, e.value, numberType)
		return fallback
	}
	return n
}

// Inner reads a table that stands in a line: { min = 0, max = 50 }. It is nil when the key is not there or is no
// table. Faults of the inner table are faults of this one too; the caller has to call Done on it. hint says how it is
// written.
func (t *Table) Inner(key, hint string) *Table {
	e := t.ask(key)
	if e == nil {
		return nil
	}
	if e.value.table == nil {
		t.Complain(key, "this is "+e.value.Kind()+", and a table is wanted", hint)
		return nil
	}
	return e.value.table
}

// Scalars reads a table of texts, numbers and flags as texts, as they are written; nil when the key is not there.
// Any key is known in it. hint says how it is written.
func (t *Table) Scalars(key, hint string) map[string]string {
	inner := t.Inner(key, hint)
	if inner == nil {
		return nil
	}
	m := map[string]string{}
	for _, k := range inner.Keys() {
		m[k] = inner.Scalar(k)
	}
	inner.Done(nil)
	return m
}

// Scalar reads a text, a number or a flag as a text, as it is written.
func (t *Table) Scalar(key string) string {
	e := t.ask(key)
	if e == nil {
		return ""
	}
	if !e.value.IsScalar() {
		t.wrongType(key, e.value, "a text, a number, true or false")
		return ""
	}
	return e.value.text
}

// Duration reads a duration such as "10s" between least and most; the fallback when the key is not there.
func (t *Table) Duration(key string, fallback, least, most time.Duration) time.Duration {
	e := t.ask(key)
	if e == nil {
		return fallback
	}
	allowed := fmt.Sprintf(`allowed: %s to %s, written as "500ms", "10s", "15m", "12h", "30d"`, Duration(least), Duration(most))
	if e.value.kind != unstable.String {
		hint := allowed
		if n, ok := e.value.Integer(); ok {
			hint = fmt.Sprintf(`write it in quotes with its unit: %s = "%ds" for seconds; %s`, key, n, allowed)
		}
		t.Complain(key, "this is "+e.value.Kind()+", and a duration with its unit is wanted", hint)
		return fallback
	}
	d, err := ParseDuration(e.value.text)
	switch {
	case err != nil:
		t.Complain(key, "this is no duration: "+err.Error(), allowed)
	case d < least:
		t.Complain(key, "this is too short", allowed)
	case d > most:
		t.Complain(key, "this is too long", allowed)
	default:
		return d
	}
	return fallback
}

// Size reads a size in bytes such as "512MiB" between least and most; the fallback when the key is not there.
func (t *Table) Size(key string, fallback, least, most int64) int64 {
	e := t.ask(key)
	if e == nil {
		return fallback
	}
	allowed := fmt.Sprintf(`allowed: %s to %s, written as "512MiB" or "500MB"`, Size(least), Size(most))
	if e.value.kind != unstable.String {
		t.Complain(key, "this is "+e.value.Kind()+", and a size with its unit is wanted", allowed)
		return fallback
	}
	n, err := ParseSize(e.value.text)
	switch {
	case err != nil:
		t.Complain(key, "this is no size: "+err.Error(), allowed)
	case n < least:
		t.Complain(key, "this is too small", allowed)
	case n > most:
		t.Complain(key, "this is too large", allowed)
	default:
		return n
	}
	return fallback
}

// ScalarList reads one text, number or flag, or a list of them, as texts as they are written.
func (t *Table) ScalarList(key string) []string {
	e := t.ask(key)
	if e == nil {
		return nil
	}
	items := []Value{e.value}
	if e.value.kind == unstable.Array {
		items = e.value.items
	}
	var texts []string
	for _, v := range items {
		if !v.IsScalar() {
			t.wrongType(key, v, "a text or a number")
			continue
		}
		texts = append(texts, v.text)
	}
	return texts
}

// Integer reads a whole number between least and most; 0 when the key is not there.
func (t *Table) Integer(key string, least, most int64) int64 {
	e := t.ask(key)
	if e == nil {
		return 0
	}
	n, ok := e.value.Integer()
	if !ok || n < least || n > most {
		t.Complain(key, "this is no whole number in the range", fmt.Sprintf("allowed: %d to %d, without quotes", least, most))
		return 0
	}
	return n
}
