// Package adapters is the table of what a gateway can speak to: the protocol's name, where it runs, and how its driver
// is made. A new protocol is a new row.
//
// It promises that every protocol that was ever announced is a known name: one that this build does not have is
// refused by name, never skipped. A caller may not assume that a driver may share its line with another.
package adapters

import (
	"fmt"
	"strings"

	"edgegateway/adapters/ble"
	"edgegateway/adapters/dlt645"
	"edgegateway/adapters/field"
	"edgegateway/adapters/iec62056"
	"edgegateway/adapters/link"
	"edgegateway/adapters/mbus"
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
	Raw     bool     // it has frames of its own: it does not run on a line of Modbus TCP
	TagKeys []string // keys that only this protocol's tags have
}

// Kinds lists every protocol, in the order in which the documentation does.
func Kinds() []Kind {
	wired := []string{"port", "host"}
	return []Kind{
		{Name: "modbus", Title: "Modbus RTU, ASCII, TCP, and RTU or ASCII over TCP", Lines: wired},
		{Name: "dlt645", Title: "DL/T 645-2007 and -1997 meters", Lines: wired, Raw: true},
		{Name: "iec62056", Title: "IEC 62056-21 meters", Lines: wired, Raw: true},
		{Name: "mbus", Title: "M-Bus meters", Lines: wired, Raw: true},
		{Name: "serial", Title: "devices with a serial protocol of their own", Lines: wired, Listens: true, Raw: true, TagKeys: serial.TagKeys()},
		{Name: "ble", Title: "Bluetooth Low Energy sensors", Lines: []string{"radio"}, Listens: true},
	}
}

// Open makes the driver of a protocol on a line. With a nil line the driver binds devices and does nothing else.
// framing is that of the line, "rtu", "ascii" or "tcp", or "raw" for protocols with one framing, which take any but
// Modbus TCP's. The error says what is allowed.
func Open(protocol string, line link.Line, framing string) (field.Driver, error) {
	for _, k := range Kinds() {
		if k.Name == protocol && k.Raw && !k.Later && framing == "tcp" {
			return nil, &field.DeviceError{Key: "line", Value: framing, Problem: "the line speaks Modbus TCP, and " + protocol + " has frames of its own",
				Hint: `write framing = "raw" for the line, as serial device servers speak`}
		}
	}
	switch protocol {
	case "ble":
		return ble.New(ble.Options{}), nil // for checking; the daemon makes the one that listens, with its radio
	case "dlt645":
		return dlt645.New(line), nil
	case "iec62056":
		return iec62056.New(line), nil
	case "mbus":
		return mbus.New(line), nil
	case "modbus":
		f, err := modbus.ParseFraming(framing)
		if err != nil {
			return nil, err
		}
		return modbus.New(line, f, modbus.Options{}), nil
	case "serial":
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

// NoFrame is what Describe says of bytes that are no whole frame of the protocol.
const NoFrame = "no whole frame"

// Describe says what a frame of a line's trace means, in the words of the protocol; "" when this build cannot tell.
// sent is true for what the gateway sent.
func Describe(protocol, framing string, sent bool, frame []byte) string {
	switch protocol {
	case "modbus":
		if f, err := modbus.ParseFraming(framing); err == nil {
			return modbus.Describe(f, sent, frame)
		}
	case "dlt645":
		return dlt645.Describe(frame)
	case "iec62056":
		return iec62056.Describe(frame)
	case "mbus":
		return mbus.Describe(frame)
	}
	return ""
}
