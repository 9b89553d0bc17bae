package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"edgegateway/adapters/profile/strict"
	"edgegateway/gatewayd/candidate"
	"edgegateway/gatewayd/command"
	"edgegateway/gatewayd/config"
)

// deviceArgs are the arguments of device-add and device-update: a [[device]] and its [[tag]]s, by their keys.
type deviceArgs struct {
	Device map[string]json.RawMessage   `json:"device"`
	Tags   []map[string]json.RawMessage `json:"tags,omitempty"`
	proving
}

// removeArgs are those of device-remove.
type removeArgs struct {
	Device string `json:"device"`
	proving
}

func (d *daemon) addDevice(ctx context.Context, raw json.RawMessage) (any, error) {
	return d.putDevice(ctx, raw, false)
}

func (d *daemon) updateDevice(ctx context.Context, raw json.RawMessage) (any, error) {
	return d.putDevice(ctx, raw, true)
}

// putDevice writes a device into a drop-in of its own, in place of what stood anywhere where it is to be replaced. It is
// kept only when the device itself answers too.
func (d *daemon) putDevice(ctx context.Context, raw json.RawMessage, replace bool) (any, error) {
	var args deviceArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	name, text, err := deviceText(args.Device, args.Tags)
	if err != nil {
		return nil, err
	}
	files, err := d.kept.Files()
	if err != nil {
		return nil, err
	}
	before := d.here().site
	known := slices.ContainsFunc(before.config.Devices, func(v config.Device) bool { return v.Name == name })
	switch {
	case replace && !known:
		return nil, command.Invalidf("there is no device %q to be changed; device-add adds one", name)
	case !replace && known:
		return nil, command.Invalidf("there is a device %q already; device-update changes it", name)
	case replace:
		files = d.cutDevice(before, files, name)
	default:
		files = files.Clone()
	}
	files[candidate.DropIns+"/90-device-"+name+".toml"] = []byte(text)
	args.Expect = []string{name}
	args.judge = othersStay(before, name)
	if replace {
		args.changed = name
	}
	return d.try(ctx, files, args.proving)
}

func (d *daemon) removeDevice(ctx context.Context, raw json.RawMessage) (any, error) {
	var args removeArgs
	if err := command.Decode(raw, &args); err != nil {
		return nil, err
	}
	if _, _, err := d.find(args.Device); err != nil {
		return nil, err
	}
	files, err := d.kept.Files()
	if err != nil {
		return nil, err
	}
	before := d.here().site
	args.Removes = append(args.Removes, args.Device)
	args.judge = func(next *site) error {
		if slices.ContainsFunc(next.config.Devices, func(v config.Device) bool { return v.Name == args.Device }) {
			return command.Invalidf("device %q cannot be cut out of its file: send the file itself with config", args.Device)
		}
		return othersStay(before, args.Device)(next)
	}
	return d.try(ctx, d.cutDevice(before, files, args.Device), args.proving)
}

// othersStay refuses a configuration in which any device but one is another than before.
func othersStay(before *site, name string) func(*site) error {
	others := func(s *site) []config.Device {
		all := slices.DeleteFunc(slices.Clone(s.config.Devices), func(v config.Device) bool { return v.Name == name })
		slices.SortFunc(all, func(a, b config.Device) int { return strings.Compare(a.Name, b.Name) })
		return all
	}
	return func(next *site) error {
		if !reflect.DeepEqual(others(before), others(next)) {
			return command.Invalidf("the files cannot be changed for device %q without touching others: send the file itself with config", name)
		}
		return nil
	}
}

// cutDevice takes a device and its tags out of the files, with the lines from each heading to the next one. Whether that
// was right, othersStay tells.
func (d *daemon) cutDevice(s *site, files candidate.Files, name string) candidate.Files {
	files = files.Clone()
	main := d.kept.File()
	headings := map[string][]int{} // lines to cut from, by file
	mark := func(kind, what string) {
		file, line, _ := s.config.Locate(kind, what, "")
		short := candidate.Main
		if file != main {
			if rel, err := filepath.Rel(filepath.Dir(main), file); err == nil {
				short = filepath.ToSlash(rel)
			}
		}
		headings[short] = append(headings[short], line)
	}
	mark(config.KindDevice, name)
	for _, v := range s.config.Devices {
		if v.Name != name {
			continue
		}
		for _, t := range v.Tags {
			if file, line, _ := s.config.Locate(config.KindTag, name+"/"+t.Name, ""); file != main || line > 1 {
				mark(config.KindTag, name+"/"+t.Name)
			}
		}
	}
	for file, lines := range headings {
		text, ok := files[file]
		if !ok {
			continue
		}
		left := cutTables(string(text), lines)
		if strings.TrimSpace(left) == "" && file != candidate.Main {
			delete(files, file)
		} else {
			files[file] = []byte(left)
		}
	}
	return files
}

// cutTables takes out the tables whose headings stand in the lines, which count from 1.
func cutTables(text string, lines []int) string {
	var kept strings.Builder
	cutting, number := false, 0
	for line := range strings.Lines(text) {
		number++
		if strings.HasPrefix(strings.TrimSpace(line), "[") {
			cutting = slices.Contains(lines, number)
		}
		if !cutting {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// deviceText writes a device and its tags as TOML.
func deviceText(device map[string]json.RawMessage, tags []map[string]json.RawMessage) (name, text string, err error) {
	if err := json.Unmarshal(device["name"], &name); err != nil || !strict.GoodName(name) {
		return "", "", command.Invalidf("device needs a name: letters, digits, - and _")
	}
	var b strings.Builder
	b.WriteString("# written by device-add or device-update\n")
	table := func(heading string, keys map[string]json.RawMessage) error {
		fmt.Fprintf(&b, "[[%s]]\n", heading)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			value, err := tomlOf(keys[key], 0)
			if err != nil {
				return command.Invalidf("%s: %s: %s", heading, key, err)
			}
			if !strict.GoodName(key) {
				return command.Invalidf("%s: there is no key %q", heading, key)
			}
			fmt.Fprintf(&b, "%s = %s\n", key, value)
		}
		b.WriteString("\n")
		return nil
	}
	if err := table("device", device); err != nil {
		return "", "", err
	}
	for _, tag := range tags {
		tag = maps.Clone(tag)
		tag["device"], _ = json.Marshal(name) // a text always encodes
		if err := table("tag", tag); err != nil {
			return "", "", err
		}
	}
	return name, b.String(), nil
}

// tomlOf writes a JSON value as TOML; objects become inline tables.
func tomlOf(raw json.RawMessage, depth int) (string, error) {
	text := strings.TrimSpace(string(raw))
	switch {
	case text == "" || text == "null":
		return "", fmt.Errorf("no value")
	case depth > 2:
		return "", fmt.Errorf("tables stand one level deep")
	case text[0] == '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return "", err
		}
		parts := make([]string, len(items))
		for i, item := range items {
			var err error
			if parts[i], err = tomlOf(item, depth+1); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case text[0] == '{':
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return "", err
		}
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(members)) {
			value, err := tomlOf(members[key], depth+1)
			if err != nil {
				return "", err
			}
			quoted, _ := json.Marshal(key) // a text always encodes
			parts = append(parts, string(quoted)+" = "+value)
		}
		return "{ " + strings.Join(parts, ", ") + " }", nil
	case text[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", err
		}
		quoted, _ := json.Marshal(s) // JSON's escapes are TOML's too
		return string(quoted), nil
	default: // numbers and truth values are written alike
		return text, nil
	}
}
