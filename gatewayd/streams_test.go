package main

import (
	"testing"

	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/gatewayd/collect"
)

// TestTracedHidesSecrets: neither the bytes nor what they mean tell a meter's password, whatever else is on the line.
func TestTracedHidesSecrets(t *testing.T) {
	frame := []byte("\xFE\x68\x70\x56\x34\x12\x00\x00\x68\x04\x07\x48\xF4\x35\xA8\x43\x98\x48\x23\x16")
	l := &line{}
	for _, protocol := range []string{"iec62056", "mbus", "serial", "dlt645"} {
		l.devices = append(l.devices, collect.Device{Device: field.Device{Protocol: protocol}})
	}
	doc := l.traced(link.Frame{Dir: link.Tx, Bytes: frame, Secret: []link.Span{{From: 13, To: 17}, {From: 18, To: 19}}})
	if want := "fe 68 70 56 34 12 00 00 68 04 07 48 f4 ** ** ** ** 48 ** 16"; doc.Hex != want {
		t.Errorf("shown as %s, want %s", doc.Hex, want)
	}
	if want := "meter 000012345670: write C115"; doc.Text != want {
		t.Errorf("described as %q, want %q", doc.Text, want)
	}
}
