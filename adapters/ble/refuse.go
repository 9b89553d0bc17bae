package ble

import (
	"errors"
	"slices"
	"strings"
)

// mostReasons bounds the reasons that are logged of one device: who is in range can have it refused for any, as often as
// they like.
const mostReasons = 16

// errPlain refuses what anybody can have said in the device's name.
var errPlain = errors.New("not encrypted, although the device has a key")

// refuse books a message that is not believed; each new reason is logged once.
func (s *session) refuse(st *Station, err error) {
	s.d.stats.refuse(err)
	st.mu.Lock()
	st.book.Refused++
	st.book.Refusal = err.Error()
	st.mu.Unlock()
	if why := kind(err.Error()); !slices.Contains(st.reasons, why) && len(st.reasons) < mostReasons {
		st.reasons = append(st.reasons, why)
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
