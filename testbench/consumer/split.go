package consumer

import "encoding/json"

// What follows takes valid JSON apart without looking at it twice. A referee that is slow would be measured with what
// it judges.

// each visits the members of an object, in order.
func each(object []byte, visit func(name string, value json.RawMessage)) {
	i := space(object, 1)
	for object[i] != '}' {
		end := skip(object, i)
		name := unquote(object[i:end])
		i = space(object, space(object, end)+1) // over the colon
		end = skip(object, i)
		visit(name, object[i:end:end])
		if i = space(object, end); object[i] == ',' {
			i = space(object, i+1)
		}
	}
}

// elements visits the elements of an array, in order.
func elements(array []byte, visit func(json.RawMessage)) {
	i := space(array, 1)
	for array[i] != ']' {
		end := skip(array, i)
		visit(array[i:end:end])
		if i = space(array, end); array[i] == ',' {
			i = space(array, i+1)
		}
	}
}

func space(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skip gives the end of the value that begins at i.
func skip(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth > 0 {
				continue
			}
			for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != '}' && b[i] != ']' {
				i++
			}
			return i
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

func unquote(b []byte) string {
	for _, c := range b {
		if c == '\\' {
			var s string
			_ = json.Unmarshal(b, &s) // it is valid
			return s
		}
	}
	return string(b[1 : len(b)-1])
}
