package strict

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Document is one file, parsed but not yet judged.
type Document struct {
	File   string
	Root   *Table   // the keys above the first heading; failed when a heading could not be read
	Tables []*Table // one for each heading, in the order of the file
}

// Parse reads a file's text. Syntax errors go to the report, and the reading goes on in the next line: the table that
// they are in is marked as failed and complains about no missing key. fatal names the tables whose
// faults are fatal.
func Parse(file string, text []byte, report *Report, fatal ...string) *Document {
	d := &Document{File: file}
	p := &reader{doc: d, text: text, report: report, fatal: fatal}
	d.Root = &Table{Place: Place{file, 1, 1}, report: report}
	p.table = d.Root
	p.run()
	return d
}

// reader walks over one text.
type reader struct {
	doc    *Document
	text   []byte
	base   int // where in text the parser's own data begins
	parser unstable.Parser
	report *Report
	fatal  []string
	table  *Table // in which keys are now
	lines  []int  // offsets of line starts, made when first needed
}

// run parses expression by expression. The parser gives up at the first fault; it is set up again on the next line.
func (r *reader) run() {
	r.base = len(r.text) - len(bytes.TrimPrefix(r.text, []byte("\ufeff")))
	for r.base < len(r.text) {
		r.parser.Reset(r.text[r.base:len(r.text):len(r.text)])
		for r.parser.NextExpression() {
			r.expression(r.parser.Expression())
		}
		err := r.parser.Error()
		if err == nil {
			return
		}
		r.base = r.syntaxError(err)
	}
}

// syntaxError complains, and returns where to go on.
func (r *reader) syntaxError(err error) int {
	offset := r.base
	var perr *unstable.ParserError
	if errors.As(err, &perr) {
		offset += int(r.parser.Range(perr.Highlight).Offset)
	}
	offset = min(offset, len(r.text)-1)
	start := bytes.LastIndexByte(r.text[:offset], '\n') + 1
	next := len(r.text)
	if i := bytes.IndexByte(r.text[offset:], '\n'); i >= 0 {
		next = offset + i + 1
	}
	line := strings.TrimSpace(string(r.text[start:next]))
	heading, where := strings.HasPrefix(line, "["), r.table.Where
	if heading {
		where = ""
	}
	// Behind a fault in a list of several lines the rest of the list makes no sense either: only what is surely a line
	// of its own is worth another complaint.
	if !r.table.broken || heading || looksLikeKey(line) {
		r.report.Add(Problem{
			Place: r.place(offset), Where: where, Fatal: heading || r.table.Fatal,
			Text: "this cannot be read: " + err.Error(), Hint: syntaxHint(line, err.Error()),
		})
	}
	if heading {
		// What follows belongs to a table whose name is not known. It is read into one that nobody will look at.
		r.doc.Root.Fail()
		r.table = &Table{report: &Report{}}
	}
	r.table.broken, r.table.failed = true, true
	return next
}

// looksLikeKey says whether a line begins with key =.
func looksLikeKey(line string) bool {
	key, _, ok := strings.Cut(line, "=")
	return ok && GoodName(strings.TrimSpace(key))
}

func syntaxHint(line, fault string) string {
	key, value, isKey := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if i := strings.IndexByte(value, '#'); i >= 0 && !strings.ContainsAny(value, `"'`) {
		value = strings.TrimSpace(value[:i])
	}
	switch {
	case strings.HasPrefix(line, "["):
		return `a heading is written [gateway] or [[device]], on a line of its own`
	case isKey && strings.Contains(fault, "leading zeroes"):
		return fmt.Sprintf(`write it in quotes, so that the leading zeros count: %s = "%s"`, key, value)
	case isKey && value == "":
		return fmt.Sprintf(`a value has to follow: %s = "…"`, key)
	case isKey && !strings.ContainsAny(value, `"'[]{}`):
		return fmt.Sprintf(`text stands in quotes: %s = "%s"`, key, value)
	case isKey:
		return `look for a quote, a bracket or a comma that is missing`
	}
	return `a line is key = value, or a heading such as [[device]], or a # comment`
}

func (r *reader) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		var parts []string
		offset := -1
		for it := n.Key(); it.Next(); {
			if offset < 0 {
				offset = r.base + int(it.Node().Raw.Offset)
			}
			parts = append(parts, string(it.Node().Data))
		}
		name := strings.Join(parts, ".")
		r.table = &Table{Place: r.place(max(offset, 0)), Name: name, Where: "[" + name + "]", report: r.report}
		if n.Kind == unstable.ArrayTable {
			r.table.Where, r.table.List = "["+r.table.Where+"]", true
		}
		r.table.Fatal = slices.Contains(r.fatal, name)
		r.doc.Tables = append(r.doc.Tables, r.table)
	case unstable.KeyValue:
		r.keyValue(r.table, n)
	}
}

// keyValue takes key = value into a table; a dotted key makes the tables between.
func (r *reader) keyValue(t *Table, n *unstable.Node) {
	var keys []*unstable.Node
	for it := n.Key(); it.Next(); {
		keys = append(keys, it.Node())
	}
	for len(keys) > 1 {
		t = r.inner(t, keys[0])
		keys = keys[1:]
	}
	key := keys[0]
	offset := r.base + int(key.Raw.Offset)
	at := offset + int(key.Raw.Length)
	at += len(r.text[at:]) - len(bytes.TrimLeft(r.text[at:], " \t="))
	end := r.base + int(n.Raw.Offset) + int(n.Raw.Length)
	e := &entry{key: string(key.Data), place: r.place(offset), value: r.value(t, n.Value(), at, end, string(key.Data))}
	if t.find(e.key) != nil {
		t.repeated = append(t.repeated, e)
		return
	}
	t.entries = append(t.entries, e)
}

// inner finds or makes the table that the first part of a dotted key names.
func (r *reader) inner(t *Table, key *unstable.Node) *Table {
	name := string(key.Data)
	if e := t.find(name); e != nil && e.value.table != nil {
		return e.value.table
	}
	sub := &Table{Place: r.place(r.base + int(key.Raw.Offset)), Name: name, parent: t, report: t.report}
	t.entries = append(t.entries, &entry{key: name, place: sub.Place, value: Value{
		Place: sub.Place, kind: unstable.InlineTable, raw: "{…}", table: sub,
	}})
	return sub
}

// value takes over what a node holds; it stands in text[at:end].
func (r *reader) value(t *Table, n *unstable.Node, at, end int, key string) Value {
	v := Value{Place: r.place(at), kind: n.Kind, text: string(n.Data), raw: shorten(string(r.text[at:max(at, end)]))}
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			item := it.Node()
			// The parser does not tell where a list or a table in a list ends, nor where such a list begins.
			from, to := at, at
			if item.Raw.Length > 0 {
				from = r.base + int(item.Raw.Offset)
				to = from + int(item.Raw.Length)
			}
			iv := r.value(t, item, from, to, key)
			switch iv.kind {
			case unstable.Array:
				iv.raw = "[…]"
			case unstable.InlineTable:
				iv.raw = "{…}"
			}
			v.items = append(v.items, iv)
		}
	case unstable.InlineTable:
		v.table = &Table{Place: v.Place, Name: key, parent: t, report: t.report}
		for it := n.Children(); it.Next(); {
			r.keyValue(v.table, it.Node())
		}
	}
	return v
}

// shorten keeps what a complaint shows of a value to one line.
func shorten(raw string) string {
	const most = 80
	raw = strings.Join(strings.Fields(raw), " ")
	if utf8.RuneCountInString(raw) > most {
		raw = string([]rune(raw)[:most]) + "…"
	}
	return raw
}

func (r *reader) place(offset int) Place {
	if r.lines == nil {
		r.lines = []int{0}
		for i, c := range r.text {
			if c == '\n' {
				r.lines = append(r.lines, i+1)
			}
		}
	}
	line := sort.SearchInts(r.lines, offset+1)
	start := r.lines[line-1]
	return Place{File: r.doc.File, Line: line, Column: utf8.RuneCount(r.text[start:offset]) + 1}
}
