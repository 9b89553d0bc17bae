// Package ble is a BlueZ for tests: an object tree, an adapter, sensors that advertise and serve characteristics, all
// exported on a message bus (see testbench/privatebus), with the faults that radios have. It needs nothing of Bluetooth.
//
// It promises that what it says on the bus has the shapes that BlueZ's documents give, unless a fault was asked for;
// that every advertisement that was sent is counted. It writes its frames with
// a codec of its own. A caller may not assume anything of the air: nothing is lost, and nothing is late, unless asked for.
package ble
