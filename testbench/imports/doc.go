// Package imports holds the rules of the house as tests: who may import whom, what may stand where, and how large it
// may grow. It has no code of its own besides them.
//
// It promises that each complaint names the file, the rule's reason and what to do. A reader may not assume that a
// rule is eternal: it is changed here, in the open, together with docs/decisions.
package imports
