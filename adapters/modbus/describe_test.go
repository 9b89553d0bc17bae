package modbus_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"edgegateway/adapters/modbus"
)

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		framing modbus.Framing
		sent    bool
		frame   string
		want    string
	}{
		{modbus.RTU, true, "01 03 00 00 00 0A C5 CD", "unit 1: read holding 0, 10 registers"},
		{modbus.RTU, true, "0A 01 04 A1 00 01 AC 63", "unit 10: read coil 1185, 1 coils"},
		{modbus.RTU, false, "01 83 02 C0 F1", "unit 1: exception 2 (illegal data address)"},
		{modbus.RTU, false, "01 83 02 C0 F2", "no whole frame"},
		{modbus.RTU, false, "01", "no whole frame"},
		{modbus.TCP, true, "00 07 00 00 00 06 FF 06 00 C8 01 A9", "unit 255: write holding 200 = 0x01a9"},
		{modbus.TCP, false, "00 07 00 00 00 06 FF 06 00 C8 01 A9", "unit 255: confirmed holding 200 = 0x01a9"},
		{modbus.TCP, false, "00 07 00 00 00 07 01 04 04 43 66 33 34", "unit 1: 4 bytes of input"},
		{modbus.TCP, false, "00 07 00 00 00 09 01 04 04 43 66 33 34", "no whole frame"},
		{modbus.TCP, true, "00 07 00 00 00 05 01 2B 0E 01 00", "unit 1: read device identification"},
		{modbus.TCP, true, "00 07 00 00 00 03 01 07 00", "unit 1: function 7, 1 bytes"},
		{modbus.ASCII, true, hex.EncodeToString([]byte(":1103006B00037E\r\n")), "unit 17: read holding 107, 3 registers"},
		{modbus.ASCII, true, hex.EncodeToString([]byte(":1103006B00037F\r\n")), "no whole frame"},
		{modbus.RTU, true, "01 16 00 04 00 F2 00 25 67 EE", "unit 1: write holding 4, and 0x00f2, or 0x0025"},
	} {
		frame, err := hex.DecodeString(strings.ReplaceAll(c.frame, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := modbus.Describe(c.framing, c.sent, frame); got != c.want {
			t.Errorf("% x: got %q, want %q", frame, got, c.want)
		}
	}
}
