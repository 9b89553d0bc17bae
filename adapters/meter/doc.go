// Package meter is what the drivers of meters have in common: tags bound to points, a read in progress with the
// quality of each point, and requests on a line whose late answers are not taken for the answers to later requests.
//
//	field.Device ── Bind ──▶ Group: points        Group.Begin ──▶ Reading ── Give, Mark ──▶ field.Record
//	                                                  │
//	                                                  └── Talk.Ask ──▶ link.Line
//
// It promises that a record has a value or a quality for every point of its group, that a silent device costs one
// timeout a read, and that errors are those of the seam (field.ErrSilent, field.ErrLine, the context's own). A caller
// may not assume that a Talk is safe for concurrent use: it belongs to the loop that owns its line.
package meter
