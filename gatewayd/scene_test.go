package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// A radio's driver reads its devices' keys when it begins to listen, which may have been months ago.
func TestALineWithAnotherKeyIsAnotherLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("gatewayd.toml", `
[gateway]
name = "gw1"
[[line]]
name = "radio"
radio = "hci0"
[[device]]
name = "cellar"
line = "radio"
protocol = "ble"
address = "54:48:E6:8F:80:A5"
quirks = { key = "cellar-key" }
[[tag]]
device = "cellar"
name = "temperature"
at = "temperature"
`)
	loaded := func() *site {
		s, err := load(filepath.Join(dir, "gatewayd.toml"), inFolder(dir), false, slog.New(slog.DiscardHandler))
		if err != nil || s.bound() != 1 {
			t.Fatalf("%d devices, %v: %v", s.bound(), err, s.problems)
		}
		return s
	}
	write("cellar-key", "00000000000000000000000000000000\n")
	before := loaded()
	if !sameLine(before, loaded(), "radio") {
		t.Error("with the same key it is another line")
	}
	write("cellar-key", "231d39c1d7cc1ab1aee224cd096db932\n")
	if sameLine(before, loaded(), "radio") {
		t.Error("with another key it is the same line, and the device is refused until the daemon restarts")
	}
}
