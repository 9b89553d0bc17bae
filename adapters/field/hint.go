package field

import (
	"fmt"
	"strings"
)

// Suggest is a hint for a word that is not among those allowed: the nearest one, or all of them.
func Suggest(word string, allowed ...string) string {
	if n, ok := Nearest(word, allowed...); ok {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "allowed are " + strings.Join(allowed, ", ")
}

// Nearest finds the allowed word that differs from word by the fewest typing errors, when they are few. A word that
// begins like exactly one allowed word is near it too ("hold", "coils").
func Nearest(word string, allowed ...string) (string, bool) {
	word = strings.ToLower(word)
	best, distance := "", len(word)
	for _, a := range allowed {
		low := strings.ToLower(a)
		d := edits(word, low)
		if len(word) >= 3 && (strings.HasPrefix(low, word) || strings.HasPrefix(word, low)) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = a, d
		}
	}
	return best, best != "" && distance <= max(1, len(best)/3)
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
