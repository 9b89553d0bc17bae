package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// newProfile is `gatewayd profile new NAME --scan FILE [--address A]`: the beginning of a profile, from what `gatewayd
// scan --json` saw of a device. It passes `profile test` as it is, where the device gave a register.
func (c *cli) newProfile(name string) error {
	file := *c.flags["scan"]
	if file == "" {
		return usagef("usage: gatewayd profile new NAME --scan FILE [--address A]; FILE is what `gatewayd scan LINE --json` printed")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	f, err := pickFound(text, *c.flags["address"])
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	_, err = fmt.Fprint(c.out, profileText(name, f))
	return err
}

// pickFound finds the device in a scan's documents: the one at the address, or the only one.
func pickFound(text []byte, address string) (*foundDoc, error) {
	var all []foundDoc
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var d scanDoc
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			return nil, fmt.Errorf("this is not what `gatewayd scan --json` prints: %w", err)
		}
		if d.Found != nil && (address == "" || d.Found.Address == address) {
			all = append(all, *d.Found)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var where []string
	for _, f := range all {
		where = append(where, f.Address)
	}
	switch {
	case len(all) == 0 && address != "":
		return nil, fmt.Errorf("nothing was found at address %q", address)
	case len(all) == 0:
		return nil, fmt.Errorf("nothing was found in that scan")
	case len(all) > 1:
		return nil, fmt.Errorf("several devices were found; say which with --address: %s", strings.Join(where, ", "))
	}
	return &all[0], nil
}

// profileText is the profile to go on from.
func profileText(name string, f *foundDoc) string {
	var b strings.Builder
	title := f.Identity
	if title == "" {
		title = name
	}
	fmt.Fprintf(&b, "name     = %q\ntitle    = %q\nprotocol = %q\n", name, title, f.Protocol)
	fmt.Fprintf(&b, "source   = %q   # the document that the addresses are from\n\n", "TODO: maker, document, edition")
	fmt.Fprint(&b, "[defaults]\nevery = \"10s\"\n\n")
	fmt.Fprint(&b, "# One [[tag]] for each value. `gatewayd read DEVICE \"input 0\" --expect 230.2` finds type, order and scale of a\n# value that the device's display shows.\n")
	at, value, ok := f.sample()
	if !ok {
		fmt.Fprint(&b, "#\n# [[tag]]\n# name = \"voltage\"\n# at   = \"input 0\"\n# type = \"float32\"\n# unit = \"V\"\n")
		return b.String()
	}
	fmt.Fprintf(&b, "[[tag]]\nname = \"first\"\nat   = %q\ntype = \"uint16\"\n\n", at)
	fmt.Fprintf(&b, "[[test]]\norigin  = \"captured by a scan\"\naddress = %q\nrequest = %q\nanswer  = %q\nexpect  = { first = %d }\n",
		f.Address, f.Detail["sample_request"], f.Detail["sample_answer"], value)
	return b.String()
}

// sample is the register that the scan read, and what it held.
func (f *foundDoc) sample() (at string, value int, ok bool) {
	answer, err := hex.DecodeString(strings.ReplaceAll(f.Detail["sample_answer"], " ", ""))
	if err != nil || len(answer) != 7 {
		return "", 0, false
	}
	return f.Detail["sample_at"], int(answer[3])<<8 | int(answer[4]), true
}
