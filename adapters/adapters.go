// Package adapters is the table of what a gateway can speak to: the protocol's name, where it runs, and how its driver
// is made. A new protocol is a new row.
//
// It promises that every protocol that was ever announced is a known name: one that this build does not have is
// refused by name, never skipped. A caller may not assume that a driver may share its line with another.
package adapters

import (
	"errors"
	"fmt"
	"strings"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/modbus"
	"edgegateway/adapters/serial"
)

// Kind is one protocol.
type Kind struct {
	Name    string   // as the configuration writes it
	Title   string   // for people
	Later   bool     // a name that is known, and not in this build
	Lines   []string // the kinds of line that it runs on, by the keys of [[line]]: "port", "host", "radio"
	Listens bool     // its devices speak unasked
	TagKeys []string // keys that only this protocol's tags have
}

// Kinds lists every protocol, in the order in which the documentation does.
func Kinds() []Kind {
	wired := []string{"port", "host"}
	return []Kind{
		{Name: "modbus", Title: "Modbus RTU, ASCII, TCP, and RTU or ASCII over TCP", Lines: wired},
		{Name: "dlt645", Title: "DL/T 645 meters", Lines: wired, Later: true},
		{Name: "iec62056", Title: "IEC 62056-21 meters", Lines: wired, Later: true},
		{Name: "mbus", Title: "M-Bus meters", Lines: wired, Later: true},
		{Name: "serial", Title: "devices with a serial protocol of their own", Lines: wired, Listens: true, TagKeys: serial.TagKeys()},
		{Name: "ble", Title: "Bluetooth Low Energy sensors", Lines: []string{"radio"}, Later: true, Listens: true},
	}
}

// Open makes the driver of a protocol on a line. With a nil line the driver binds devices and does nothing else.
// framing is that of the line, "rtu", "ascii" or "tcp"; protocols with one framing ignore it. The error says what is allowed.
func Open(protocol string, line link.Line, framing string) (field.Driver, error) {
	switch protocol {
	case "modbus":
		f, err := modbus.ParseFraming(framing)
		if err != nil {
			return nil, err
		}
		return modbus.New(line, f, modbus.Options{}), nil
	case "serial":
		if framing == "tcp" {
			return nil, errors.New("bytes as they come are wanted of this line, not Modbus TCP frames: write framing = \"rtu\" in its [[line]]")
		}
		return serial.New(line, serial.Options{}), nil
	}
	var names []string
	for _, k := range Kinds() {
		if k.Name == protocol {
			return nil, fmt.Errorf("the protocol %q is not in this build", protocol)
		}
		if !k.Later {
			names = append(names, k.Name)
		}
	}
	return nil, fmt.Errorf("there is no protocol %q: allowed are %s", protocol, strings.Join(names, ", "))
}

// Describe says what a frame of a line's trace means, in the words of the protocol; "" when this build cannot tell.
// sent is true for what the gateway sent.
func Describe(protocol, framing string, sent bool, frame []byte) string {
	if f, err := modbus.ParseFraming(framing); err == nil && protocol == "modbus" {
		return modbus.Describe(f, sent, frame)
	}
	return ""
}
