package strict

import (
	"fmt"
	"strings"
)

// mostChoices is how many words a hint lists.
const mostChoices = 20

// Choices is a hint on a word that is not among those allowed: the nearest of them, if any is near, and all of them,
// or the first when they are many.
func Choices(word string, allowed []string) string {
	if len(allowed) == 0 {
		return "there is none"
	}
	all := "allowed: " + strings.Join(allowed[:min(len(allowed), mostChoices)], ", ")
	if n := len(allowed) - mostChoices; n > 0 {
		all += fmt.Sprintf(", and %d more", n)
	}
	if near := Nearest(word, allowed); near != "" {
		return fmt.Sprintf("did you mean %q? %s", near, all)
	}
	return all
}

// Nearest finds the word that somebody who wrote word may have meant; "" when none is near. One
// letter in three may be another.
func Nearest(word string, words []string) string {
	best, least := "", max(1, (len(word)+1)/3)
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w), least); d < least || d == least && best == "" {
			best, least = w, d
		}
	}
	return best
}

// distance is the edit distance of two words, counting two letters in the wrong order as one edit; anything above
// most may be given as most + 1. Words longer than a name may be are never near.
func distance(a, b string, most int) int {
	if len(a) > NameLength || len(b) > NameLength || max(len(a)-len(b), len(b)-len(a)) > most {
		return most + 1
	}
	// Three rows of the matrix: the one before last, the last and the one being filled.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
