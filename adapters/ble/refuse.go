package ble

import "strings"

// refuse books a message that is not believed; each new reason is logged once.
func (s *session) refuse(st *Station, err error) {
	s.d.stats.refuse(err)
	st.mu.Lock()
	st.book.Refused++
	before := st.book.Refusal
	st.book.Refusal = err.Error()
	st.mu.Unlock()
	if kind(before) != kind(err.Error()) {
		s.d.o.Log.Warn("an advertisement is refused", "device", st.name, "error", err)
	}
}

// kind is a refusal without its numbers.
func kind(refusal string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, refusal)
}
