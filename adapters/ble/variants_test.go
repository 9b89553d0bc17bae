package ble_test

import "github.com/godbus/dbus/v5"

func pathOf(s string) dbus.ObjectPath { return dbus.ObjectPath(s) }

// variants makes properties of names and values in turn.
func variants(pairs ...any) map[string]dbus.Variant {
	m := map[string]dbus.Variant{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = dbus.MakeVariant(pairs[i+1])
	}
	return m
}
