package foreign_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/foreign"
	"edgegateway/adapters/profile/strict"
)

var update = flag.Bool("update", false, "write what the descriptions become")

// TestDescriptions: each description becomes the profile beside it, which is read and bound without a complaint.
func TestDescriptions(t *testing.T) {
	for _, c := range []struct {
		file, format string
		options      foreign.Options
	}{
		{"edgex.yaml", "edgex", foreign.Options{}},
		{"telegraf.toml", "telegraf", foreign.Options{}},
		{"telegraf-request.toml", "telegraf", foreign.Options{Name: "inverter"}},
		{"table.csv", "csv", foreign.Options{}},
		{"one-based.csv", "csv", foreign.Options{OneBased: true}},
	} {
		t.Run(c.file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			d, err := foreign.Read(c.format, c.file, text, c.options)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := d.Write(&out); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", c.file+".golden")
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("it becomes\n%s\nwant\n%s", out.String(), want)
			}
			var report strict.Report
			p := profile.Parse("x.toml", out.Bytes(), nil, &report)
			for _, problem := range report.Problems() {
				t.Error(problem)
			}
			driver, err := adapters.Open(p.Protocol, nil, "rtu")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := driver.Bind(field.Device{Name: "d", Address: "1", Tags: p.Tags}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefusals: what cannot be understood is said, with its place.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ format, text, says string }{
		{"yaml", "", `there is no format "yaml"`},
		{"edgex", "name: [", "line 1"},
		{"edgex", "name: x", "no tag was found"},
		{"edgex", "deviceResources:\n- name: a\n  attributes: {primaryTable: COILZ, startingAddress: 1}", `primaryTable "COILZ"`},
		{"edgex", "deviceResources:\n- name: a\n  attributes: {primaryTable: COILS, startingAddress: 70000}", `startingAddress "70000"`},
		{"telegraf", "[[inputs.modbus]]\nname = ", "2:"},
		{"telegraf", "[[inputs.modbus]]\nholding_registers = [{name=\"a\", data_type=\"INT32\", address=[1,3]}]", "do not follow each other"},
		{"telegraf", "[[inputs.modbus]]\nholding_registers = [{name=\"a\", byte_order=\"ACBD\", data_type=\"INT32\", address=[1,2]}]", `byte order "ACBD"`},
		{"csv", "a,b\n1,2", `no column "name"`},
		{"csv", "name,address,type\na,xyz,int16", `2: tag "a": at "xyz" is no address`},
		{"csv", "name,address,type\na,12,int16", "does not say the space"},
		{"csv", "name,at,type\n\"a,1,2", "2"},
	} {
		if _, err := foreign.Read(c.format, "file", []byte(c.text), foreign.Options{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %v, want %q", c.format, c.text, err, c.says)
		}
	}
}

// FuzzRead: whatever is read becomes a text that a profile's reader takes for TOML.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"edgex.yaml", "telegraf.toml", "table.csv"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name[:1], text)
	}
	f.Fuzz(func(t *testing.T, which string, text []byte) {
		formats := foreign.Formats()
		d, err := foreign.Read(formats[len(which)%len(formats)], "f", text, foreign.Options{})
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := d.Write(&out); err != nil {
			t.Fatal(err)
		}
		var report strict.Report
		profile.Parse("f.toml", out.Bytes(), nil, &report)
		for _, p := range report.Problems() {
			if strings.Contains(p.Text, "TOML") {
				t.Errorf("%s\n%s", p, out.String())
			}
		}
	})
}
