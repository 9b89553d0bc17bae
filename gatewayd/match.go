package main

import (
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
)

// match is by what a profile is recognised in a device's own words.
type match struct {
	name, protocol string
	words          []string // those of its name that have a digit, in lower case: "sdm630"
}

func matches(profiles []*profile.Profile) []match {
	var all []match
	for _, p := range profiles {
		m := match{name: p.Name, protocol: p.Protocol}
		for word := range strings.SplitSeq(strings.ToLower(p.Name), "-") {
			if len(word) >= 3 && strings.ContainsAny(word, "0123456789") {
				m.words = append(m.words, word)
			}
		}
		if len(m.words) > 0 {
			all = append(all, m)
		}
	}
	return all
}

// bestMatch is the profile whose model stands in what the device says of itself: the one with the most letters of it.
func bestMatch(profiles []match, f field.Found) string {
	said := plain(f.Identity)
	for _, v := range f.Detail {
		said += " " + plain(v)
	}
	best, letters := "", 0
	for _, m := range profiles {
		n := 0
		for _, w := range m.words {
			if m.protocol != f.Protocol || !strings.Contains(said, w) {
				n = 0
				break
			}
			n += len(w)
		}
		if n > letters || n == letters && n > 0 && m.name < best {
			best, letters = m.name, n
		}
	}
	return best
}

// plain is a text without what separates the parts of a model's name: "SDM-630 V2" is "sdm630v2".
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}
