// Package audit is the gateway's account of what was asked of it: an append-only file in which each line holds the
// hash of the line before. It is also the ledger by which a command is run once at most.
//
//	audit/audit-0000000001.log   one JSON object a line; the number in the name is that of its first entry
//	audit/audit-0000000412.log   the newest; its first entry holds the hash of the last one of the file before
//
// It promises that an entry which Append took with sync is on flash when it returns; that entries are never changed
// and leave only with a whole file, the oldest, when there are too many; and that a file does not leave while a command
// in it could still be sent again in time (ErrFull is said instead). What a crash left of a last line is cut off, which
// is no breach: nothing was done upon it yet.
//
// A reader may not assume that a chain which verifies is whole: whoever can write the folder can begin a new chain.
// The hashes are told to the platforms as events, and Verify compares with one of those.
package audit
