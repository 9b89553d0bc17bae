package foreign

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// edgeX is a device profile of EdgeX, as device-modbus uses it (EdgeX 2 and later: addresses count from 0).
type edgeX struct {
	Name         string          `yaml:"name"`
	Manufacturer string          `yaml:"manufacturer"`
	Model        string          `yaml:"model"`
	Description  string          `yaml:"description"`
	Resources    []edgeXResource `yaml:"deviceResources"`
}

type edgeXResource struct {
	Name       string `yaml:"name"`
	Attributes struct {
		Table      string `yaml:"primaryTable"`
		Start      string `yaml:"startingAddress"`
		Raw        string `yaml:"rawType"`
		ByteSwap   string `yaml:"isByteSwap"`
		WordSwap   string `yaml:"isWordSwap"`
		StringSize string `yaml:"stringRegisterSize"`
		BoolBit    string `yaml:"bitIndex"`
	} `yaml:"attributes"`
	Properties struct {
		Type   string `yaml:"valueType"`
		Access string `yaml:"readWrite"`
		Scale  string `yaml:"scale"`
		Offset string `yaml:"offset"`
		Units  string `yaml:"units"`
		Mask   string `yaml:"mask"`
		Shift  string `yaml:"shift"`
	} `yaml:"properties"`
}

func readEdgeX(text []byte) (*Description, error) {
	var in edgeX
	if err := yaml.Unmarshal(text, &in); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	d := &Description{Name: in.Name, Title: strings.TrimSpace(in.Manufacturer + " " + in.Model)}
	if in.Description != "" {
		d.Title = strings.TrimSpace(d.Title + ": " + in.Description)
		d.Title = strings.TrimPrefix(d.Title, ": ")
	}
	for _, r := range in.Resources {
		t, err := r.tag(d)
		if err != nil {
			return nil, fmt.Errorf("deviceResource %q: %w", r.Name, err)
		}
		d.Tags = append(d.Tags, t)
	}
	return d, nil
}

func (r edgeXResource) tag(d *Description) (t Tag, err error) {
	space, ok := spaceOf(r.Attributes.Table)
	if !ok {
		return t, fmt.Errorf("primaryTable %q is not known", r.Attributes.Table)
	}
	start, err := strconv.ParseUint(r.Attributes.Start, 10, 16)
	if err != nil {
		return t, fmt.Errorf("startingAddress %q is no address", r.Attributes.Start)
	}
	t = Tag{Name: r.Name, At: fmt.Sprintf("%s %d", space, start), Unit: r.Properties.Units}
	kind := r.Attributes.Raw
	if kind == "" {
		kind = r.Properties.Type
	}
	switch kind = strings.ToLower(kind); kind {
	case "bool":
		if space == "input" || space == "holding" {
			t.At += " bit 0"
			if r.Attributes.BoolBit != "" {
				t.At = fmt.Sprintf("%s %d bit %s", space, start, r.Attributes.BoolBit)
			}
		}
	case "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64":
		t.Type = kind
	case "int8", "uint8":
		t.Type = strings.TrimSuffix(kind, "8") + "16"
		d.note("%q is said to be of type %s; a register has 16 bits", r.Name, kind)
	case "string":
		size, err := strconv.Atoi(r.Attributes.StringSize)
		if err != nil || size < 1 {
			return t, fmt.Errorf("stringRegisterSize %q is no number of registers", r.Attributes.StringSize)
		}
		t.Type, t.Length = "string", 2*size
	default:
		return t, fmt.Errorf("type %q is not known", kind)
	}
	bytes, words := truth(r.Attributes.ByteSwap), truth(r.Attributes.WordSwap)
	switch {
	case bytes && words:
		t.Order = "DCBA"
	case bytes:
		t.Order = "BADC"
	case words:
		t.Order = "CDAB"
	}
	if t.Scale, err = numberOf("scale", r.Properties.Scale); err != nil {
		return t, err
	}
	if t.Offset, err = numberOf("offset", r.Properties.Offset); err != nil {
		return t, err
	}
	if r.Properties.Mask+r.Properties.Shift != "" {
		d.note("%q has a mask or a shift; write mask = \"0x0FFF\" where it is wanted", r.Name)
	}
	if strings.ContainsAny(r.Properties.Access, "Ww") {
		d.note("%q can be written; name it in the device's writable list, and give it limits", r.Name)
	}
	return t, nil
}

func truth(s string) bool { return strings.EqualFold(s, "true") }

func numberOf(key, s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%s %q is no number", key, s)
	}
	return f, nil
}
