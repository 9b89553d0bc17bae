package foreign

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// telegraf is Telegraf's configuration, of which only the Modbus inputs are looked at. Both of its styles are read:
// lists of registers, and requests.
type telegraf struct {
	Inputs struct {
		Modbus []telegrafInput `toml:"modbus"`
	} `toml:"inputs"`
}

type telegrafInput struct {
	Name     string             `toml:"name"`
	Discrete []telegrafRegister `toml:"discrete_inputs"`
	Coils    []telegrafRegister `toml:"coils"`
	Holding  []telegrafRegister `toml:"holding_registers"`
	Input    []telegrafRegister `toml:"input_registers"`
	Requests []struct {
		Register string          `toml:"register"`
		Order    string          `toml:"byte_order"`
		Fields   []telegrafField `toml:"fields"`
	} `toml:"request"`
}

type telegrafRegister struct {
	Name    string  `toml:"name"`
	Order   string  `toml:"byte_order"`
	Type    string  `toml:"data_type"`
	Scale   float64 `toml:"scale"`
	Address []int   `toml:"address"`
}

type telegrafField struct {
	Address int     `toml:"address"`
	Name    string  `toml:"name"`
	Type    string  `toml:"type"`
	Scale   float64 `toml:"scale"`
	Length  int     `toml:"length"`
	Bit     *int    `toml:"bit"`
	Omit    bool    `toml:"omit"`
}

func readTelegraf(text []byte) (*Description, error) {
	var in telegraf
	if err := toml.Unmarshal(text, &in); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return nil, fmt.Errorf("%d:%d: %s", line, column, strings.TrimPrefix(at.Error(), "toml: "))
		}
		return nil, err
	}
	d := &Description{}
	for i, m := range in.Inputs.Modbus {
		if i == 0 {
			d.Name = m.Name
		} else {
			d.note("the tags of input %d, %q, are in here too: part them if they are of another device", i+1, m.Name)
		}
		for _, part := range []struct {
			space string
			list  []telegrafRegister
		}{{"coil", m.Coils}, {"discrete", m.Discrete}, {"input", m.Input}, {"holding", m.Holding}} {
			for _, r := range part.list {
				t, err := r.tag(part.space)
				if err != nil {
					return nil, fmt.Errorf("%s register %q: %w", part.space, r.Name, err)
				}
				d.Tags = append(d.Tags, t)
			}
		}
		for _, r := range m.Requests {
			if err := d.addRequest(r.Register, r.Order, r.Fields); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

func (d *Description) addRequest(register, order string, fields []telegrafField) error {
	if register == "" {
		register = "holding"
	}
	space, ok := spaceOf(register)
	if !ok {
		return fmt.Errorf("request: register %q is not known", register)
	}
	for _, f := range fields {
		if f.Omit {
			continue // it is there to be read through
		}
		t := Tag{Name: f.Name, At: fmt.Sprintf("%s %d", space, f.Address), Scale: f.Scale}
		if space == "input" || space == "holding" {
			if f.Bit != nil {
				t.At += fmt.Sprintf(" bit %d", *f.Bit)
			} else if err := t.take(f.Type, order, 0, f.Length); err != nil {
				return fmt.Errorf("field %q: %w", f.Name, err)
			}
		}
		d.Tags = append(d.Tags, t)
	}
	return nil
}

func (r telegrafRegister) tag(space string) (Tag, error) {
	if len(r.Address) == 0 {
		return Tag{}, errors.New("it has no address")
	}
	first := r.Address[0]
	for i, a := range r.Address {
		if a != first+i {
			return Tag{}, fmt.Errorf("its addresses %v do not follow each other: a profile cannot say that", r.Address)
		}
	}
	t := Tag{Name: r.Name, At: fmt.Sprintf("%s %d", space, first), Scale: r.Scale}
	if space == "coil" || space == "discrete" {
		return t, nil
	}
	return t, t.take(r.Type, r.Order, len(r.Address), len(r.Address))
}

// take reads Telegraf's type and byte order. words is how many registers the tag has, where the type does not say it;
// length is that of a string, in registers.
func (t *Tag) take(typ, order string, words, length int) error {
	bits := map[int]string{1: "16", 2: "32", 4: "64"}
	switch typ = strings.ToUpper(typ); typ {
	case "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "FLOAT64":
		t.Type = strings.ToLower(typ)
	case "FLOAT32-IEEE", "FLOAT64-IEEE":
		t.Type = strings.ToLower(strings.TrimSuffix(typ, "-IEEE"))
	case "FIXED", "UFIXED", "FLOAT32":
		if typ == "FLOAT32" && words == 0 {
			t.Type = "float32" // in requests it is the float of IEEE 754
			break
		}
		size, ok := bits[words]
		if !ok {
			return fmt.Errorf("type %s of %d registers is not known", typ, words)
		}
		t.Type = "int" + size
		if typ != "FIXED" {
			t.Type = "u" + t.Type // in lists FLOAT32 is a whole number that is scaled
		}
	case "STRING":
		if length < 1 {
			return errors.New("a string needs its length")
		}
		t.Type, t.Length = "string", 2*length
	default:
		return fmt.Errorf("type %q is not known", typ)
	}
	switch order {
	case "", "AB", "ABCD", "ABCDEFGH":
	case "BA", "BADC", "BADCFEHG":
		t.Order = "BADC"
	case "CDAB", "GHEFCDAB":
		t.Order = "CDAB"
	case "DCBA", "HGFEDCBA":
		t.Order = "DCBA"
	default:
		return fmt.Errorf("byte order %q is not known", order)
	}
	return nil
}
