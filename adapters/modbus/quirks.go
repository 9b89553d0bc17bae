package modbus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgegateway/adapters/field"
	"edgegateway/adapters/modbus/register"
)

// The most that one read may ask for (Modbus Application Protocol V1.1b3, 6.1 and 6.3).
const (
	maxRegisters = 125
	maxCoils     = 2000
)

// quirks are what one device does otherwise.
type quirks struct {
	maxRegisters, maxCoils int
	holes                  []register.Span // never read, also not on the way to something else
	pause                  time.Duration   // of rest that the device needs after an answer
	turnaround             time.Duration   // that it needs for an answer, for the bus budget until it was measured; 0 for unknown
	broadcast              bool            // the address 0 means every device: it is written, and never answers
	writeMultiple          bool            // single registers and coils are written with functions 16 and 15
	writeMask              bool            // bits of a register are written with function 22, which leaves the others alone
	writeReadback          bool            // registers are written with function 23, which reads back what was written
}

// limits are what one read of each space may ask for.
func (q quirks) limits() [5]int {
	return [5]int{register.Coil: q.maxCoils, register.Discrete: q.maxCoils, register.Input: q.maxRegisters, register.Holding: q.maxRegisters, register.Fifo: 1}
}

// quirkNames are those that parseQuirks knows.
var quirkNames = [...]string{"broadcast", "holes", "max_coils", "max_registers", "pause", "turnaround", "write_mask", "write_multiple", "write_readback"}

func parseQuirks(given map[string]string) (quirks, []error) {
	q := quirks{maxRegisters: maxRegisters, maxCoils: maxCoils}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		var problem, hint string
		switch name {
		case "max_registers":
			problem, hint = parseLimit(value, maxRegisters, &q.maxRegisters)
		case "max_coils":
			problem, hint = parseLimit(value, maxCoils, &q.maxCoils)
		case "holes":
			problem, hint = parseHoles(value, &q.holes)
		case "pause":
			problem, hint = parseDuration(value, &q.pause)
		case "turnaround":
			problem, hint = parseDuration(value, &q.turnaround)
		case "broadcast":
			problem, hint = parseFlag(value, &q.broadcast)
		case "write_multiple":
			problem, hint = parseFlag(value, &q.writeMultiple)
		case "write_mask":
			problem, hint = parseFlag(value, &q.writeMask)
		case "write_readback":
			problem, hint = parseFlag(value, &q.writeReadback)
		default:
			problem, hint = "a Modbus device has no such quirk", field.Suggest(name, quirkNames[:]...)
		}
		if problem != "" {
			faults = append(faults, &field.DeviceError{Key: name, Value: value, Problem: problem, Hint: hint})
		}
	}
	return q, faults
}

func parseLimit(value string, most int, into *int) (problem, hint string) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		return "this is no limit", fmt.Sprintf("allowed are 1 to %d", most)
	}
	*into = n
	return "", ""
}

func parseDuration(value string, into *time.Duration) (problem, hint string) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > time.Minute {
		return "this is no such time", `allowed are 0 to 1 minute, such as "20ms" or "1.5s"`
	}
	*into = d
	return "", ""
}

func parseFlag(value string, into *bool) (problem, hint string) {
	if value != "true" && value != "false" {
		return "this is neither true nor false", `allowed are "true" and "false"`
	}
	*into = value == "true"
	return "", ""
}

// parseHoles reads "holding 10-19, input 5".
func parseHoles(value string, into *[]register.Span) (problem, hint string) {
	const allowed = `holes are written "holding 10-19, input 5"`
	for part := range strings.SplitSeq(value, ",") {
		words := strings.Fields(part)
		if len(words) != 2 {
			return "this is no list of addresses", allowed
		}
		sp, ok := register.SpaceOf(words[0])
		if !ok {
			return fmt.Sprintf("there is no address space %q", words[0]), field.Suggest(words[0], register.SpaceNames[:]...)
		}
		first, last, isRange := strings.Cut(words[1], "-")
		from, ok := register.ParseNumber(first, 65535)
		to := from
		if ok && isRange {
			to, ok = register.ParseNumber(last, 65535)
		}
		if !ok || to < from {
			return fmt.Sprintf("%q is no range of addresses", words[1]), allowed
		}
		*into = append(*into, register.Span{Space: sp, Start: from, Count: to - from + 1})
	}
	return "", ""
}
