// Package mbus reads meters on the wired M-Bus (EN 13757-2 and -3): heat, water, gas and electricity, by primary or
// secondary address, over as many telegrams as a meter has. It also searches a bus for meters.
//
// A tag's address is a quantity in words, "energy", "volume storage 1", "power max", or the header of a data record in
// hexadecimal, "0406", or its place, "record 3". The package promises that a value is given only from a telegram of this
// meter that was whole, and that a quantity is in the tag's unit. A caller may not assume that meters with a fixed data
// structure (CI 73) are understood.
package mbus
