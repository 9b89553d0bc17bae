package foreign

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"edgegateway/adapters/field"
)

// columns are the columns that a table may have, with what else they are called.
var columns = map[string][]string{
	"name": {"tag", "point", "parameter"}, "at": {"address", "register"}, "space": {"table", "function"}, "type": {"datatype", "data type"},
	"order": {"byte order", "byteorder"}, "scale": {"factor", "decimal", "multiplier"}, "offset": nil, "unit": {"units"}, "length": nil,
	"group": nil, "null": nil, "description": {"comment", "remark"},
}

// readCSV reads a table whose first line names its columns; commas, semicolons and tabs part them.
func readCSV(text []byte) (*Description, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(text))
	head, _, _ := bytes.Cut(text, []byte("\n"))
	for _, c := range ";\t" {
		if bytes.ContainsRune(head, c) && !bytes.ContainsRune(head, ',') {
			r.Comma = c
		}
	}
	r.FieldsPerRecord, r.TrimLeadingSpace = -1, true
	first, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("the line that names the columns cannot be read: %w", err)
	}
	d := &Description{}
	where, err := d.columns(first)
	if err != nil {
		return nil, err
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		cell := func(column string) string {
			if i, ok := where[column]; ok && i < len(row) {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		if strings.Join(row, "") == "" {
			continue
		}
		t, err := tagOf(cell)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", line, err)
		}
		d.Tags = append(d.Tags, t)
	}
}

// columns finds where each column stands.
func (d *Description) columns(first []string) (map[string]int, error) {
	where := map[string]int{}
	var known []string
	for column, others := range columns {
		known = append(append(known, column), others...)
	}
	for i, title := range first {
		title = strings.ToLower(strings.TrimSpace(title))
		found := ""
		for column, others := range columns {
			if title == column || slices.Contains(others, title) {
				found = column
			}
		}
		if found == "" {
			d.note("column %q is left out (%s)", title, field.Suggest(title, known...))
			continue
		}
		where[found] = i
	}
	for _, column := range []string{"name", "at", "type"} {
		if _, ok := where[column]; !ok {
			return nil, fmt.Errorf("1: there is no column %q: name, at (or address) and type are needed", column)
		}
	}
	return where, nil
}

func tagOf(cell func(string) string) (t Tag, err error) {
	t = Tag{Name: cell("name"), At: cell("at"), Type: strings.ToLower(cell("type")), Order: strings.ToUpper(cell("order")), Unit: cell("unit"),
		Null: cell("null"), Slow: cell("group") == field.SlowGroup}
	if t.Name == "" {
		return t, errors.New("the tag has no name")
	}
	if t.At, err = place(t.At, cell("space")); err != nil {
		return t, fmt.Errorf("tag %q: %w", t.Name, err)
	}
	if strings.HasPrefix(t.At, "coil") || strings.HasPrefix(t.At, "discrete") || strings.Contains(t.At, " bit ") {
		t.Type = ""
	}
	if t.Scale, err = numberOf("scale", strings.ReplaceAll(cell("scale"), ",", ".")); err != nil {
		return t, fmt.Errorf("tag %q: %w", t.Name, err)
	}
	if t.Offset, err = numberOf("offset", strings.ReplaceAll(cell("offset"), ",", ".")); err != nil {
		return t, fmt.Errorf("tag %q: %w", t.Name, err)
	}
	if length := cell("length"); length != "" {
		if t.Length, err = strconv.Atoi(length); err != nil {
			return t, fmt.Errorf("tag %q: length %q is no number", t.Name, length)
		}
	}
	return t, nil
}

// place reads an address: "holding 12", 12 with a column for the space, 40013, or 1!40013 as Neuron writes it.
func place(at, space string) (string, error) {
	if words := strings.Fields(at); len(words) > 1 {
		s, ok := spaceOf(words[0])
		if !ok {
			return "", fmt.Errorf("at %q: %q is no space of addresses", at, words[0])
		}
		return strings.Join(append([]string{s}, words[1:]...), " "), nil
	}
	if _, rest, ok := strings.Cut(at, "!"); ok {
		at = rest
	}
	bit := ""
	if head, tail, ok := strings.Cut(at, "."); ok {
		at, bit = head, " bit "+tail
	}
	n, err := strconv.ParseUint(at, 0, 32)
	if err != nil {
		return "", fmt.Errorf("at %q is no address", at)
	}
	if space != "" {
		functions := map[string]string{"1": "coil", "2": "discrete", "3": "holding", "4": "input", "01": "coil", "02": "discrete", "03": "holding", "04": "input"}
		s, ok := functions[space]
		if !ok {
			s, ok = spaceOf(space)
		}
		if !ok {
			return "", fmt.Errorf("%q is no space of addresses", space)
		}
		return fmt.Sprintf("%s %d%s", s, n, bit), nil
	}
	if len(at) == 5 || len(at) == 6 {
		s, ok := map[byte]string{'0': "coil", '1': "discrete", '3': "input", '4': "holding"}[at[0]]
		number, err := strconv.ParseUint(at[1:], 10, 32)
		if ok && err == nil && number >= 1 && number <= 65536 {
			return fmt.Sprintf("%s %d%s", s, number-1, bit), nil
		}
	}
	return "", fmt.Errorf("at %q does not say the space: write \"holding %s\", or add a column space", at, at)
}
