package serial

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// addressMark is what stands for the device's address in a request and in a pattern.
const addressMark = "{address}"

// valueMark is what stands for the value in a command that writes.
const valueMark = "{value}"

const bytesHint = `write text with \r, \n, \t, \\ and \x02 for bytes that are no letters`

// unescape reads bytes as people write them in a configuration: text, and \r \n \t \0 \\ \xHH.
func unescape(s string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			return nil, errors.New(`a \ stands alone at its end`)
		}
		switch c := s[i]; c {
		case 'r':
			out = append(out, '\r')
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case '0':
			out = append(out, 0)
		case '\\':
			out = append(out, '\\')
		case 'x':
			if len(s) < i+3 {
				return nil, errors.New(`\x needs two hexadecimal digits`)
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return nil, fmt.Errorf(`\x%s is no byte: two hexadecimal digits follow \x`, s[i+1:i+3])
			}
			out = append(out, byte(n))
			i += 2
		default:
			return nil, fmt.Errorf(`there is no \%c`, c)
		}
	}
	return out, nil
}

// withAddress puts the device's address where a text wants it.
func withAddress(s, address string) string { return strings.ReplaceAll(s, addressMark, address) }

// legible is a frame's content as patterns see it: text as it is, and of a binary frame each byte as the character of
// that number, so that \xAA in a pattern is the byte 0xAA.
func (s *speech) legible(content []byte) []byte {
	if s.kind != fixed && s.kind != counted {
		return content
	}
	text := make([]rune, len(content))
	for i, b := range content {
		text[i] = rune(b)
	}
	return []byte(string(text))
}
