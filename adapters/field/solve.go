package field

import "context"

// Clue is one look at a device beside what its display, or a data sheet, says: what lay around an address when the
// number was shown.
type Clue struct {
	Shown  string            // the number as it was shown, digits and all: "229.0" is less sure than "229.03"
	Blocks map[string][]byte // what was read, by the address of its beginning in the protocol's notation
}

// Guess is one way in which a device could have shown the numbers of all clues.
type Guess struct {
	Tag   Tag       // ready for the configuration, but for its name and unit
	Means []float64 // what the tag would have given for each clue
	Exact bool      // each is what was shown, rounded as it was shown; else it is near, as a value is that moves
}

// Solver is a Station that can find out how a value is encoded from the number that it stands for.
type Solver interface {
	// Look reads what lies at and around an address. Errors are those of Read; a *TagError says that this is no address
	// of a number.
	Look(ctx context.Context, at string) (map[string][]byte, error)
	// Solve ranks what could have given every clue, the likeliest first; it does no I/O. The error says that a shown
	// number is none.
	Solve(at string, clues []Clue) ([]Guess, error)
}
