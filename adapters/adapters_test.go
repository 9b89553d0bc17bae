package adapters

import (
	"strings"
	"testing"

	"edgegateway/adapters/field"
)

// TestOpen holds the table against the constructors: what is in the build opens without a line, what is not says so.
func TestOpen(t *testing.T) {
	for _, k := range Kinds() {
		for _, framing := range []string{"rtu", "tcp"} {
			d, err := Open(k.Name, nil, framing)
			if k.Later {
				if err == nil || !strings.Contains(err.Error(), "not in this build") {
					t.Errorf("Open(%q): error %v, want one that says that it is not in this build", k.Name, err)
				}
				continue
			}
			if k.Raw && framing == "tcp" {
				if err == nil || !strings.Contains(err.Error(), `framing = "raw"`) {
					t.Errorf("Open(%q): error %v, want one that says what to write instead", k.Name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("Open(%q, %q): %v", k.Name, framing, err)
				continue
			}
			if _, err := d.Bind(field.Device{Name: "nobody", Address: "?", Quirks: map[string]string{"nonsense": "1"}}); err == nil {
				t.Errorf("%s binds a device at address \"?\" with a quirk that there is not", k.Name)
			}
		}
	}
	if _, err := Open("modbos", nil, "rtu"); err == nil || !strings.Contains(err.Error(), "modbus") {
		t.Errorf("an unknown protocol: error %v, want one that names modbus", err)
	}
	if _, err := Open("modbus", nil, "asci"); err == nil || !strings.Contains(err.Error(), "rtu, tcp, ascii") {
		t.Errorf("an unknown framing: error %v, want one that names rtu", err)
	}
}
