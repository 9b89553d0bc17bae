package main

import (
	"fmt"
	"text/tabwriter"

	"edgegateway/adapters"
	"edgegateway/gatewayd/config"
	"edgegateway/gatewayd/dialect"
	"edgegateway/gatewayd/dialect/native"
)

// platformDialect is a row of the table of dialects.
type platformDialect struct {
	name, does string
	options    []string // keys of [platform] that only this dialect has
	open       func(dialect.Config) (dialect.Dialect, error)
}

// dialects is the table. A row without open is a dialect of a later build: configurations may name it already.
func dialects() []platformDialect {
	return []platformDialect{
		{"native", "JSON batches over MQTT 3.1.1, acknowledged by PUBACK (the default)", nil,
			func(c dialect.Config) (dialect.Dialect, error) { return native.New(c) }},
		{"sparkplug", "Eclipse Sparkplug B", []string{"group", "node", "primary_host"}, nil},
		{"thingsboard", "ThingsBoard's gateway API", nil, nil},
		{"ctwing", "China Telecom CTWing (AEP)", []string{"product", "mode"}, nil},
		{"huawei", "Huawei IoTDA and the platforms descended from it", []string{"node"}, nil},
		{"homeassistant", "Home Assistant's MQTT discovery", []string{"discovery_prefix"}, nil},
	}
}

func openDialect(name string, c dialect.Config) (dialect.Dialect, error) {
	for _, d := range dialects() {
		if d.name == name && d.open != nil {
			return d.open(c)
		}
	}
	return nil, fmt.Errorf("the dialect %q is not in this build", name)
}

// build tells the configuration what this binary has.
func build() config.Build {
	b := config.Build{Protocols: map[string]config.Protocol{}, Dialects: map[string]config.Dialect{}}
	for _, k := range adapters.Kinds() {
		b.Protocols[k.Name] = config.Protocol{Later: k.Later, Lines: k.Lines, Listens: k.Listens, TagKeys: k.TagKeys}
	}
	for _, d := range dialects() {
		b.Dialects[d.name] = config.Dialect{Later: d.open == nil, Options: d.options}
	}
	for _, v := range (*daemon)(nil).verbs() { // only their names are asked for
		b.Verbs = append(b.Verbs, v.Name)
	}
	return b
}

// runDialects is `gatewayd dialects`.
func runDialects(c *cli) error {
	if err := c.takes(0, 0, "dialects"); err != nil {
		return err
	}
	type row struct {
		Name    string   `json:"name"`
		InBuild bool     `json:"in_build"`
		Does    string   `json:"does"`
		Options []string `json:"options,omitempty"`
	}
	var rows []row
	for _, d := range dialects() {
		rows = append(rows, row{d.name, d.open != nil, d.does, d.options})
	}
	if c.json {
		return c.printJSON(rows)
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		in := "not in this build"
		if r.InBuild {
			in = "in this build"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.Name, in, r.Does)
	}
	return t.Flush()
}
