// Package buffer is the store in store-and-forward: it takes records from the field, keeps them until every platform
// has acknowledged them, and gives each platform those that it lacks. A reply may be for one platform alone.
//
//	Append ─► [ head: records in order, in memory ] ──Live──────────────► Cursor (one a destination)
//	               │ acknowledged by all: forgotten, flash untouched
//	               │ older than the class's deadline and still owed: sealed
//	               ▼
//	         [ blocks in Badger, in buckets ] ──Backlog, oldest first──► Cursor
//	               │ bucket owed to nobody: dropped by prefix
//
// It promises:
//   - A record of class Readings is acknowledged by every destination, or synced to flash, within Options.Commit of
//     its Append; an event or a reply is synced before it leaves, and when Append returns. While there is no usable
//     store (Stats.Durable is false) neither holds, the head is a ring in memory, and what it gives up is declared.
//   - Nothing is forgotten before it is acknowledged or declared lost: for each destination and class
//     taken = delivered + buffered + lost at every moment that Stats shows. The books begin with the store's opening;
//     what was found waiting then counts as taken.
//   - (epoch, class, sequence number) names a record for ever. A number is used only after the range that it comes
//     from was synced, so no crash makes it come again; a "skip" event names the numbers that an unclean stop left in
//     doubt, a "loss" event those that were lost.
//   - A store that will not open is set aside, never deleted, and never keeps the gateway from running.
//   - The flash is at rest while every destination keeps up: a few leases an hour are all that is written.
//
// A caller may not assume that a record is offered once: it comes again after Rewind, after a crash, and after an
// acknowledgement that the store could not remember. Nor may it change a record that it appended or received: their
// slices are shared.
package buffer
