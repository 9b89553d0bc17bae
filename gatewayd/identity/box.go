package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Box is what tells one box from another: digests, since serial numbers are nobody else's business.
type Box struct {
	Image    string              `json:"image"`    // the installation's own id, which a copy shares until it is given another
	Hardware map[string][]string `json:"hardware"` // by where it was read
}

// hardware lists where a box's hardware says what it is; several files of one name are several parts. The daemon's user
// may not read all of them, and a machine does not have all of them.
var hardware = []struct{ name, files string }{
	{"board", "sys/class/dmi/id/board_serial"},
	{"product", "sys/class/dmi/id/product_uuid"},
	{"devicetree", "sys/firmware/devicetree/base/serial-number"},
	{"soc", "sys/devices/soc0/serial_number"},
	{"network", "sys/class/net/*/address"},
	{"flash", "sys/block/mmcblk*/device/cid"},
}

// saysNothing are serial numbers of makers who gave none.
var saysNothing = []string{"", "0", "none", "default string", "to be filled by o.e.m.", "not specified", "not applicable",
	"system serial number", "00:00:00:00:00:00", "03000200-0400-0500-0006-000700080009"}

// ReadBox reads what the machine below root ("/") is.
func ReadBox(root string) Box {
	b := Box{Hardware: map[string][]string{}}
	if text, err := os.ReadFile(filepath.Join(root, "etc/machine-id")); err == nil {
		b.Image = mark("image", string(text))
	}
	for _, source := range hardware {
		names, err := filepath.Glob(filepath.Join(root, source.files))
		if err != nil {
			continue // a pattern that is wrong is wrong in the test too
		}
		for _, name := range names {
			if source.name == "network" {
				// A part that is plugged in has a device behind it; bridges and the like have none.
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), "device")); err != nil {
					continue
				}
			}
			text, err := os.ReadFile(name)
			value := strings.Trim(strings.ToLower(string(text)), " \t\r\n\x00")
			if err == nil && !slices.Contains(saysNothing, value) {
				b.Hardware[source.name] = append(b.Hardware[source.name], mark(source.name, value))
			}
		}
	}
	return b
}

func mark(source, value string) string {
	sum := sha256.Sum256([]byte("gatewayd " + source + " " + strings.TrimSpace(value)))
	return hex.EncodeToString(sum[:8])
}

// copied says whether what was recorded on one box is now on another. Parts may be exchanged: as long as one is the
// same, so is the box. Where nothing can be compared, the image's id decides: whoever copies images and gives each a
// new id has said that it is another box.
func (b Box) copied(now Box) bool {
	same, other := 0, 0
	for name, before := range b.Hardware {
		parts, ok := now.Hardware[name]
		if !ok {
			continue // not readable now: it says nothing
		}
		if slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(before, p) }) {
			same++
		} else {
			other++
		}
	}
	if same == 0 && other == 0 {
		return b.Image != "" && now.Image != "" && b.Image != now.Image
	}
	return same == 0
}
