package main

import (
	"bytes"
	"fmt"
	"os"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/foreign"
	"edgegateway/adapters/profile/strict"
)

// importProfile is `gatewayd profile import FORMAT FILE`: the profile goes to the output, what needs a look to the
// error output. What would not be accepted as a profile is not given out as one.
func (c *cli) importProfile(format, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d, err := foreign.Read(format, file, text, foreign.Options{Name: *c.flags["name"], OneBased: *c.switches["one-based"]})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := d.Write(&out); err != nil {
		return err
	}
	var report strict.Report
	p := profile.Parse(d.Name+".toml", out.Bytes(), build().TagKeys(), &report)
	driver, err := adapters.Open(p.Protocol, nil, "rtu")
	if err != nil {
		return err
	}
	if _, err := driver.Bind(field.Device{Name: p.Name, Address: "1", Tags: p.Tags}); err != nil && !p.Failed() {
		return fmt.Errorf("%s describes what no device has: %w", file, err)
	}
	for _, problem := range report.Problems() {
		fmt.Fprintln(c.err, problem.String())
	}
	if p.Failed() {
		return errNo
	}
	for _, note := range d.Notes {
		fmt.Fprintln(c.err, "look at this: "+note)
	}
	fmt.Fprintf(c.err, "%d tags; read one of them and compare it with the device's display before you trust the addresses, then add a [[test]]\n", len(p.Tags))
	_, err = c.out.Write(out.Bytes())
	return err
}
